"""The fully connected layer, and the constant that a layer can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map, contiguous


def connected(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply each picture, flattened as C, H, W, by a matrix: out[n, o] = bias[o] + weight[o] . in[n].

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    weight : (O, C * H * W)
    bias : (O,), optional

    Returns
    -------
    (N, O, 1, 1), dtype of `x`; accumulated in float64.

    Source
    ------
    `forward_connected_layer` (pjreddie/darknet); torch.nn.functional.linear (PyTorch 2.13).
    """
    check_map("connected", x)
    shapes = {"weight": weight.shape, **({} if bias is None else {"bias": bias.shape})}
    out = np.empty((x.shape[0], *connected_shape([x.shape[1:]], shapes)), x.dtype)
    bias = np.zeros(len(weight), x.dtype) if bias is None else bias
    rows = contiguous(x).reshape(x.shape[0], math.prod(x.shape[1:]))
    weight, bias = (
        contiguous(weight.astype(x.dtype, copy=False)),
        contiguous(bias.astype(x.dtype, copy=False)),
    )
    parallel_for(connected_reference, len(weight), rows, weight, bias, out[:, :, 0, 0])
    return out


@kernel
def connected_reference(start, stop, x, weight, bias, out):  # type: ignore[no-untyped-def]
    """Compute outputs start..stop of O for every picture."""
    N, I = x.shape
    for o in range(start, stop):
        for n in range(N):
            total = np.float64(bias[o])
            for i in range(I):
                total += np.float64(weight[o, i]) * x[n, i]
            out[n, o] = total


def connected_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return (O, 1, 1), after checking the matrix."""
    outputs, size = parameters["weight"]
    if size != math.prod(inputs[0]):
        raise ValueError(
            f"expected weight ({outputs}, {math.prod(inputs[0])}) for {inputs[0]}, got {parameters['weight']}"
        )
    if parameters.get("bias", (outputs,)) != (outputs,):
        raise ValueError(f"expected bias ({outputs},), got {parameters['bias']}")
    return (outputs, 1, 1)


def connected_multiply_adds(inputs: Sequence[Shape], parameters: ParameterShapes, output: Shape) -> int:
    """Return one multiply-add per weight."""
    return math.prod(parameters["weight"])


def constant(x: Array, value: Array) -> Array:
    """Return a trained tensor (C, H, W) once for each picture of `x`, whose values do not matter.

    Source
    ------
    `forward_implicit_layer` (AlexeyAB/darknet, `representation_layer.c`).
    """
    return np.broadcast_to(value.astype(x.dtype), (x.shape[0], *value.shape)).copy()


def constant_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return the tensor's own shape."""
    channels, height, width = parameters["value"]
    return (channels, height, width)


CONNECTED = Op("connected", connected, connected_shape, connected_multiply_adds)
CONSTANT = Op("constant", constant, constant_shape)
