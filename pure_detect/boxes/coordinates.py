"""Box coordinates: two ways to write a box, clipping, and how much two boxes overlap.

A box is four numbers in the last axis. `xyxy` is (x1, y1, x2, y2), left, top, right, bottom, and what every
part of the package passes on; `cxcywh` is (centre x, centre y, width, height), what Darknet predicts.
Coordinates are continuous: a box from 2 to 5 is 3 wide, with no `+ 1`. Functions work in pixels as well as in
unit coordinates.

float32 stays float32 and float64 stays float64; any other dtype becomes float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


def cxcywh_to_xyxy(boxes_cxcywh: ArrayLike) -> Floats:
    """Turn centre and size into corners: x1 = cx - w / 2, x2 = cx + w / 2, and the same for y.

    Parameters
    ----------
    boxes_cxcywh : array (..., 4)
        Centre x, centre y, width, height, in any unit.

    Returns
    -------
    boxes_xyxy : array (..., 4)

    Raises
    ------
    ValueError
        If the last axis does not hold four numbers.
    """
    boxes = _as_boxes(boxes_cxcywh, "boxes_cxcywh")
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_cxcywh(boxes_xyxy: ArrayLike) -> Floats:
    """Turn corners into centre and size: cx = (x1 + x2) / 2, w = x2 - x1, and the same for y.

    Parameters
    ----------
    boxes_xyxy : array (..., 4)
        Left, top, right, bottom, in any unit.

    Returns
    -------
    boxes_cxcywh : array (..., 4)

    Raises
    ------
    ValueError
        If the last axis does not hold four numbers.
    """
    boxes = _as_boxes(boxes_xyxy, "boxes_xyxy")
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1)


def clip_boxes(boxes_xyxy_pixels: ArrayLike, height: float, width: float) -> Floats:
    """Move corners outside of a picture onto its border: x into [0, width], y into [0, height].

    A box wholly outside becomes one of zero area on the border; NaN stays NaN.

    Parameters
    ----------
    boxes_xyxy_pixels : array (..., 4)
        Left, top, right, bottom, in pixels.
    height, width : float
        Size of the picture in pixels.

    Returns
    -------
    boxes_xyxy_pixels : array (..., 4)
        A new array.

    Raises
    ------
    ValueError
        If the last axis does not hold four numbers, or `height` or `width` is negative or NaN.
    """
    boxes = _as_boxes(boxes_xyxy_pixels, "boxes_xyxy_pixels")
    if not (height >= 0 and width >= 0):
        raise ValueError(f"height and width must be at least 0, got {height} and {width}")
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def pairwise_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return the intersection over union of every box of `a` with every box of `b`.

    IoU[m, k] = area(a[m] ∩ b[k]) / (area(a[m]) + area(b[k]) - area(a[m] ∩ b[k])), and 0 where that says
    nothing: where the boxes only touch, either has no area (or its right side left of its left side), holds
    NaN, or both are infinite. So the result is always a number from 0 to 1.

    Parameters
    ----------
    a : array (M, 4)
    b : array (K, 4)
        Left, top, right, bottom, in one unit.

    Returns
    -------
    iou : array (M, K)

    Raises
    ------
    ValueError
        If `a` or `b` is not of that shape.
    """
    first, second = (_as_boxes(boxes, name, ndim=2) for boxes, name in ((a, "a"), (b, "b")))
    first, second = first[:, None, :], second[None, :, :]
    with np.errstate(all="ignore"):
        sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
        intersection = np.where((sides > 0).all(axis=-1), sides.prod(axis=-1), 0)
        union = _area(first) + _area(second) - intersection
        # NaN and infinity leave a union of NaN, boxes without area one of 0 or less.
        return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _area(boxes_xyxy: Floats) -> Floats:
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])


def _as_boxes(boxes: ArrayLike, name: str, ndim: int | None = None) -> Floats:
    """Return `boxes` as an array of float32 or float64 whose last axis is 4, or say what is wrong with it."""
    array = np.asarray(boxes)
    if array.ndim == 0 or array.shape[-1] != 4 or (ndim is not None and array.ndim != ndim):
        expected = "(..., 4)" if ndim is None else "(M, 4)"
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
