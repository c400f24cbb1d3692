"""Activation functions of the three families, one formula each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map, contiguous

ACTIVATIONS = (
    "leaky_relu",  # Darknet: slope 0.1
    "relu",
    "relu6",
    "sigmoid",
    "hard_sigmoid",  # relu6(x + 3) / 6, as PyTorch; Keras's old 0.2 x + 0.5 is another function
    "hard_sigmoid_tf",  # relu6(x + 3) * 0.16667: the literal in TensorFlow's MobileNetV3 gates, up to 2e-5 off
    "hard_swish",  # x * relu6(x + 3) / 6, Howard et al. 2019, section 5.2
    "swish",  # x * sigmoid(x), also called SiLU
    "mish",  # x * tanh(softplus(x)), Misra 2019
)
LEAKY_RELU, RELU, RELU6, SIGMOID, HARD_SIGMOID, HARD_SIGMOID_TF, HARD_SWISH, SWISH, MISH = range(len(ACTIVATIONS))


def activation(x: Array, *, function: str) -> Array:
    """Apply one of :data:`ACTIVATIONS` to every element.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    function : str
        A name in :data:`ACTIVATIONS`; the formulas stand in :func:`activate`.

    Returns
    -------
    Same shape and dtype; computed in float64. NaN stays NaN.

    Source
    ------
    `activations.h` (AlexeyAB/darknet); torch.nn.functional (PyTorch 2.13).
    """
    check_map("activation", x)
    activation_shape([x.shape[1:]], {}, function=function)
    out = np.empty(x.shape, x.dtype)
    flat = contiguous(x).reshape(-1)
    parallel_for(activation_reference, x.size, flat, ACTIVATIONS.index(function), out.reshape(-1))
    return out


@kernel
def activate(function, x):  # type: ignore[no-untyped-def]
    """Return the activation of one number. Comparisons are written so that NaN passes through."""
    if function == LEAKY_RELU:
        return x if x > 0 else 0.1 * x
    if function == RELU:
        return 0.0 if x < 0 else x
    if function == RELU6:
        return relu6(x)
    if function == SIGMOID:
        return sigmoid(x)
    if function == HARD_SIGMOID:
        return relu6(x + 3) / 6
    if function == HARD_SIGMOID_TF:
        return relu6(x + 3) * 0.16667
    if function == HARD_SWISH:
        return x * relu6(x + 3) / 6
    if function == SWISH:
        return x * sigmoid(x)
    return x * math.tanh(softplus(x))  # MISH


@kernel
def relu6(x):  # type: ignore[no-untyped-def]
    """Return x clipped to 0..6, NaN kept."""
    return 0.0 if x < 0 else (6.0 if x > 6 else x)


@kernel
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x), without overflow on either side."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    e = math.exp(x)
    return e / (1 + e)


@kernel
def softplus(x):  # type: ignore[no-untyped-def]
    """Return ln(1 + e^x), without overflow; past 20 it is x to the last bit that matters."""
    return x if x > 20 else math.log1p(math.exp(x))


@kernel
def activation_reference(start, stop, x, function, out):  # type: ignore[no-untyped-def]
    """Apply the function to elements start..stop of the flat array."""
    for i in range(start, stop):
        out[i] = activate(function, np.float64(x[i]))


def activation_shape(inputs: Sequence[Shape], parameters: ParameterShapes, *, function: str) -> Shape:
    """Return the input's shape, after checking that the function is known."""
    if function not in ACTIVATIONS:
        raise ValueError(f"unknown activation {function!r}; known: {', '.join(ACTIVATIONS)}")
    return inputs[0]


ACTIVATION = Op("activation", activation, activation_shape)
