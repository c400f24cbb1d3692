"""Operations that only move values: upsampling, concatenation, channel slices, YOLOv2's reorg."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_detect.ops.geometry import Pair, Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_batches, check_map


def upsample_nearest(x: Array, *, size: Pair) -> Array:
    """Repeat cells: out[y, x] = in[floor(y * H / OH), floor(x * W / OW)], from (N, C, H, W) to (N, C, OH, OW).

    At a whole factor every cell is repeated that many times; else some cells once more than others. Computed in
    integers: PyTorch and TensorFlow multiply by a float32 of H / OH, which is the same for sizes up to thousands.

    Source
    ------
    `upsample_cpu` (pjreddie/darknet, `blas.c`); torch.nn.functional.interpolate, mode "nearest" (PyTorch 2.13);
    tf.compat.v1.image.resize_nearest_neighbor (TensorFlow 2.21).
    """
    check_map("upsample_nearest", x)
    upsample_shape([x.shape[1:]], {}, size=size)
    rows, columns = (np.arange(out) * n // out for out, n in zip(size, x.shape[2:]))
    return np.ascontiguousarray(x[:, :, rows][:, :, :, columns])


def upsample_shape(inputs: Sequence[Shape], parameters: ParameterShapes, *, size: Pair) -> Shape:
    """Return (C, OH, OW); neither may be smaller than the input's."""
    channels, height, width = inputs[0]
    if size[0] < height or size[1] < width:
        raise ValueError(f"size must be at least the input's {height} x {width}, got {size[0]} x {size[1]}")
    return (channels, *size)


def concat(*inputs: Array) -> Array:
    """Stack maps of equal size along the channels, in the order given.

    Source
    ------
    `forward_route_layer` (pjreddie/darknet); torch.cat, dim 1 (PyTorch 2.13).
    """
    check_batches("concat", *inputs)
    concat_shape([x.shape[1:] for x in inputs], {})
    return np.concatenate(inputs, axis=1)


def concat_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return the summed channels; heights and widths must agree."""
    if len({shape[1:] for shape in inputs}) != 1:
        raise ValueError(f"maps of one size expected, got {', '.join(map(str, inputs))}")
    return (sum(shape[0] for shape in inputs), *inputs[0][1:])


def channel_slice(x: Array, *, start: int, stop: int) -> Array:
    """Take channels start..stop of (N, C, H, W), as Darknet's route with `groups` does."""
    check_map("channel_slice", x)
    channel_slice_shape([x.shape[1:]], {}, start=start, stop=stop)
    return np.ascontiguousarray(x[:, start:stop])


def channel_slice_shape(inputs: Sequence[Shape], parameters: ParameterShapes, *, start: int, stop: int) -> Shape:
    """Return (stop - start, H, W)."""
    channels, height, width = inputs[0]
    if not 0 <= start < stop <= channels:
        raise ValueError(f"channels {start}..{stop} do not lie within {channels}")
    return (stop - start, height, width)


def reorg(x: Array, *, stride: int) -> Array:
    """Darknet's reorg: (N, C, H, W) to (N, C * s^2, H / s, W / s). It is not space-to-depth.

    The C implementation reads the flat input as if it had C / s^2 channels of (H * s, W * s), gathers it in s x s
    steps, and reads the result as C * s^2 channels. YOLOv2's weights were trained with that order.

    Source
    ------
    `reorg_cpu` (pjreddie/darknet, `blas.c`, with forward = 0).
    """
    check_map("reorg", x)
    N, C, H, W = x.shape
    C_out, H_out, W_out = reorg_shape([(C, H, W)], {}, stride=stride)
    # axes: n, channel, row, step down, column, step right -> step down, step right, channel, row, column
    seen = x.reshape(N, C // stride**2, H, stride, W, stride)
    return seen.transpose(0, 3, 5, 1, 2, 4).reshape(N, C_out, H_out, W_out)


def reorg_shape(inputs: Sequence[Shape], parameters: ParameterShapes, *, stride: int) -> Shape:
    """Return (C * s^2, H / s, W / s); the stride must divide the size, its square the channels."""
    channels, height, width = inputs[0]
    if stride < 1 or channels % stride**2 or height % stride or width % stride:
        raise ValueError(f"stride {stride} does not divide {inputs[0]} (its square must divide the channels)")
    return (channels * stride**2, height // stride, width // stride)


UPSAMPLE_NEAREST = Op("upsample_nearest", upsample_nearest, upsample_shape)
CONCAT = Op("concat", concat, concat_shape)
CHANNEL_SLICE = Op("channel_slice", channel_slice, channel_slice_shape)
REORG = Op("reorg", reorg, reorg_shape)
