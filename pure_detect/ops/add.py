"""Sums of maps: the residual connection, and sums with trained weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_batches, check_map, contiguous

NORMALIZATIONS = ("none", "relu", "softmax")
EPSILON = 1e-4  # of the normalizations, as BiFPN was published


def add(*inputs: Array) -> Array:
    """Add maps of equal height and width. The first one's channels count.

    out[n, c] = in0[n, c] + in1[n, c] + ..., where a map with fewer channels adds to the first ones only and one
    with more gives only as many as there are: Darknet's shortcut between unequal layers.

    Source
    ------
    `shortcut_multilayer_cpu` (AlexeyAB/darknet, `blas.c`).
    """
    return weighted_add(*inputs, weight=np.ones((len(inputs), 1), np.float64))


def weighted_add(*inputs: Array, weight: Array, normalization: str = "none", epsilon: float = EPSILON) -> Array:
    """Add maps, each times a trained weight: Darknet's weighted shortcut, and BiFPN's fusion.

    out[n, c] = sum over i of w[i, c] * in_i[n, c]

    with w = weight                                                        for "none",
         w[i] = relu(weight[i]) / (epsilon + sum over j of relu(weight[j]))  for "relu" (fast normalised fusion),
         w[i] = e^(weight[i] - m) / (epsilon + sum over j of e^(weight[j] - m)), m the largest, for "softmax".

    Parameters
    ----------
    inputs : (N, C, H, W) each, float32 or float64
    weight : (len(inputs), 1) or (len(inputs), C)
        One weight a map, or one a map and channel.
    normalization : "none", "relu" or "softmax"
    epsilon : float

    Returns
    -------
    (N, C, H, W) as the first input; accumulated in float64.

    Source
    ------
    `shortcut_multilayer_cpu` (AlexeyAB/darknet, `blas.c`); Tan et al. 2020, section 3.3.
    """
    first = inputs[0]
    check_map("add", first)
    check_batches("add", *inputs)
    weighted_add_shape([x.shape[1:] for x in inputs], {"weight": weight.shape}, normalization=normalization)
    weights = normalized_weights(np.asarray(weight, np.float64), normalization, epsilon)
    weights = np.array(np.broadcast_to(weights, (len(inputs), first.shape[1])))
    total = np.zeros(first.shape, np.float64)
    for x, w in zip(inputs, weights):
        channels = min(x.shape[1], first.shape[1])
        parallel_for(add_scaled_reference, first.shape[0] * channels, contiguous(x), w, channels, total)
    return total.astype(first.dtype)


def normalized_weights(weight: Array, normalization: str, epsilon: float = EPSILON) -> Array:
    """Return the weights as they multiply the maps; axis 0 runs over the maps."""
    if normalization == "relu":
        weight = np.maximum(weight, 0)
    elif normalization == "softmax":
        weight = np.exp(weight - weight.max(axis=0))
    else:
        return weight
    return weight / (epsilon + weight.sum(axis=0))


@kernel
def add_scaled_reference(start, stop, x, weight, channels, total):  # type: ignore[no-untyped-def]
    """Add weight[c] * x to planes start..stop of (N * channels)."""
    _, _, H, W = x.shape
    for index in range(start, stop):
        n, c = index // channels, index % channels
        for y in range(H):
            for i in range(W):
                total[n, c, y, i] += weight[c] * x[n, c, y, i]


def add_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return the first input's shape; heights and widths must agree."""
    if len(inputs) < 2 or len({shape[1:] for shape in inputs}) != 1:
        raise ValueError(f"two or more maps of one size expected, got {', '.join(map(str, inputs))}")
    return inputs[0]


def weighted_add_shape(
    inputs: Sequence[Shape], parameters: ParameterShapes, *, normalization: str, epsilon: float = EPSILON
) -> Shape:
    """Return the first input's shape, after checking weights and normalization."""
    shape = add_shape(inputs, {})
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}")
    if parameters["weight"] not in ((len(inputs), 1), (len(inputs), shape[0])):
        raise ValueError(
            f"expected weight ({len(inputs)}, 1) or ({len(inputs)}, {shape[0]}), got {parameters['weight']}"
        )
    return shape


ADD = Op("add", add, add_shape)
WEIGHTED_ADD = Op("weighted_add", weighted_add, weighted_add_shape)
