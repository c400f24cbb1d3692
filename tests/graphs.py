"""Graphs compared by what they compute."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pure_detect.graph import Graph


def without_names(graph: Graph) -> list[Any]:
    """Return the graph with every name replaced by the node's position, so that two ways of naming compare."""
    position = {graph.input.name: -1, **{node.name: i for i, node in enumerate(graph.nodes)}}
    nodes = [
        (
            node.op,
            [position[name] for name in node.inputs],
            {key: (parameter.shape, parameter.learnable) for key, parameter in node.parameters.items()},
            dict(node.attributes),
            node.shape,
            node.multiply_adds,
        )
        for node in graph.nodes
    ]
    heads = [{**asdict(head), "tensor": position[head.tensor]} for head in graph.heads]
    return [graph.input.shape, nodes, [position[name] for name in graph.outputs], heads]
