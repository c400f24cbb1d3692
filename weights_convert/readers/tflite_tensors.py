"""A TFLite model's tensors: what they are, and the constants among them, dequantised.

Source: `tensorflow/compiler/mlir/lite/schema/schema.fbs` (version 3) and `tensorflow/lite/kernels/dequantize.h`,
TensorFlow 2.21.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers import tflite_schema as schema
from weights_convert.readers.content import Array, checked_shape, located, shown
from weights_convert.readers.flatbuffer import File, Table
from weights_convert.readers.named_tensors import converted
from weights_convert.readers.stored_arrays import as_array


class Quantization(NamedTuple):
    """real = scale (stored - zero_point); of shape (1,), or (n,) along the axis `dimension` of size n."""

    scale: Array
    zero_point: Array
    dimension: int


class Tensor(NamedTuple):
    """A tensor; `values` are a constant's, dequantised (float32, or integers that have no scale), else None."""

    name: str
    shape: tuple[int, ...]
    element: str
    quantization: Quantization | None
    values: Array | None


def read_tensors(file: File, graph: Table, model: Table) -> list[Tensor]:
    """Return the tensors of a subgraph in the order of their indices.

    Raises
    ------
    InputError
        If one is damaged, or a constant is sparse, outside the flatbuffer, or of a type that is not read.
    """
    buffers = model.tables(schema.Model.BUFFERS)
    tensors = []
    for table in graph.tables(schema.SubGraph.TENSORS):
        name = table.text(schema.Tensor.NAME)
        with located(f"tensor {shown(name)}"):
            tensors.append(_tensor(file, name, table, buffers))
    return tensors


def _tensor(file: File, name: str, table: Table, buffers: Sequence[Table]) -> Tensor:
    shape = checked_shape(table.integers(schema.Tensor.SHAPE))
    code = table.integer(schema.Tensor.TYPE, "b")
    element, quantization = schema.ELEMENTS.get(code), _quantization(table, shape)
    index = table.integer(schema.Tensor.BUFFER, "I")
    if index >= len(buffers):
        raise InputError(f"expected a buffer from 0 to {len(buffers) - 1}, found {index:,}")
    if table.integer(schema.Tensor.EXTERNAL_BUFFER, "I") or buffers[index].integer(schema.Buffer.OFFSET, "Q") > 1:
        raise InputError("expected values within the flatbuffer, found them elsewhere, as in files over 2 GB")
    data = buffers[index].array(schema.Buffer.DATA, "u1")
    if data is None or not data.size:
        return Tensor(name, shape, element or f"type {code}", quantization, None)
    if element is None or table.table(schema.Tensor.SPARSITY) is not None:
        found = f"type code {code}" if element is None else "a sparse one"
        raise InputError(f"expected a dense constant of a type that is read, found {found}")
    file.charge(8 * math.prod(shape))
    values = as_array(name, data.data, element, shape)
    if quantization is not None and values.dtype.kind in "iu":
        values = _real(name, values, quantization)
    return Tensor(name, shape, element, quantization, values)


def _quantization(table: Table, shape: tuple[int, ...]) -> Quantization | None:
    """Return how a tensor is quantised, None if it has no scale."""
    stored = table.table(schema.Tensor.QUANTIZATION)
    scale = None if stored is None else stored.array(schema.Quantization.SCALE, "<f4")
    if stored is None or scale is None or not scale.size:
        return None
    zero_point = stored.array(schema.Quantization.ZERO_POINT, "<i8")
    if zero_point is None or not zero_point.size:
        zero_point = np.zeros(scale.size, np.int64)
    dimension = stored.integer(schema.Quantization.DIMENSION, "i")
    slices = shape[dimension] if 0 <= dimension < len(shape) else 1
    if scale.size not in (1, slices) or zero_point.size != scale.size:
        found = f"{scale.size:,} scales and {zero_point.size:,} zero points for axis {dimension} of {list(shape)}"
        raise InputError(f"expected as many scales and zero points, 1 or one a slice, found {found}")
    if not np.isfinite(scale).all() or (scale < 0).any():
        raise InputError("expected finite scales from 0 up, found others")
    return Quantization(scale.astype(np.float32), zero_point.astype(np.int64), dimension)


def _real(name: str, stored: Array, quantization: Quantization) -> Array:
    """Return scale (stored - zero point) as float32, rounded once."""
    axes = [1] * stored.ndim
    if quantization.scale.size > 1:
        axes[quantization.dimension] = quantization.scale.size
    difference = stored.astype(np.float64) - quantization.zero_point.reshape(axes)
    return converted(name, quantization.scale.reshape(axes) * difference)
