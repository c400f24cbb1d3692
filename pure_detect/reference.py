"""The reference executor: the graph node by node, on the plain kernels. The oracle of everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pure_detect.graph import Graph, Node
from pure_detect.ops import OPS
from pure_detect.ops.op import contiguous

Array = NDArray[Any]


class ReferenceExecutor:
    """Runs a graph in float32 or float64 and can keep every tensor on the way.

    Parameters
    ----------
    graph : Graph
    parameters : mapping of str to array
        Every parameter of the graph by name, with its shape.
    dtype : float32 or float64
        Of inputs, activations and outputs. Sums are float64 either way.

    Raises
    ------
    ValueError
        If a parameter is missing or has another shape.
    """

    def __init__(self, graph: Graph, parameters: Mapping[str, Array], dtype: DTypeLike = np.float32) -> None:
        self.graph = graph
        self.dtype = np.dtype(dtype)
        self.parameters = {
            name: contiguous(np.asarray(value, self.dtype))
            for name, value in checked_parameters(graph, parameters).items()
        }

    def __call__(self, x: Array, keep: Sequence[str] = ()) -> dict[str, Array]:
        """Run the network.

        Parameters
        ----------
        x : (N, C, H, W)
            At the graph's own C, H, W.
        keep : sequence of str
            Node names, or patterns such as `backbone.*`, whose values are wanted beside the outputs.

        Returns
        -------
        dict of str to (N, C, H, W) arrays
            By node name: the outputs and whatever `keep` named.

        Raises
        ------
        ValueError
            If the input has another shape, or a pattern names no node.
        """
        kept = set(matching_names(self.graph, keep)) | set(self.graph.outputs)
        return {name: value for name, value in self.steps(x) if name in kept}

    def steps(self, x: Array) -> Iterator[tuple[str, Array]]:
        """Yield (node name, value) one after another; a value is forgotten after its last use in the graph."""
        values = {self.graph.input.name: contiguous(checked_input(self.graph, x, self.dtype))}
        last_use = {name: node.name for node in self.graph.nodes for name in node.inputs}
        for node in self.graph.nodes:
            values[node.name] = self.run_node(node, [values[name] for name in node.inputs])
            yield node.name, values[node.name]
            for name in {*node.inputs, node.name}:
                if last_use.get(name, node.name) == node.name:
                    values.pop(name, None)

    def run_node(self, node: Node, inputs: Sequence[Array]) -> Array:
        """Return the value of one node for given inputs."""
        parameters = {key: self.parameters[p.name] for key, p in node.parameters.items()}
        return OPS[node.op].run(*inputs, **parameters, **node.attributes)


def checked_parameters(graph: Graph, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """Return the graph's own parameters, or raise a ValueError that names one that is missing or mis-shaped."""
    for name, parameter in graph.parameters.items():
        found = parameters[name].shape if name in parameters else "nothing"
        if found != parameter.shape:
            raise ValueError(f"parameter {name}: expected {parameter.shape}, got {found}")
    return {name: parameters[name] for name in graph.parameters}


def checked_input(graph: Graph, x: Array, dtype: np.dtype[Any]) -> Array:
    """Return the input in this dtype, or raise a ValueError if it has another shape than the graph's."""
    x = np.asarray(x, dtype)
    if x.ndim != 4 or x.shape[1:] != graph.input.shape:
        raise ValueError(f"input: expected (N, {', '.join(map(str, graph.input.shape))}), got {x.shape}")
    return x


def matching_names(graph: Graph, patterns: Sequence[str]) -> list[str]:
    """Return the graph's node names that match any of the patterns (`*` and `?` as in file names).

    Raises
    ------
    ValueError
        If a pattern matches no node.
    """
    if isinstance(patterns, str):
        patterns = [patterns]
    names = [node.name for node in graph.nodes]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"keep: no node is named {pattern!r}; the summary lists all {len(names)} names")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
