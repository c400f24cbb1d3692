"""Drawn scenes with exact ground truth, in any size and number: :func:`draw_scene` makes one from its seed.

A scene shows a few objects of the classes :data:`LABELS` (in many sizes, colours, fills, rotations and proportions,
covering one another and cut by the border) and strokes that are no object, over a textured background, with blur and
noise. Classes differ in shape alone. A box comes from the object's own mask, not from the numbers it was drawn with.

The same seed and size give the same pixels on every machine: random numbers come from the scene's own generator, and
arrays meet only operations whose rounding IEEE 754 fixes (see :mod:`pure_detect.demo.shapes`).
"""

import math
from typing import NamedTuple

import numpy as np

from pure_detect.demo.shapes import DISTANCES, Distance

__all__ = ["LABELS", "Scene", "draw_scene"]

LABELS: tuple[str, ...] = tuple(DISTANCES)

# An object is in the scene only where this much of its whole area can be seen, after covering and the border.
VISIBLE_SHARE = 0.4
# Two boxes that overlap more than this could not both survive non-maximum suppression, however good the network is.
_LARGEST_OVERLAP = 0.3
_PLACES_TRIED = 6
# Object diameters, as shares of the picture's shorter side, and never fewer pixels than can show a shape.
_SMALLEST, _LARGEST, _FEWEST_PIXELS = 0.12, 0.75, 12
# How much longer a shape may be than wide. Rings, stars and hearts stay closer to their proper form.
_STRETCH = {"ellipse": 1.6, "rectangle": 2.0, "triangle": 1.4, "cross": 1.2}
_CONTRAST = 55

_NO_OBJECT = -1


class Scene(NamedTuple):
    """A drawn picture and what is in it, in the order of drawing (a later object covers an earlier one).

    Attributes
    ----------
    pixels
        (height, width, 3) uint8, RGB.
    boxes_xyxy
        (N, 4) float64 in pixels: the tight box of the whole object, also where another covers it, cut by the picture's
        border.
    class_ids
        (N,) int64, positions in :data:`LABELS`.
    """

    pixels: np.ndarray
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray


class _Form(NamedTuple):
    """A shape in its place: centre and radii in pixels, the turn as (cosine, sine)."""

    distance: Distance
    x: float
    y: float
    radius_u: float
    radius_v: float
    turn: tuple[float, float]


