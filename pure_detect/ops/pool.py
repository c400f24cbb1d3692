"""Pooling: maximum, average over a window, average over the whole map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Padding, Pair, Shape, window_output_shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map, contiguous


def max_pool(x: Array, *, kernel: Pair, stride: Pair, padding: Padding = (0, 0, 0, 0)) -> Array:
    """Take the maximum of each window; cells outside the picture do not take part.

    out[n, c, y, x] = max over ky, kx of in[n, c, y*stride - top + ky, x*stride - left + kx]

    Darknet's size 2 at stride 1 keeps the map's size by padding only the right and the bottom:
    `padding=darknet_pool_padding(1)`.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    kernel, stride : (vertical, horizontal)
    padding : (top, left, bottom, right), each smaller than the window

    Returns
    -------
    (N, C, OH, OW), dtype of `x`. A NaN in the window gives NaN, as in PyTorch.

    Source
    ------
    `forward_maxpool_layer` (pjreddie/darknet); torch.nn.functional.max_pool2d (PyTorch 2.13).
    """
    return _pool(max_pool_reference, "max_pool", x, kernel, stride, padding)


def average_pool(x: Array, *, kernel: Pair, stride: Pair, padding: Padding = (0, 0, 0, 0)) -> Array:
    """Take the mean of each window's cells inside the picture; padding is not counted.

    Parameters, returns: as :func:`max_pool`; accumulated in float64.

    Source
    ------
    `forward_local_avgpool_layer` (AlexeyAB/darknet, `maxpool_layer.c`); torch.nn.functional.avg_pool2d with
    count_include_pad=False (PyTorch 2.13).
    """
    return _pool(average_pool_reference, "average_pool", x, kernel, stride, padding)


def global_average_pool(x: Array) -> Array:
    """Take the mean of each channel's map: (N, C, H, W) to (N, C, 1, 1), accumulated in float64.

    Source
    ------
    `forward_avgpool_layer` (pjreddie/darknet); torch.nn.functional.adaptive_avg_pool2d (PyTorch 2.13).
    """
    return average_pool(x, kernel=(x.shape[2], x.shape[3]), stride=(1, 1))


def _pool(reference, name: str, x: Array, size: Pair, stride: Pair, padding: Padding) -> Array:  # type: ignore[no-untyped-def]
    check_map(name, x)
    shape = pool_shape([x.shape[1:]], {}, kernel=size, stride=stride, padding=padding)
    out = np.empty((x.shape[0], *shape), x.dtype)
    planes = out.shape[0] * out.shape[1]
    parallel_for(reference, planes, contiguous(x), *size, *stride, padding[0], padding[1], out)
    return out


@kernel
def max_pool_reference(start, stop, x, KH, KW, stride_y, stride_x, top, left, out):  # type: ignore[no-untyped-def]
    """Pool planes start..stop of (N*C)."""
    _, C, H, W = x.shape
    OH, OW = out.shape[2:]
    for index in range(start, stop):
        n, c = index // C, index % C
        for oy in range(OH):
            for ox in range(OW):
                best = -np.inf
                for y in range(max(0, oy * stride_y - top), min(H, oy * stride_y - top + KH)):
                    for i in range(max(0, ox * stride_x - left), min(W, ox * stride_x - left + KW)):
                        value = x[n, c, y, i]
                        if value > best or np.isnan(value):
                            best = value
                out[n, c, oy, ox] = best


@kernel
def average_pool_reference(start, stop, x, KH, KW, stride_y, stride_x, top, left, out):  # type: ignore[no-untyped-def]
    """Average planes start..stop of (N*C)."""
    _, C, H, W = x.shape
    OH, OW = out.shape[2:]
    for index in range(start, stop):
        n, c = index // C, index % C
        for oy in range(OH):
            for ox in range(OW):
                total, count = np.float64(0), 0
                for y in range(max(0, oy * stride_y - top), min(H, oy * stride_y - top + KH)):
                    for i in range(max(0, ox * stride_x - left), min(W, ox * stride_x - left + KW)):
                        total += x[n, c, y, i]
                        count += 1
                out[n, c, oy, ox] = total / count


def pool_shape(
    inputs: Sequence[Shape],
    parameters: ParameterShapes,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Padding = (0, 0, 0, 0),
) -> Shape:
    """Return (C, OH, OW); a window that could lie wholly in the padding is an error."""
    top, left, bottom, right = padding
    if max(top, bottom) >= kernel[0] or max(left, right) >= kernel[1]:
        raise ValueError(f"padding {padding} must be smaller than the window {kernel}")
    return window_output_shape(inputs[0], inputs[0][0], kernel, stride, padding)


def global_pool_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return (C, 1, 1)."""
    return (inputs[0][0], 1, 1)


MAX_POOL = Op("max_pool", max_pool, pool_shape)
AVERAGE_POOL = Op("average_pool", average_pool, pool_shape)
GLOBAL_AVERAGE_POOL = Op("global_average_pool", global_average_pool, global_pool_shape)
