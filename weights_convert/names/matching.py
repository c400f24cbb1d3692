"""Brings a source's named tensors under our names; every tensor on both sides must be accounted for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.graph import Graph

Array = NDArray[Any]


def as_stored(x: Array) -> Array:
    """Return a tensor in the layout that we use too: (out, in, height, width), as PyTorch."""
    return x


def from_hwio(x: Array) -> Array:
    """Return TensorFlow's (height, width, in, out) as (out, in, height, width)."""
    return x.transpose(3, 2, 0, 1)


def from_hwci(x: Array) -> Array:
    """Return TensorFlow's depthwise (height, width, channels, 1) as (channels, 1, height, width)."""
    return x.transpose(2, 3, 0, 1)


def from_matrix(x: Array) -> Array:
    """Return a linear layer's (out, in) as a 1x1 convolution's weights."""
    return x[:, :, None, None]


def from_dense(x: Array) -> Array:
    """Return Keras's dense layer (in, out) as a 1x1 convolution's weights."""
    return x.T[:, :, None, None]


def from_vector(x: Array) -> Array:
    """Return one weight an input map as (maps, 1)."""
    return x[:, None]


SOURCE_AXES: dict[Callable[[Array], Array], int] = {
    from_matrix: 2,
    from_dense: 2,
    from_vector: 1,
}  # where they are not as many as ours


class Pair(NamedTuple):
    """One parameter of ours, the source's name for it, and how its axes are turned."""

    ours: str
    theirs: str
    layout: Callable[[Array], Array] = as_stored


def match(
    path: object, graph: Graph, tensors: Mapping[str, Array], pairs: Iterable[Pair], ignored: Collection[str] = ()
) -> dict[str, Array]:
    """Return a graph's parameters from a source's tensors.

    Parameters
    ----------
    path : path
        Of the source, for messages.
    graph : Graph
    tensors : mapping of str to array
        What a reader found.
    pairs : iterable of Pair
    ignored : collection of str
        Patterns of tensors that are no parameters: counters, optimiser state.

    Raises
    ------
    InputError
        If a tensor is unmatched on either side, or has another shape; one message with the full list.
    """
    by_ours = {pair.ours: pair for pair in pairs}
    used = {pair.theirs for pair in by_ours.values()}
    parameters: dict[str, Array] = {}
    problems = []
    for name, parameter in graph.parameters.items():
        pair = by_ours.get(name)
        if pair is None or pair.theirs not in tensors:
            problems.append(f"{name}: expected {pair.theirs if pair else 'a tensor'}, found none")
            continue
        source = tensors[pair.theirs]
        turned = pair.layout(source) if source.ndim == _source_axes(pair, parameter.shape) else source
        if turned.shape != parameter.shape:
            problems.append(f"{name}: expected {parameter.shape}, found {pair.theirs} {turned.shape}")
        else:
            parameters[name] = np.ascontiguousarray(turned, np.float32)
    unknown = [n for n in tensors if n not in used and not any(fnmatchcase(n, pattern) for pattern in ignored)]
    problems += [f"{name} {tensors[name].shape}: unknown" for name in unknown]
    if problems:
        raise InputError(f"{path}: {len(problems)} tensors do not fit the network: {'; '.join(problems)}")
    return parameters


def _source_axes(pair: Pair, shape: tuple[int, ...]) -> int:
    return SOURCE_AXES.get(pair.layout, len(shape))