class _Patch(NamedTuple):
    """A form drawn on its own: a window of the picture, the coverage in it and the form's own coordinates."""

    rows: slice
    columns: slice
    coverage: np.ndarray  # (rows, columns) float32, 0 ... 1
    mask: np.ndarray  # where at least half of a pixel is covered
    u: np.ndarray
    v: np.ndarray
    area: int  # pixels of the whole form, also outside of the picture

    def box_xyxy(self) -> tuple[int, int, int, int]:
        """The tight box of the mask within the picture, or an empty one."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if not len(rows):
            return 0, 0, 0, 0
        left, top = self.columns.start, self.rows.start
        return left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1


class _Canvas:
    """A scene while it is drawn."""

    def __init__(self, rng: np.random.Generator, width: int, height: int):
        self.rng = rng
        self.width, self.height = width, height
        self.pixels = _background(rng, width, height)  # (3, height, width) float32, 0 ... 255
        self.owners = np.full((height, width), _NO_OBJECT, np.int8)  # the object that a pixel shows
        self.areas: list[int] = []
        self.seen: list[int] = []  # pixels of every object that no later form covers
        self.patches: list[_Patch] = []
        self.boxes: list[tuple[int, int, int, int]] = []
        self.class_ids: list[int] = []

    def add_object(self) -> None:
        """Draw an object of a random class, where after a few tries a place was found."""
        rng = self.rng
        class_id = int(rng.integers(len(LABELS)))
        for _ in range(_PLACES_TRIED):
            patch = self._patch(self._random_form(LABELS[class_id]))
            box = patch.box_xyxy()
            seen = int(np.count_nonzero(patch.mask))
            if seen < VISIBLE_SHARE * patch.area or any(_overlap(box, b) > _LARGEST_OVERLAP for b in self.boxes):
                continue
            if self._paint(patch, len(self.boxes)):
                self.areas.append(patch.area)
                self.seen.append(seen)
                self.patches.append(patch)
                self.boxes.append(box)
                self.class_ids.append(class_id)
                return

    def add_stroke(self) -> None:
        """Draw a straight or bent stroke, which is no object, where it hides none."""
        rng = self.rng
        length = float(rng.uniform(0.1, 0.7)) * min(self.width, self.height) / 2
        slimness = float(rng.uniform(0.04, 0.1))
        distance = _stroke(slimness) if rng.random() < 0.6 else _arc(slimness)
        x, y = float(rng.uniform(0, self.width)), float(rng.uniform(0, self.height))
        self._paint(self._patch(_Form(distance, x, y, length, length, _turn(rng))), _NO_OBJECT)

    def _random_form(self, label: str) -> _Form:
        rng = self.rng
        shorter = min(self.width, self.height)
        smallest = max(_SMALLEST * shorter, _FEWEST_PIXELS)
        largest = max(_LARGEST * shorter, smallest)
        # Small objects are more frequent than large ones: the square of an even number leans towards 0.
        diameter = smallest + (largest - smallest) * float(rng.random()) ** 2
        stretch = 1 + (_STRETCH.get(label, 1.15) - 1) * float(rng.random())
        margin = float(rng.uniform(0.2, 0.5)) * diameter
        x = float(rng.uniform(min(margin, self.width / 2), max(self.width - margin, self.width / 2)))
        y = float(rng.uniform(min(margin, self.height / 2), max(self.height - margin, self.height / 2)))
        radii = (diameter / 2, diameter / 2 / stretch)
        return _Form(DISTANCES[label], x, y, *(radii if rng.random() < 0.5 else radii[::-1]), _turn(rng))

    def _patch(self, form: _Form) -> _Patch:
        # The shapes end within radius 1.1 of their centre, or a turned corner of the box of an ellipse's radii.
        reach = 1.1 * max(form.radius_u, form.radius_v) + 1
        left, right = math.floor(form.x - reach), math.ceil(form.x + reach)
        top, bottom = math.floor(form.y - reach), math.ceil(form.y + reach)
        across = np.arange(left, right, dtype=np.float32)[None] + np.float32(0.5 - form.x)
        down = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - form.y)
        cosine, sine = np.float32(form.turn[0]), np.float32(form.turn[1])
        u = (across * cosine + down * sine) / np.float32(form.radius_u)
        v = (down * cosine - across * sine) / np.float32(form.radius_v)
        outside = form.distance(u, v) * np.float32(min(form.radius_u, form.radius_v))
        coverage = np.clip(np.float32(0.5) - outside, np.float32(0), np.float32(1))
        mask = coverage >= 0.5
        area = int(np.count_nonzero(mask))
        rows = slice(min(max(top, 0), self.height), max(min(bottom, self.height), 0))
        columns = slice(min(max(left, 0), self.width), max(min(right, self.width), 0))
        window = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        return _Patch(rows, columns, coverage[window], mask[window], u[window], v[window], area)

    def _paint(self, patch: _Patch, owner: int) -> bool:
        """Draw a form, unless too little of an earlier object would remain: then say False."""
        owners = self.owners[patch.rows, patch.columns]
        covered = np.bincount(owners[patch.mask].astype(np.int64) + 1, minlength=len(self.boxes) + 1)[1:]
        seen = [before - int(less) for before, less in zip(self.seen, covered)]
        if any(s < VISIBLE_SHARE * area for s, area in zip(seen, self.areas)):
            return False
        self.seen = seen
        window = self.pixels[:, patch.rows, patch.columns]
        change = self._fill(patch, window) - window
        change *= patch.coverage
        window += change
        owners[patch.mask] = owner
        return True

    def _fill(self, patch: _Patch, under: np.ndarray) -> np.ndarray:
        """The colours of a form: plain, running from one colour to another, or striped; never those under it."""
        rng = self.rng
        # Whole numbers add up to the same mean on every machine, whatever the order of the sum.
        total = under[:, patch.mask].astype(np.int64).sum(axis=1)
        mean = total / max(int(np.count_nonzero(patch.mask)), 1)
        first = _color_away_from(rng, mean)
        kind = rng.random()
        if kind < 0.5:
            return first
        second = _color_away_from(rng, mean)
        if kind < 0.8:
            return first + (second - first) * np.clip((patch.u + np.float32(1)) * np.float32(0.5), 0, 1)
        stripes = patch.v * np.float32(rng.uniform(1.5, 4))
        return np.where(stripes - np.floor(stripes) < 0.5, first, second)


def _turn(rng: np.random.Generator) -> tuple[float, float]:
    angle = float(rng.uniform(0, 2 * math.pi))
    # Math libraries differ in the last bit of a cosine: a coarser grid hides it.
    return round(math.cos(angle) * 65536) / 65536, round(math.sin(angle) * 65536) / 65536


def _stroke(slimness: float) -> Distance:
    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.maximum(np.abs(u) - np.float32(1), np.abs(v) - np.float32(slimness))

    return distance


def _arc(slimness: float) -> Distance:
    """A quarter of a thin circle."""

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        band = np.abs(np.sqrt(u * u + v * v) - np.float32(0.95)) - np.float32(slimness / 2)
        return np.maximum(band, np.maximum(-u, -v))

    return distance


def _color(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, 3).astype(np.float32).reshape(3, 1, 1)


def _color_away_from(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    for _ in range(10):
        color = _color(rng)
        if np.abs(color.ravel() - mean).max() >= _CONTRAST:
            return color
    return ((mean + 128) % 256).astype(np.float32).reshape(3, 1, 1)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Two colours mixed by a coarse field, a third by a finer one, with grain or bars on top in some scenes."""
    first, second, third = _color(rng), _color(rng), _color(rng)
    pixels = (second - first) * _smooth_field(rng, width, height, int(rng.integers(2, 5)))
    pixels += first
    fine = _smooth_field(rng, width, height, int(rng.integers(6, 25))) * np.float32(rng.uniform(0, 0.6))
    pixels *= np.float32(1) - fine
    pixels += third * fine
    if rng.random() < 0.3:
        cosine, sine = _turn(rng)
        across = np.arange(width, dtype=np.float32)[None] * np.float32(cosine)
        down = np.arange(height, dtype=np.float32)[:, None] * np.float32(sine)
        bars = (across + down) / np.float32(rng.uniform(0.02, 0.1) * min(width, height) + 2)
        pixels += np.where(bars - np.floor(bars) < 0.5, np.float32(rng.uniform(-25, 25)), np.float32(0))
    return np.clip(pixels, 0, 255, out=pixels)


