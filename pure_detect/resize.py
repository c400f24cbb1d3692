"""Three ways of sampling a picture at another size: where ports of one detector differ first.

A sampling rule answers, for each output index of one axis: which two input indices, and with what weight each?
:class:`Axis` holds the answer; two plain kernels then mix four pixels for each output pixel.

* :func:`resize_half_pixel`: pixel *centres* correspond, input = (output + 1/2) · in/out - 1/2, as OpenCV.
* :func:`bilinear`: the same in floats, as PyTorch, or with input = output · in/out, as TensorFlow 1.
* :func:`align_corners`: the *corner pixels* correspond, input = output · (in - 1)/(out - 1), as Darknet.

All read the two nearest pixels on each axis however much the picture shrinks; none averages over an area.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect import jit

ONE = np.float32(1)
COEFFICIENT = np.float32(2048)  # OpenCV's 8-bit resize weighs in units of 1/2048


class Axis(NamedTuple):
    """For each output index: output = first_weight · input[first] + second_weight · input[second]."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    first_weight: NDArray
    second_weight: NDArray


def resize_half_pixel(
    pixels: NDArray[np.uint8], height: int, width: int, *, rows: slice | None = None, columns: slice | None = None
) -> NDArray[np.uint8]:
    """Resize 8-bit pixels as OpenCV's INTER_LINEAR does, equal to it in every bit.

    The arithmetic is fixed-point: weights are rounded to 1/2048, the horizontal sum is cut to 1/128, each vertical
    product to 1/4, and only then comes the rounding to whole pixel values. An exact halving of both axes averages 2 × 2
    pixels instead.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, C-contiguous
    height, width : int
        Output size, at least 1.
    rows, columns : slice, optional
        The part of the output that is wanted, from start to stop; the rest is never computed.

    Returns
    -------
    (3, height, width) uint8, or the part's height and width

    Source
    ------
    OpenCV 4.14 `modules/imgproc/src/resize.cpp`: `HResizeLinear`, `VResizeLinear` and `ResizeAreaFast`. OpenCV's
    replacements of them on other processors than x86 may round differently.
    """
    H, W = pixels.shape[:2]
    rows, columns = rows or slice(0, height), columns or slice(0, width)
    if (height, width) == (H, W):
        return np.ascontiguousarray(pixels[rows, columns].transpose(2, 0, 1))
    resized = np.empty((3, rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    if (2 * height, 2 * width) == (H, W):
        part = pixels[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop]
        jit.parallel_for(_halve_rows, resized.shape[1], np.ascontiguousarray(part), resized)
    else:
        vertical = _half_pixel(np.arange(rows.start, rows.stop), height, H, clip=False)
        horizontal = _half_pixel(np.arange(columns.start, columns.stop), width, W, clip=True)
        jit.parallel_for(_fixed_point_rows, resized.shape[1], pixels, vertical, horizontal, resized)
    return resized


def _half_pixel(outputs: NDArray[np.int64], length_out: int, length_in: int, *, clip: bool) -> Axis:
    """Weigh the two pixels around each half-pixel position, weights in 1/2048.

    Outside the picture OpenCV repeats the border. On columns (`clip`) it gives the border pixel the whole weight; on
    rows it keeps two weights on the same row, each of which is rounded.
    """
    position = ((outputs + 0.5) * (length_in / length_out) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if clip:
        fraction[(first < 0) | (first >= length_in - 1)] = 0
    return Axis(
        np.clip(first, 0, length_in - 1),
        np.clip(first + 1, 0, length_in - 1),
        np.rint((ONE - fraction) * COEFFICIENT).astype(np.int64),
        np.rint(fraction * COEFFICIENT).astype(np.int64),
    )


@jit.kernel
def _fixed_point_rows(start, stop, pixels, rows, columns, resized):  # type: ignore[no-untyped-def]
    """Compute output rows start to stop: resized[c, y, x] from four pixels, 11-bit weights on both axes."""
    for y in range(start, stop):
        above, below = rows.first[y], rows.second[y]
        above_weight, below_weight = rows.first_weight[y], rows.second_weight[y]
        for x in range(resized.shape[2]):
            left, right = columns.first[x], columns.second[x]
            left_weight, right_weight = columns.first_weight[x], columns.second_weight[x]
            for c in range(3):
                upper = pixels[above, left, c] * left_weight + pixels[above, right, c] * right_weight
                lower = pixels[below, left, c] * left_weight + pixels[below, right, c] * right_weight
                mixed = (((upper >> 4) * above_weight) >> 16) + (((lower >> 4) * below_weight) >> 16)
                resized[c, y, x] = (mixed + 2) >> 2


@jit.kernel
def _halve_rows(start, stop, pixels, resized):  # type: ignore[no-untyped-def]
    """Compute output rows start to stop: the mean of 2 × 2 pixels, halves rounded up."""
    for y in range(start, stop):
        for x in range(resized.shape[2]):
            for c in range(3):
                total = np.int64(2)
                for dy in range(2):
                    for dx in range(2):
                        total += pixels[2 * y + dy, 2 * x + dx, c]
                resized[c, y, x] = total >> 2


def bilinear(length_out: int, length_in: int, *, half_pixel: bool) -> Axis:
    """Weigh the two pixels around each position in float32, the border repeated.

    With `half_pixel`, input = (output + 1/2) · in/out - 1/2, at least 0: torch's `interpolate` without align_corners
    and without antialias. Without, input = output · in/out: TensorFlow 1's `resize_images`.

    Source
    ------
    PyTorch 2.13 `aten/src/ATen/native/UpSample.h`, area_pixel_compute_source_index; TensorFlow 2.21
    `core/util/image_resizer_state.h`, LegacyScaler.
    """
    step = np.float32(length_in / length_out)
    position = np.arange(length_out, dtype=np.float32)
    if half_pixel:
        position = np.maximum((position + np.float32(0.5)) * step - np.float32(0.5), 0)
    else:
        position = position * step
    first = np.minimum(position.astype(np.int64), length_in - 1)
    second_weight = np.clip(position - first.astype(np.float32), 0, 1)
    return Axis(first, np.minimum(first + 1, length_in - 1), ONE - second_weight, second_weight)


def align_corners(outputs: NDArray[np.int64], length_out: int, length_in: int, *, darknet_last: bool = False) -> Axis:
    """Weigh the two pixels around each align-corners position, in float32 as Darknet does.

    Parameters
    ----------
    outputs : (n,) int64
        The output indices wanted, within 0 ... length_out - 1: a crop needs only some, in its own order.
    length_out, length_in : int
        Length of the whole axis after and before.
    darknet_last : bool
        Darknet drops the second term on the last output *row*. Where float32 puts that row just above the last input
        row (480 rows to 240, 427 to 405, about one pair of sizes in twenty) next to nothing is left of it: the row is
        almost black. True does the same; False gives the last output index the last input index, which is its
        mathematical position and what Darknet does on columns.

    Source
    ------
    pjreddie/darknet f6afaab and AlexeyAB/darknet 59596d7, `src/image.c` `resize_image`. For a single output row it
    divides by zero, so there is nothing to match; that row is the picture's last here, with `darknet_last` its first.
    """
    step = np.float32(length_in - 1) / np.float32(max(length_out - 1, 1))
    position = outputs.astype(np.float32) * step
    first = position.astype(np.int64)
    second_weight = position - first.astype(np.float32)
    first_weight = ONE - second_weight
    last = outputs == length_out - 1
    second_weight[last] = 0
    if not darknet_last:
        first[last], first_weight[last] = length_in - 1, 1
    return Axis(first, np.minimum(first + 1, length_in - 1), first_weight, second_weight)


def sample(pixels: NDArray[np.uint8], values: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """Mix four pixels for each output pixel in float32, horizontally first, in Darknet's order of operations.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, C-contiguous
    values : (256,) float32
        What each pixel value stands for; so no float copy of the whole picture is made.
    rows, columns : Axis
        Of lengths height and width.

    Returns
    -------
    (3, height, width) float32
    """
    sampled = np.empty((3, rows.first.size, columns.first.size), np.float32)
    jit.parallel_for(_sample_rows, rows.first.size, pixels, values, rows, columns, sampled)
    return sampled


@jit.kernel
def _sample_rows(start, stop, pixels, values, rows, columns, sampled):  # type: ignore[no-untyped-def]
    """Compute output rows start to stop: sampled[c, y, x] from four pixels, float32 weights on both axes."""
    for y in range(start, stop):
        above, below = rows.first[y], rows.second[y]
        for x in range(sampled.shape[2]):
            left, right = columns.first[x], columns.second[x]
            left_weight, right_weight = columns.first_weight[x], columns.second_weight[x]
            for c in range(3):
                upper = left_weight * values[pixels[above, left, c]] + right_weight * values[pixels[above, right, c]]
                lower = left_weight * values[pixels[below, left, c]] + right_weight * values[pixels[below, right, c]]
                sampled[c, y, x] = rows.first_weight[y] * upper + rows.second_weight[y] * lower
