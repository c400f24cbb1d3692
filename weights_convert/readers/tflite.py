"""TFLite's `.tflite`: a flatbuffer of tensors and of operators in the order in which they run.

The converter folds batch norm into the weights, may quantise them, and joins the names of the layers that it fused, so
a network's parameters are found by the order of its operators rather than by name. Weights are stored as (out, H, W,
in) for CONV_2D, (1, H, W, in * multiplier) for DEPTHWISE_CONV_2D, (out, in) for FULLY_CONNECTED.

Source: `tensorflow/compiler/mlir/lite/schema/schema.fbs` (version 3), TensorFlow 2.21.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers import tflite_schema as schema
from weights_convert.readers.content import Array, located, shown
from weights_convert.readers.flatbuffer import File, Table
from weights_convert.readers.named_tensors import map_file
from weights_convert.readers.tflite_tensors import Tensor, read_tensors

EXPECTED = "a TFLite model"
SCHEMA_VERSION = 3
CONVOLUTIONS: dict[str, tuple[int, type[schema.Conv2D] | type[schema.DepthwiseConv2D]]] = {
    "CONV_2D": (1, schema.Conv2D),
    "DEPTHWISE_CONV_2D": (2, schema.DepthwiseConv2D),
}


class Convolution(NamedTuple):
    """The options of CONV_2D (depth multiplier 0) and DEPTHWISE_CONV_2D; pairs are (height, width)."""

    padding: str
    strides: tuple[int, int]
    dilations: tuple[int, int]
    activation: str
    depth_multiplier: int


class Operator(NamedTuple):
    """A step: its name, the indices of the tensors that it reads (-1: none) and writes, and a convolution's options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Convolution | None


class TfliteModel(NamedTuple):
    """Tensors by index, operators in order, indices of the network's inputs and outputs, the file's SHA-256."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sha256: str

    def constants(self) -> dict[str, Array]:
        """Return the constants that operators read, by name, in the order of their first use.

        Raises
        ------
        InputError
            If two of them have the same name.
        """
        read = dict.fromkeys(i for operator in self.operators for i in operator.inputs if i >= 0)
        named: dict[str, Array] = {}
        for tensor in (self.tensors[i] for i in read):
            if tensor.values is not None and named.setdefault(tensor.name, tensor.values) is not tensor.values:
                raise InputError(f"expected constants of different names, found {shown(tensor.name)} twice")
        return named


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a file's first 8 bytes or more are TFLite's."""
    return head[4:8] == schema.IDENTIFIER


def read(path: str | Path) -> TfliteModel:
    """Read a model of one subgraph.

    Constants are dequantised to float32, per tensor or per channel. A DEQUANTIZE of a constant, as in files of float16
    weights, is carried out and left out of the operators: its output is a constant.

    Returns
    -------
    TfliteModel
        Constants are writable and C-contiguous. NaN and infinity are returned as found.

    Raises
    ------
    InputError
        If the file is unreadable, truncated or damaged, has several subgraphs, sparse or external tensors, or a type
        that is not read.
    """
    with located(path):
        content = map_file(path, EXPECTED)
        if content[4:8] != schema.IDENTIFIER:
            raise InputError(f"expected {EXPECTED}, found no {schema.IDENTIFIER.decode()} at byte 4")
        file = File(content)
        model = file.root()
        version, subgraphs = model.integer(schema.Model.VERSION, "I"), model.tables(schema.Model.SUBGRAPHS)
        if version != SCHEMA_VERSION or len(subgraphs) != 1:
            raise InputError(f"expected one subgraph of version 3, found {len(subgraphs)} of version {version}")
        (graph,) = subgraphs
        tensors = read_tensors(file, graph, model)
        operators = _operators(graph, model, len(tensors))
        inputs, outputs = graph.integers(schema.SubGraph.INPUTS), graph.integers(schema.SubGraph.OUTPUTS)
        _check_indices(inputs + outputs, 0, len(tensors))
        return TfliteModel(*_dequantised(tensors, operators), inputs, outputs, hashlib.sha256(content).hexdigest())


def _operators(graph: Table, model: Table, tensors: int) -> list[Operator]:
    names = [_operator_name(table) for table in model.tables(schema.Model.OPERATOR_CODES)]
    operators = []
    for place, table in enumerate(graph.tables(schema.SubGraph.OPERATORS)):
        code = table.integer(schema.Operator.CODE_INDEX, "I")
        with located(f"operator {place}"):
            if code >= len(names):
                raise InputError(f"expected an operator code from 0 to {len(names) - 1}, found {code:,}")
            inputs, outputs = table.integers(schema.Operator.INPUTS), table.integers(schema.Operator.OUTPUTS)
            _check_indices(inputs, -1, tensors)
            _check_indices(outputs, 0, tensors)
            operators.append(Operator(names[code], inputs, outputs, _convolution(names[code], table)))
    return operators


def _operator_name(table: Table) -> str:
    code = max(table.integer(schema.OperatorCode.OLD_CODE, "b"), table.integer(schema.OperatorCode.CODE, "i"))
    if code == schema.CUSTOM:
        return table.text(schema.OperatorCode.CUSTOM_NAME)
    return schema.OPERATORS.get(code, f"BUILTIN_{code}")


def _check_indices(indices: tuple[int, ...], lowest: int, tensors: int) -> None:
    for index in indices:
        if not lowest <= index < tensors:
            raise InputError(f"expected a tensor from {lowest} to {tensors - 1}, found {index:,}")


def _convolution(name: str, table: Table) -> Convolution | None:
    """Return the options if the operator is one of the two convolutions."""
    if name not in CONVOLUTIONS:
        return None
    (kind, fields), options = CONVOLUTIONS[name], table.table(schema.Operator.OPTIONS)
    if options is None or table.integer(schema.Operator.OPTIONS_TYPE, "B") != kind:
        raise InputError(f"expected the options of {name}, found none or another's")
    padding, activation = (options.integer(field, "b") for field in (fields.PADDING, fields.ACTIVATION))
    strides = options.integer(fields.STRIDE_H, "i"), options.integer(fields.STRIDE_W, "i")
    dilations = options.integer(fields.DILATION_H, "i", 1), options.integer(fields.DILATION_W, "i", 1)
    multiplier = options.integer(schema.DepthwiseConv2D.DEPTH_MULTIPLIER, "i") if kind == 2 else 0
    if not (0 <= padding < len(schema.PADDINGS) and 0 <= activation < len(schema.ACTIVATIONS)):
        raise InputError(f"expected a known padding and activation, found codes {padding} and {activation}")
    if min(strides + dilations) < 1:
        raise InputError(f"expected strides and dilations from 1 up, found {strides} and {dilations}")
    return Convolution(schema.PADDINGS[padding], strides, dilations, schema.ACTIVATIONS[activation], multiplier)


def _dequantised(tensors: list[Tensor], operators: list[Operator]) -> tuple[tuple[Tensor, ...], tuple[Operator, ...]]:
    """Carry out each DEQUANTIZE of a constant: its output takes the constant's values, the operator goes."""
    kept = []
    for operator in operators:
        is_dequantize = operator.name == "DEQUANTIZE" and min(operator.inputs, default=-1) >= 0
        source = tensors[operator.inputs[0]].values if is_dequantize else None
        if source is None:
            kept.append(operator)
            continue
        for index in operator.outputs:
            tensors[index] = tensors[index]._replace(values=source.astype(np.float32, copy=False))
    return tuple(tensors), tuple(kept)