def _smooth_field(rng: np.random.Generator, width: int, height: int, cells: int) -> np.ndarray:
    """(height, width) float32 from 0 to 1: random values on a grid of `cells` across, straight lines between them."""
    grid = rng.random((cells + 1, cells + 1), dtype=np.float32)
    row, down = _grid_places(height, cells)
    column, across = _grid_places(width, cells)
    rows = grid[row] + (grid[row + 1] - grid[row]) * down[:, None]
    field = rows[:, column + 1]
    left = rows[:, column]
    field -= left
    field *= across
    field += left
    return field


def _grid_places(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / size)
    before = np.minimum(places.astype(np.int64), cells - 1)
    return before, places - before.astype(np.float32)


def _blur(pixels: np.ndarray) -> np.ndarray:
    """Weights 1/4, 1/2, 1/4 along rows, then along columns, of (3, height, width) int16; the border's pixels stay."""
    for axis in (1, 2):
        lines = pixels.swapaxes(0, axis)
        inner = lines[:-2] + lines[2:]
        inner += lines[1:-1]
        inner += lines[1:-1]
        inner += np.int16(2)
        inner >>= np.int16(2)
        lines[1:-1] = inner
    return pixels


def _grain(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise of up to 32 levels to either side, grey or a different one for each colour, int16."""
    planes, strength = (3 if rng.random() < 0.5 else 1), int(rng.integers(0, 65))
    levels = np.frombuffer(rng.bytes(planes * height * width), np.uint8).astype(np.int16).reshape(planes, height, width)
    levels -= np.int16(128)
    levels *= np.int16(strength)
    levels >>= np.int16(8)
    return levels


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other))
    return width * height / (areas - width * height)


def _compose(seed: int, width: int, height: int) -> _Canvas:
    """Everything but blur and noise: tests compare the boxes with the masks that the canvas keeps."""
    canvas = _Canvas(np.random.Generator(np.random.PCG64(seed)), width, height)
    if min(width, height) < _FEWEST_PIXELS:
        return canvas
    for _ in range(int(canvas.rng.integers(0, 4))):
        canvas.add_stroke()
    for _ in range(int(canvas.rng.integers(2, 8))):
        canvas.add_object()
        if canvas.rng.random() < 0.25:
            canvas.add_stroke()
    return canvas


def draw_scene(seed: int, width: int = 256, height: int = 256) -> Scene:
    """Draw the scene of a seed.

    Parameters
    ----------
    seed
        Not negative. Together with the size it decides everything.
    width, height
        In pixels, at least 1. Objects grow with the shorter side; below 12 pixels there is no room for one.

    Raises
    ------
    ValueError
        For a negative seed or a size below 1.
    """
    if seed < 0:
        raise ValueError(f"seed: expected a whole number of 0 or more, found {seed}")
    if width < 1 or height < 1:
        raise ValueError(f"size of a scene: expected a width and height of at least 1 pixel, found {width}x{height}")
    canvas = _compose(seed, width, height)
    rng = canvas.rng
    pixels = canvas.pixels.astype(np.int16)
    for _ in range(max(int(rng.integers(-2, 4)), 0)):
        pixels = _blur(pixels)
    pixels += _grain(rng, width, height)
    drawn = np.clip(pixels, 0, 255, out=pixels).astype(np.uint8)
    return Scene(
        np.ascontiguousarray(drawn.transpose(1, 2, 0)),
        np.array(canvas.boxes, np.float64).reshape(-1, 4),
        np.array(canvas.class_ids, np.int64),
    )
