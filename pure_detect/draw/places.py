"""Where the labels of boxes go: inside the picture, at their boxes, and not upon each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

NEAR = 10  # so many spots touch the box; the others are farther away


def place_plates(boxes: Integers, sizes: Integers, height: int, width: int) -> Integers:
    """Choose a place for the label plate of each box, the first box first.

    The spots of :func:`_spots` are tried in their order of preference, pushed into the picture where they would leave
    it. The first spot that hides no plate placed before is taken; where there is none, the one at the box that hides
    least.

    Parameters
    ----------
    boxes : (K, 4) int64
        Left, top, right, bottom as drawn, in pixels; best box first.
    sizes : (K, 2) int64
        Width and height of the plates, at most the picture's.
    height, width : int
        Of the picture.

    Returns
    -------
    (K, 4) int64
        Left, top, right, bottom of the plates.
    """
    plates = np.zeros((len(boxes), 4), np.int64)
    for i, (box, size) in enumerate(zip(boxes, sizes)):
        spots = _spots(box, size)
        top_left = np.clip(spots, 0, np.array([width, height]) - size)
        places = np.concatenate([top_left, top_left + size], axis=1)
        hidden = _hidden(places, plates[:i])
        plates[i] = places[np.argmin(hidden if hidden.min() == 0 else hidden[:NEAR])]
    return plates


def _spots(box: Integers, size: Integers) -> Integers:
    """Return the top left corners (S, 2) of a plate's spots; a small box is not covered if that can be helped."""
    left, top, right, bottom = box
    width, height = size
    at_right = right - width
    inside = [(left, top), (left, bottom - height), (at_right, top), (at_right, bottom - height)]
    around = [(at_right, top - height), (left, bottom), (at_right, bottom), (right, top), (left - width, top)]
    roomy = right - left >= width and bottom - top >= 3 * height
    near = [*inside, *around] if roomy else [*around, *inside]
    # In a crowd: one plate's height farther away, then two.
    rows = [y for i in (1, 2) for y in (top + i * height, top - (i + 1) * height, bottom + i * height)]
    far = [(x, y) for y in rows for x in (left, at_right)]
    return np.array([(left, top - height), *near, *far], np.int64)


def _hidden(places: Integers, plates: Integers) -> Integers:
    """Return how many pixels of the plates (P, 4) each place (S, 4) would hide."""
    x1, y1, x2, y2 = places.T[:, :, None]
    left, top, right, bottom = plates.T[:, None, :]
    widths = np.minimum(x2, right) - np.maximum(x1, left)
    heights = np.minimum(y2, bottom) - np.maximum(y1, top)
    return (np.maximum(widths, 0) * np.maximum(heights, 0)).sum(axis=1)
