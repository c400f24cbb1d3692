"""Parameters as the kernels want them: batch norm folded in float64, blocks of output channels, panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import step
from pure_detect.engine.simd import LANES
from pure_detect.graph import Node

Array = NDArray[Any]

INFINITY = np.inf
CLAMPS = {None: (1.0, INFINITY), "relu": (0.0, INFINITY), "leaky_relu": (0.1, INFINITY), "relu6": (0.0, 6.0)}
OTHERS = {
    "sigmoid": step.SIGMOID,
    "hard_sigmoid": step.HARD_SIGMOID,
    "hard_sigmoid_tf": step.HARD_SIGMOID_TF,
    "hard_swish": step.HARD_SWISH,
    "swish": step.SWISH,
    "mish": step.MISH,
}


def limits(activation: str | None) -> tuple[float, float]:
    """Return slope and highest value of the clamp that the activation is, or of one that changes nothing."""
    return CLAMPS.get(activation, (1.0, INFINITY))


def activation_code(activation: str | None) -> int:
    """Return the number of an activation that no clamp can say; CLAMP for the others."""
    return step.CLAMP if activation is None else OTHERS.get(activation, step.CLAMP)


def norm_factors(norm: Node | None, channels: int, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return scale and shift (C,) float64 of a batch norm, or of none."""
    if norm is None:
        return np.ones(channels), np.zeros(channels)
    scale, bias, mean, variance = (
        np.asarray(parameters[norm.parameters[key].name], np.float64) for key in ("scale", "bias", "mean", "variance")
    )
    epsilon = norm.attributes["epsilon"]
    inside = norm.attributes["epsilon_inside"]
    factor = scale / (np.sqrt(variance + epsilon) if inside else np.sqrt(variance) + epsilon)
    return factor, bias - mean * factor


def folded_bias(conv: Node, norm: Node | None, parameters: Mapping[str, Array]) -> Array:
    """Return the bias (O,) float64 of a convolution with its batch norm."""
    channels = conv.shape[0]
    factor, shift = norm_factors(norm, channels, parameters)
    bias = conv.parameters.get("bias")
    return shift if bias is None else shift + factor * np.asarray(parameters[bias.name], np.float64)


def folded_weight(conv: Node, norm: Node | None, parameters: Mapping[str, Array]) -> Array:
    """Return the weights (O, I, kernel height, kernel width) float32 of a convolution with its batch norm."""
    weight = np.asarray(parameters[conv.parameters["weight"].name])
    factor, _ = norm_factors(norm, conv.shape[0], parameters)
    folded = np.empty(weight.shape, np.float32)
    # In float64, piece by piece: a whole map of those would cost more than the multiplications.
    return np.multiply(weight, factor[:, None, None, None], out=folded, casting="same_kind")


def ungrouped(weight: Array, groups: int) -> Array:
    """Return the weights (O, groups * I, ...) of the same convolution without groups, zeros between the groups."""
    per_group = len(weight) // groups
    full = np.zeros((len(weight), weight.shape[1] * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        rows, columns = slice(g * per_group, (g + 1) * per_group), slice(g * weight.shape[1], (g + 1) * weight.shape[1])
        full[rows, columns] = weight[rows]
    return full


class Panels(NamedTuple):
    """How blocks of output channels go into panels: some of one width, then all others of the widest."""

    first_vectors: int
    first_panels: int
    rest_vectors: int
    panels: int

    @property
    def starts(self) -> list[int]:
        """Return the block at which each panel begins, and where the last one ends."""
        widths = [self.first_vectors] * self.first_panels + [self.rest_vectors] * (self.panels - self.first_panels)
        return [sum(widths[:i]) for i in range(len(widths) + 1)]


def panels_of(blocks: int) -> Panels:
    """Return the panels for so many blocks: none is of one block alone where that can be avoided.

    With 16 registers most are of three blocks, with 32 of two.
    """
    if blocks == 1:
        return Panels(1, 1, 2, 1)
    if direct.FEW_REGISTERS:
        narrow = -blocks % 3
        return Panels(2, narrow, 3, narrow + (blocks - 2 * narrow) // 3)
    return Panels(3, blocks % 2, 2, blocks // 2)


def by_columns(weight: Array) -> Array:
    """Return weights (O, I, kh, kw) as those of a kernel of one column: the others as channels, (O, I * kw, kh, 1)."""
    O, I, KH, KW = weight.shape
    return weight.transpose(0, 1, 3, 2).reshape(O, I * KW, KH, 1)


def pack_panels(weight: Array, unroll: int, out: Array) -> None:
    """Write weights (O, I, kh, kw) into `out` as (panel, kh, kw, input channel, vectors * LANES).

    Input channels are filled up to a multiple of `unroll`, output channels to one of LANES.
    """
    O, I, KH, KW = weight.shape
    inputs, blocks = -(-I // unroll) * unroll, -(-O // LANES)
    length = KH * KW * inputs * LANES
    starts = panels_of(blocks).starts
    for first, last in zip(starts, starts[1:]):
        panel = out[first * length : last * length].reshape(KH, KW, inputs, (last - first) * LANES)
        some = weight[first * LANES : last * LANES]
        if inputs != I or len(some) != panel.shape[3]:
            panel[:] = 0
        panel[:, :, :I, : len(some)] = some.transpose(2, 3, 1, 0)


def pack_depthwise(weight: Array, out: Array) -> None:
    """Write weights (C, 1, kh, kw) into `out` as (block, kh, kw, LANES)."""
    C, _, KH, KW = weight.shape
    blocks = out.reshape(-1, KH, KW, LANES)
    padded = np.zeros((len(blocks) * LANES, KH, KW), np.float32)
    padded[:C] = weight[:, 0]
    blocks[:] = padded.reshape(len(blocks), LANES, KH, KW).transpose(0, 2, 3, 1)
