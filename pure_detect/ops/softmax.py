"""Softmax over the whole output of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map


def softmax(x: Array, *, groups: int = 1, temperature: float = 1.0) -> Array:
    """Turn the values of each picture into probabilities.

    out[k] = e^(in[k] / T - m) / sum over j of e^(in[j] / T - m), m the largest in[j] / T

    over all C * H * W values of a picture, or over each of `groups` equal runs of them.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    groups : int
    temperature : float

    Returns
    -------
    Same shape and dtype; computed in float64.

    Source
    ------
    `forward_softmax_layer` (pjreddie/darknet); torch.nn.functional.softmax (PyTorch 2.13).
    """
    check_map("softmax", x)
    softmax_shape([x.shape[1:]], {}, groups=groups, temperature=temperature)
    rows = np.asarray(x, np.float64).reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    rows = rows / temperature
    powers = np.exp(rows - rows.max(axis=2, keepdims=True))
    return (powers / powers.sum(axis=2, keepdims=True)).reshape(x.shape).astype(x.dtype)


def softmax_shape(inputs: Sequence[Shape], parameters: ParameterShapes, *, groups: int, temperature: float) -> Shape:
    """Return the input's shape; groups must divide its size and the temperature be positive."""
    channels, height, width = inputs[0]
    if groups < 1 or channels * height * width % groups:
        raise ValueError(f"groups {groups} does not divide the {channels * height * width} values of {inputs[0]}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return inputs[0]


SOFTMAX = Op("softmax", softmax, softmax_shape)
