"""TensorFlow's element types, shapes and constants, as its protobuf messages hold them.

    TensorShapeProto  2 dim (repeated): 1 size;  3 unknown_rank
    TensorProto       1 dtype, 2 tensor_shape, then either 4 tensor_content, the values as bytes, or a repeated field
                      of the type's own: 5 float_val, 6 double_val, 7 int_val, 10 int64_val, 11 bool_val, 13 half_val
                      (also bfloat16), 16 uint32_val, 17 uint64_val. Fewer values than elements: the last one fills
                      the rest; none at all: zeros.

Source: `tensorflow/core/framework/{types,tensor_shape,tensor}.proto` and `FromProtoField` in `tensor.cc`, TensorFlow
2.21.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import Array, checked_shape
from weights_convert.readers.protobuf import FIXED32, FIXED64, VARINT, fields, packed_varints, repeated
from weights_convert.readers.stored_arrays import ELEMENTS, as_array


class DataType(NamedTuple):
    """An element type, and the field of TensorProto that repeats its values, with their wire type."""

    element: str
    values_field: int
    wire: int = VARINT


DATA_TYPES = {
    1: DataType("float32", 5, FIXED32),
    2: DataType("float64", 6, FIXED64),
    3: DataType("int32", 7),
    4: DataType("uint8", 7),
    5: DataType("int16", 7),
    6: DataType("int8", 7),
    9: DataType("int64", 10),
    10: DataType("bool", 11),
    14: DataType("bfloat16", 13),
    17: DataType("uint16", 7),
    19: DataType("float16", 13),
    22: DataType("uint32", 16),
    23: DataType("uint64", 17),
}
WITHOUT_NUMBERS = {7: "string", 20: "resource", 21: "variant"}
REFUSED = {
    8: "complex64",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    15: "qint16",
    16: "quint16",
    18: "complex128",
}


class StoredTensor(NamedTuple):
    """A constant as its message holds it; `values` are the repeated field's bytes, one after another."""

    data_type: DataType
    shape: tuple[int, ...]
    content: memoryview
    values: bytes


def data_type(code: int) -> DataType | None:
    """Return the element type of a DataType code, None where there are no numbers (text, handles).

    Raises
    ------
    InputError
        If the type is another one.
    """
    if code not in DATA_TYPES and code not in WITHOUT_NUMBERS:
        known = f"type {REFUSED[code]}" if code in REFUSED else f"type code {code}"
        raise InputError(f"expected floats, integers or truth values, found {known}")
    return DATA_TYPES.get(code)


def tensor_shape(message: memoryview) -> tuple[int, ...]:
    """Return the shape that a TensorShapeProto says.

    Raises
    ------
    InputError
        If it is malformed, or of unknown rank.
    """
    dimensions = []
    for field in fields(message):
        if field.number == 2:
            sizes = [part.signed() for part in fields(field.message()) if part.number == 1]
            dimensions.append(sizes[-1] if sizes else 0)
        elif field.number == 3 and field.integer():
            raise InputError("expected a known shape, found one of unknown rank")
    return checked_shape(dimensions)


def stored_tensor(message: memoryview) -> StoredTensor | None:
    """Take a TensorProto apart without converting any value; None where it holds no numbers.

    Raises
    ------
    InputError
        If it is malformed or its type is not read.
    """
    parts = list(fields(message))
    kind = data_type(next((field.integer() for field in parts if field.number == 1), 0))
    if kind is None:
        return None
    shapes = [field.message() for field in parts if field.number == 2]
    contents = [field.message() for field in parts if field.number == 4]
    return StoredTensor(
        kind,
        tensor_shape(shapes[-1]) if shapes else (),
        contents[-1] if contents else memoryview(b""),
        repeated(parts, kind.values_field, kind.wire),
    )


def tensor_values(name: str, stored: StoredTensor) -> Array:
    """Return a constant's values, filled up by TensorFlow's rule; `name` is for messages.

    Raises
    ------
    InputError
        If there are too many values, or bytes of another number than the shape takes.
    """
    element, count = stored.data_type.element, math.prod(stored.shape)
    if len(stored.content):
        return as_array(name, stored.content, element, stored.shape)
    given = _given_values(stored)
    if given.size > count:
        raise InputError(f"expected at most {count:,} values for {element} {list(stored.shape)}, found {given.size:,}")
    filled = np.full(count, given[-1] if given.size else 0, ELEMENTS[element])
    filled[: given.size] = given
    return as_array(name, filled.tobytes(), element, stored.shape)


def _given_values(stored: StoredTensor) -> Array:
    """Return the values of the repeated field, shape (n,), as they are stored: bfloat16 and float16 as bits."""
    element = ELEMENTS[stored.data_type.element]
    if stored.data_type.wire == VARINT:
        numbers = packed_varints(stored.values)
        return (
            numbers.astype(np.uint16).view(element)
            if stored.data_type.element == "float16"
            else numbers.astype(element)
        )
    if len(stored.values) % element.itemsize:
        raise InputError(
            f"expected whole {stored.data_type.element} values, found {len(stored.values):,} bytes of them"
        )
    return np.frombuffer(stored.values, element)
