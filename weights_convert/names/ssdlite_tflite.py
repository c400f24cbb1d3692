"""SSDLite from TensorFlow Lite, whose tensor names are lists of layers: convolutions are told by their order instead.

TensorFlow Lite runs each predictor as soon as its map is there. Batch norm is folded into the convolutions, so ours
gets statistics that change nothing, and the folded bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.graph import Graph, Node
from weights_convert.names.tflite_convolutions import CONVOLUTIONS, identity_norm, weight_and_bias
from weights_convert.readers.tflite import TfliteModel

Array = NDArray[Any]


def running_order(graph: Graph) -> list[Node]:
    """Return the graph's convolutions in the order in which TensorFlow Lite runs them.

    A map's predictors (boxes, then classes) come right behind the convolution that makes the map: the expansion of the
    last stage's first bottleneck, the last 1x1 convolution, and the end of each extra layer.
    """
    convolutions = [node for node in graph.nodes if node.op == "conv2d"]
    body = [node for node in convolutions if not node.name.startswith("heads.")]
    expansions = [node for node in body if node.name.endswith(".expand.conv") and node.name.startswith("backbone.")]
    maps = [expansions[-3], *(n for n in body if n.name == "backbone.last.conv" or n.name.startswith("extras."))]
    maps = [node for node in maps if not node.name.startswith("extras.") or node.name.endswith(".expand.conv")]
    order: list[Node] = []
    for node in body:
        order.append(node)
        if node in maps:
            prefix = f"heads.{maps.index(node)}."
            order += [head for head in convolutions if head.name.startswith(prefix)]
    return order


def convert_tflite(path: object, graph: Graph, model: TfliteModel) -> dict[str, Array]:
    """Return a graph's parameters from a TensorFlow Lite file.

    Raises
    ------
    InputError
        If the file's convolutions are not the graph's, in number or shape.
    """
    operators = [operator for operator in model.operators if operator.name in CONVOLUTIONS]
    nodes = running_order(graph)
    if len(operators) != len(nodes):
        raise InputError(f"{path}: expected {len(nodes)} convolutions, found {len(operators)}")
    problems: list[str] = []
    parameters: dict[str, Array] = {}
    normed_by = {node.inputs[0]: node for node in graph.nodes if node.op == "batch_norm"}
    for node, operator in zip(nodes, operators):
        weight, bias = weight_and_bias(model, operator)
        expected = node.parameters["weight"].shape
        if weight is None or bias is None or weight.shape != expected or bias.shape != expected[:1]:
            found = "none" if weight is None else weight.shape
            problems.append(f"{node.name}: expected {expected} and a bias, found {found}")
            continue
        parameters[node.parameters["weight"].name] = weight
        if "bias" in node.parameters:
            parameters[node.parameters["bias"].name] = bias
        else:
            parameters.update(identity_norm(normed_by[node.name], bias, np.ones_like(bias)))
    if problems:
        raise InputError(f"{path}: {len(problems)} convolutions do not fit the network: {'; '.join(problems)}")
    return parameters
