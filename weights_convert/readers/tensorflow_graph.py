"""TensorFlow's frozen graph (`.pb`): a GraphDef whose weights are Const nodes.

    GraphDef   1 node (repeated), 2 library, 3 version, 4 versions, 5 debug_info
    NodeDef    1 name, 2 op, 3 input (repeated), 4 device, 5 attr (repeated: 1 key, 2 value), 6 and 7 for debugging
    AttrValue  8 tensor, and other kinds that are not needed here

Source: `tensorflow/core/framework/{graph,node_def,attr_value}.proto`, TensorFlow 2.21.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from pure_detect.errors import InputError
from weights_convert.readers.content import Array, located, shown
from weights_convert.readers.named_tensors import check_growth, check_name, map_file
from weights_convert.readers.protobuf import fields, varint
from weights_convert.readers.tensorflow_tensor import StoredTensor, stored_tensor, tensor_values

EXPECTED = "a TensorFlow frozen graph"
GRAPH_FIELDS = range(1, 6)
VARIABLE_OPS = {"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"}


class GraphNode(NamedTuple):
    """A node: its operation and what it reads (`name`, `name:output`, or `^name` for order alone)."""

    name: str
    op: str
    inputs: tuple[str, ...]


class FrozenGraph(NamedTuple):
    """The Const nodes' values and every node, both by name in the file's order, and the SHA-256 of the file."""

    constants: dict[str, Array]
    nodes: dict[str, GraphNode]
    sha256: str

    def constant(self, name: str) -> Array | None:
        """Return the constant that an input names, through Identity nodes; None if it is computed or has no numbers."""
        for _ in range(len(self.nodes)):  # a cycle of Identity nodes ends here
            node = self.nodes.get(name.split(":")[0])
            if node is None or node.op != "Identity" or not node.inputs:
                break
            name = node.inputs[0]
        return self.constants.get(name.split(":")[0])


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a file begins as a GraphDef: with a node that has a name and an operation."""
    if head[:1] != b"\n":
        return False
    with open(path, "rb") as file:
        start = memoryview(file.read(4096))
    try:
        _, at = varint(start, 1)
        texts = []
        for tag in (b"\n", b"\x12"):
            length, text_at = varint(start, at + 1)
            if start[at : at + 1] != tag:
                return False
            texts.append(str(start[text_at : text_at + length], "ascii"))
            at = text_at + length
    except (InputError, UnicodeDecodeError):
        return False
    return texts[0].isprintable() and texts[1].isidentifier()


def read(path: str | Path) -> FrozenGraph:
    """Read a frozen graph.

    Returns
    -------
    FrozenGraph
        Constants as float32 if they are floats of any width, else as stored; each its own array, writable and
        C-contiguous. Constants of text have none. NaN and infinity are returned as found: graphs hold such constants.

    Raises
    ------
    InputError
        If the file is unreadable, truncated or damaged, holds a type that is not read, or variables: then it is not
        frozen, and the weights lie in its checkpoint.
    """
    with located(path):
        content = map_file(path, EXPECTED)
        nodes, stored = _nodes(content)
        variables = [node.name for node in nodes.values() if node.op in VARIABLE_OPS]
        if variables:
            raise InputError(
                f"expected {EXPECTED}, found {len(variables):,} variables, such as {shown(variables[0])}: "
                f"their values lie in a checkpoint"
            )
        check_growth(len(stored), sum(8 * math.prod(tensor.shape) for tensor in stored.values()), len(content))
        constants = {}
        for name, tensor in stored.items():
            with located(f"node {shown(name)}"):
                constants[name] = tensor_values(name, tensor)
        return FrozenGraph(constants, nodes, hashlib.sha256(content).hexdigest())


def _nodes(content: memoryview) -> tuple[dict[str, GraphNode], dict[str, StoredTensor]]:
    nodes: dict[str, GraphNode] = {}
    stored: dict[str, StoredTensor] = {}
    for field in fields(content):
        if field.number not in GRAPH_FIELDS:
            raise InputError(f"expected {EXPECTED}, found field {field.number:,} among its nodes")
        if field.number != 1:
            continue
        node, tensor = _node(field.message())
        if node.name in nodes:
            raise InputError(f"expected every node once, found {shown(node.name)} twice")
        nodes[node.name] = node
        if tensor is not None:
            stored[node.name] = tensor
    if not nodes:
        raise InputError(f"expected {EXPECTED}, found no node")
    return nodes, stored


def _node(message: memoryview) -> tuple[GraphNode, StoredTensor | None]:
    """Return a node, and what it holds if it is a constant of numbers."""
    parts = list(fields(message))
    texts = {number: [field.text() for field in parts if field.number == number] for number in (1, 2, 3)}
    if not texts[1] or not texts[2]:
        raise InputError("expected a name and an operation in every node, found none")
    node = GraphNode(texts[1][-1], texts[2][-1], tuple(texts[3]))
    check_name(node.name)
    if node.op != "Const":
        return node, None
    with located(f"node {shown(node.name)}"):
        return node, _value([field.message() for field in parts if field.number == 5])


def _value(attributes: list[memoryview]) -> StoredTensor | None:
    """Return the attribute `value`, a tensor."""
    for attribute in attributes:
        entry = {field.number: field for field in fields(attribute)}
        if 1 in entry and 2 in entry and entry[1].text() == "value":
            for field in fields(entry[2].message()):
                if field.number == 8:
                    return stored_tensor(field.message())
    raise InputError("expected a constant with a value, found none")
