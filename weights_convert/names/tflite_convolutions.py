"""Convolutions of TensorFlow Lite: their weights in our layout, and what stands for the batch norm folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.graph import Node
from weights_convert.readers.tflite import Operator, TfliteModel

Array = NDArray[Any]

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def weight_and_bias(model: TfliteModel, operator: Operator) -> tuple[Array | None, Array | None]:
    """Return an operator's weights as (out, in, height, width), dequantised, and its bias."""
    inputs: Sequence[int] = operator.inputs
    weight = model.tensors[inputs[1]].values
    bias = model.tensors[inputs[2]].values if len(inputs) > 2 and inputs[2] >= 0 else None
    if weight is None or weight.ndim != 4:
        return None, bias
    axes = (3, 0, 1, 2) if operator.name == "DEPTHWISE_CONV_2D" else (0, 3, 1, 2)
    return np.ascontiguousarray(weight.transpose(axes), np.float32), bias


def identity_norm(norm: Node, bias: Array, scale: Array) -> dict[str, Array]:
    """Return the vectors of a batch norm that only multiplies and adds a bias."""
    epsilon = norm.attributes["epsilon"]
    deviation_one = 1 - epsilon if norm.attributes["epsilon_inside"] else (1 - epsilon) ** 2
    values = {
        "scale": scale,
        "bias": bias,
        "mean": np.zeros_like(bias),
        "variance": np.full_like(bias, deviation_one),
    }
    return {norm.parameters[key].name: value.astype(np.float32) for key, value in values.items()}
