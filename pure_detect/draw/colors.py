"""One colour a class, as far from the others as the eye allows, and the text colour that reads on it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Floats = NDArray[np.float64]

COUNT = 80  # as many as COCO has classes; then they repeat
FIRST = (255, 60, 45)
LIGHTNESS, CHROMA = (0.58, 0.90), (0.11, 0.24)  # what stands out from shadow, sky and grey, and is not neon
BLACK, WHITE = (0, 0, 0), (255, 255, 255)

# Ottosson 2020, "A perceptual color space for image processing": from linear sRGB to cone responses, and to Oklab.
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def class_color(class_id: int) -> Color:
    """Return the RGB colour of a class: always the same one; of the first 80 classes no two are alike."""
    return palette()[class_id % COUNT]


@cache
def palette() -> tuple[Color, ...]:
    """Return the colours: each is the one farthest, in Oklab, from its nearest neighbour among those before it."""
    levels = np.arange(0, 256, 15)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = oklab(rgb)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    vivid = (lab[:, 0] > LIGHTNESS[0]) & (lab[:, 0] < LIGHTNESS[1]) & (chroma > CHROMA[0]) & (chroma < CHROMA[1])
    rgb, lab = rgb[vivid], lab[vivid]
    chosen = [int(np.argmin(_distance(lab, oklab(FIRST))))]
    nearest = _distance(lab, lab[chosen[0]])
    while len(chosen) < COUNT:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distance(lab, lab[chosen[-1]]))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in rgb[chosen])


def oklab(rgb: NDArray[np.int64] | Color) -> Floats:
    """Return lightness and two opponent colours, (..., 3), of RGB values from 0 to 255: equal steps look equal."""
    return np.cbrt(_linear(np.asarray(rgb)) @ CONES.T) @ OKLAB.T


def contrast(first: Color, second: Color) -> float:
    """Return the contrast ratio of two colours, 1 to 21.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance"; 4.5 is enough for small text.
    """
    dark, light = sorted(float(_linear(np.asarray(color)) @ [0.2126, 0.7152, 0.0722]) for color in (first, second))
    return (light + 0.05) / (dark + 0.05)


def text_color(background: Color) -> Color:
    """Return black or white, whichever stands out more; on any background that is a contrast of at least 4.58."""
    return max(BLACK, WHITE, key=lambda color: contrast(color, background))


def _linear(srgb: NDArray[np.int64]) -> Floats:
    """Return light intensities, 0 to 1, of sRGB values (IEC 61966-2-1)."""
    share = srgb / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _distance(many: Floats, one: Floats) -> Floats:
    return np.asarray(np.linalg.norm(many - one, axis=1))
