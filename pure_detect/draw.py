"""Draws detections on a picture."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pure_detect.detections import Detections
from pure_detect.errors import InputError
from pure_detect.files import atomic_path

Color = tuple[int, int, int]


def class_color(class_id: int) -> Color:
    """Return the colour of a class: always the same, and far from its neighbours' by the golden ratio."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1, 0.85, 0.9)
    return (round(255 * red), round(255 * green), round(255 * blue))


def draw(pixels: NDArray[np.uint8], detections: Detections) -> Image.Image:
    """Draw boxes and labels; line width and font follow the picture's size.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, RGB
    detections : Detections

    Returns
    -------
    PIL image of the same size
    """
    picture = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(picture)
    extent = max(picture.size)
    font = ImageFont.load_default(size=max(10, extent // 45))
    # The best detections last, so that they lie on top.
    for i in reversed(range(len(detections))):
        color = class_color(int(detections.class_ids[i]))
        x1, y1, x2, y2 = (float(value) for value in detections.boxes_xyxy[i])
        canvas.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=max(1, extent // 300))
        _draw_label(canvas, (x1, y1), f"{detections.labels[i]} {detections.scores[i]:.2f}", color, font, picture.size)
    return picture


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    color: Color,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Draw a plate with the text above the corner, or inside the box where there is no room above."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x = min(max(0, corner[0]), max(0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = min(max(0, y), max(0, size[1] - height))
    canvas.rectangle((x, y, x + width, y + height), fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    canvas.text((x + 3 - left, y + 3 - top), text, fill="black" if luminance > 130 else "white", font=font)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Save a picture in the format of the path's ending; nothing half-written stays behind.

    Raises
    ------
    InputError
        If the ending is unknown or the file cannot be written.
    """
    registered = Image.registered_extensions()
    if path.suffix.lower() not in registered:
        raise InputError(f"{path}: expected a file name ending in .png or .jpg, found {path.suffix or 'no ending'!r}")
    with atomic_path(path) as temporary:
        try:
            picture.save(temporary, format=registered[path.suffix.lower()])
        except (ValueError, KeyError) as error:  # a format that cannot hold RGB, or that Pillow only reads
            raise InputError(f"{path}: cannot be written in this format: {error}") from None
