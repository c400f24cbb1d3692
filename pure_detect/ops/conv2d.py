"""Convolution: grouped and depthwise, any stride, dilation and asymmetric padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Padding, Pair, Shape, window_output_shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map, contiguous


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolve (in truth: cross-correlate) with zero padding.

    out[n, o, y, x] = bias[o] + sum over i, ky, kx of
        weight[o, i, ky, kx] * in[n, g*I + i, y*stride - top + ky*dilation, x*stride - left + kx*dilation]

    where output channel o belongs to group g = o // (O / groups).

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    weight : (O, I, kernel_height, kernel_width), I = C / groups
        Depthwise: groups = C, I = 1.
    bias : (O,), optional
    stride, dilation : (vertical, horizontal)
    padding : (top, left, bottom, right)
    groups : int
        Channels of one group see only that group's inputs.

    Returns
    -------
    (N, O, OH, OW), dtype of `x`; sums are accumulated in float64.

    Raises
    ------
    ValueError
        If channels and groups do not fit, or the window is larger than the padded input.

    Source
    ------
    torch.nn.functional.conv2d (PyTorch 2.13); `forward_convolutional_layer` (pjreddie/darknet).
    """
    check_map("conv2d", x)
    shapes = {"weight": weight.shape, **({} if bias is None else {"bias": bias.shape})}
    out_shape = conv2d_shape([x.shape[1:]], shapes, stride=stride, padding=padding, dilation=dilation, groups=groups)
    out = np.empty((x.shape[0], *out_shape), x.dtype)
    top, left, bottom, right = padding
    padded = contiguous(np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(padding) else x)
    bias = np.zeros(len(weight), x.dtype) if bias is None else bias
    planes = out.shape[0] * out.shape[1]
    weight, bias = (
        contiguous(weight.astype(x.dtype, copy=False)),
        contiguous(bias.astype(x.dtype, copy=False)),
    )
    parallel_for(conv2d_reference, planes, padded, weight, bias, *stride, *dilation, groups, out)
    return out


@kernel
def conv2d_reference(start, stop, x, weight, bias, stride_y, stride_x, dilation_y, dilation_x, groups, out):  # type: ignore[no-untyped-def]
    """Compute output planes start..stop of (N*O); `x` is already padded."""
    O, I, KH, KW = weight.shape
    OH, OW = out.shape[2:]
    plane = np.empty((OH, OW), np.float64)
    for index in range(start, stop):
        n, o = index // O, index % O
        group = o // (O // groups)
        plane[:] = bias[o]
        for i in range(I):
            source = x[n, group * I + i]
            for ky in range(KH):
                for kx in range(KW):
                    w = np.float64(weight[o, i, ky, kx])
                    for oy in range(OH):
                        row = source[oy * stride_y + ky * dilation_y]
                        for ox in range(OW):
                            plane[oy, ox] += w * row[ox * stride_x + kx * dilation_x]
        out[n, o] = plane


def conv2d_shape(
    inputs: Sequence[Shape],
    parameters: ParameterShapes,
    *,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Shape:
    """Return (O, OH, OW), after checking that channels and groups fit."""
    channels = inputs[0][0]
    out_channels, per_group, kernel_height, kernel_width = parameters["weight"]
    if groups < 1 or channels % groups or out_channels % groups or per_group != channels // groups:
        raise ValueError(
            f"weight {parameters['weight']} and groups {groups} do not fit {channels} input channels: "
            f"both channel counts must be multiples of groups, and weight's second size channels / groups"
        )
    if parameters.get("bias", (out_channels,)) != (out_channels,):
        raise ValueError(f"expected bias ({out_channels},), got {parameters['bias']}")
    return window_output_shape(inputs[0], out_channels, (kernel_height, kernel_width), stride, padding, dilation)


def conv2d_multiply_adds(inputs: Sequence[Shape], parameters: ParameterShapes, output: Shape) -> int:
    """Return one multiply-add per weight and output position; padding counts like any input."""
    return math.prod(parameters["weight"]) * output[1] * output[2]


CONV2D = Op("conv2d", conv2d, conv2d_shape, conv2d_multiply_adds)
