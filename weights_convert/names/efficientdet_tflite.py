"""EfficientDet-Lite from TensorFlow Lite, which orders its steps and names its tensors as it likes.

Convolutions are found by what they are connected to. Batch norm is folded into them, also where levels share a
convolution and not its batch norm: there each level has weights of its own, multiples of one another in every channel,
and ours gets the lowest level's weights, with the multiples as the other levels' scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.graph import Graph, Node
from weights_convert.names.structure import IMAGE, Step, same_places
from weights_convert.names.tflite_convolutions import CONVOLUTIONS, identity_norm, weight_and_bias
from weights_convert.readers.tflite import Operator, TfliteModel

Array = NDArray[Any]

OUR_KINDS = {"add": "add", "max_pool": "pool", "upsample_nearest": "resize"}
THEIR_KINDS = {"ADD": "add", "MAX_POOL_2D": "pool", "RESIZE_NEAREST_NEIGHBOR": "resize"}
# Of the largest weight: two roundings to 8 bits, of which each is half a step of 1/127 wrong.
ROUNDING = 1.1 / 127


def convert_efficientdet_tflite(path: object, graph: Graph, model: TfliteModel) -> dict[str, Array]:
    """Return a graph's parameters from a TensorFlow Lite file, float or quantised.

    Raises
    ------
    InputError
        If the file's convolutions are not the graph's; the message lists those that are not found.
    """
    found, missing = same_places(_our_steps(graph), _their_steps(model))
    nodes = [node for node in graph.nodes if node.op == "conv2d"]
    lost = [node.name for node in nodes if node.name in missing]
    if lost:
        raise InputError(f"{path}: expected the network's convolutions, found none in the place of {', '.join(lost)}")
    normed_by = {node.inputs[0]: node for node in graph.nodes if node.op == "batch_norm"}
    sharing: dict[str, list[Node]] = {}
    for node in nodes:
        sharing.setdefault(node.parameters["weight"].name, []).append(node)
    parameters: dict[str, Array] = {}
    for group in sharing.values():
        operators = [model.operators[found[node.name]] for node in group]
        tensors = [weight_and_bias(model, operator) for operator in operators]
        for node, (weight, bias) in zip(group, tensors):
            first = tensors[0][0]
            if weight is None or first is None or weight.shape != node.parameters["weight"].shape:
                raise InputError(f"{path}: {node.name}: expected constant weights, found none")
            scale = _multiples(path, node, weight, first)
            bias = np.zeros(len(weight), np.float32) if bias is None else bias
            parameters.update(_node_parameters(path, node, first, bias, scale, normed_by.get(node.name)))
    return parameters


def _our_steps(graph: Graph) -> dict[Any, Step]:
    """Return convolutions, sums, pools and resizings; the others neither join nor split anything."""
    made_by: dict[str, Any] = {graph.input.name: IMAGE}
    steps: dict[Any, Step] = {}
    for node in graph.nodes:
        kind = node.parameters["weight"].shape if node.op == "conv2d" else OUR_KINDS.get(node.op)
        made_by[node.name] = node.name if kind else made_by[node.inputs[0]]
        if kind:
            steps[node.name] = Step(kind, tuple(made_by[name] for name in node.inputs))
    return steps


def _their_steps(model: TfliteModel) -> dict[Any, Step]:
    made_by: dict[int, Any] = dict.fromkeys(model.inputs, IMAGE)
    steps: dict[Any, Step] = {}
    for i, operator in enumerate(model.operators):
        sources = [made_by[index] for index in operator.inputs if index in made_by]
        kind = _kind(model, operator, len(sources))
        if kind:
            steps[i] = Step(kind, tuple(sources))
        for index in operator.outputs if sources else ():
            made_by[index] = i if kind else sources[0]
    return steps


def _kind(model: TfliteModel, operator: Operator, sources: int) -> Any:
    if operator.name in CONVOLUTIONS:
        weight = weight_and_bias(model, operator)[0]
        return None if weight is None else weight.shape
    if operator.name == "ADD" and sources < 2:  # of a constant
        return None
    return THEIR_KINDS.get(operator.name) if sources else None


def _multiples(path: object, node: Node, weight: Array, first: Array) -> Array:
    """Return by how much each channel's weights are those of the first level."""
    mine, other = weight.reshape(len(weight), -1), first.reshape(len(first), -1)
    power = (other * other).sum(axis=1)
    scale = (mine * other).sum(axis=1) / np.where(power > 0, power, 1)
    wrong = np.abs(mine - scale[:, None] * other).max(axis=1)
    if (wrong > ROUNDING * np.abs(mine).max(axis=1) + 1e-12).any():
        raise InputError(f"{path}: {node.name}: expected multiples of the weights of the lowest level, found others")
    return scale.astype(np.float32)


def _node_parameters(
    path: object, node: Node, weight: Array, bias: Array, scale: Array, norm: Node | None
) -> dict[str, Array]:
    parameters = {node.parameters["weight"].name: weight}
    own = node.parameters.get("bias")
    if norm is not None:
        if own is not None:
            parameters[own.name] = np.zeros(own.shape, np.float32)
        return parameters | identity_norm(norm, bias, scale)
    if own is not None:
        parameters[own.name] = bias
    elif bias.any():
        raise InputError(f"{path}: {node.name}: expected no bias, found one")
    return parameters
