"""TFLite files, byte by byte, without TensorFlow and without the code under test."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# A field's value: ("i", 5) a number and its letter of `struct`; text; an array; a table as a dict; a list of tables.
Fields = Mapping[int, Any]

ELEMENTS = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int8": 9, "float64": 10}


def flatbuffer(root: Fields, identifier: bytes = b"TFL3") -> bytes:
    """Encode a table and all that it refers to; a dict that stands in several places is written once."""
    octets = bytearray(struct.pack("<I", 0) + identifier)
    written: dict[int, int] = {}
    waiting: deque[tuple[int, Any]] = deque([(0, root)])
    while waiting:
        place, value = waiting.popleft()
        octets += bytes(-len(octets) % 4)
        if id(value) not in written:
            written[id(value)], references = _append(octets, value)
            waiting += references
        struct.pack_into("<I", octets, place, written[id(value)] - place)
    return bytes(octets)


def _append(octets: bytearray, value: Any) -> tuple[int, list[tuple[int, Any]]]:
    """Append a value; return where it begins, and which places of it refer to what."""
    if isinstance(value, Mapping):
        return _append_table(octets, value)
    start = len(octets)
    if isinstance(value, list):
        octets += struct.pack("<I", len(value)) + bytes(4 * len(value))
        return start, [(start + 4 + 4 * i, item) for i, item in enumerate(value)]
    if isinstance(value, str):
        octets += struct.pack("<I", len(value.encode())) + value.encode() + b"\0"
    else:
        octets += struct.pack("<I", value.size) + value.tobytes()
    return start, []


def _append_table(octets: bytearray, fields: Fields) -> tuple[int, list[tuple[int, Any]]]:
    slots = [0] * (max(fields, default=-1) + 1)
    body, references = b"", []
    for number, value in fields.items():
        slots[number] = 4 + len(body)
        if isinstance(value, tuple):
            body += struct.pack(f"<{value[0]}", value[1])
        else:
            references.append((4 + len(body), value))
            body += bytes(4)
    vtable = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), 4 + len(body), *slots)
    octets += vtable
    start = len(octets)
    octets += struct.pack("<i", len(vtable)) + body
    return start, [(start + at, value) for at, value in references]


@dataclass
class Tflite:
    """A model in the making."""

    tensors: list[dict[int, Any]] = field(default_factory=list)
    buffers: list[dict[int, Any]] = field(default_factory=lambda: [{}])
    codes: list[dict[int, Any]] = field(default_factory=list)
    operators: list[dict[int, Any]] = field(default_factory=list)
    version: int = 3

    def tensor(self, name: str, shape: Sequence[int], element: str = "float32", **quantization: Any) -> int:
        """Add a tensor without values; return its index."""
        fields = {0: np.array(shape, "<i4"), 1: ("b", ELEMENTS[element]), 2: ("I", 0), 3: name}
        if quantization:
            fields[4] = {
                2: np.array(quantization["scale"], "<f4"),
                3: np.array(quantization["zero_point"], "<i8"),
                6: ("i", quantization.get("dimension", 0)),
            }
        self.tensors.append(fields)
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray, **quantization: Any) -> int:
        """Add a tensor with values; return its index."""
        index = self.tensor(name, values.shape, values.dtype.name, **quantization)
        self.buffers.append({0: np.frombuffer(values.tobytes(), np.uint8)})
        self.tensors[index][2] = ("I", len(self.buffers) - 1)
        return index

    def operator(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: tuple[int, Fields] | None = None
    ) -> dict[int, Any]:
        """Add an operator; `options` are their type and their fields."""
        fields = {0: ("I", len(self.codes)), 1: np.array(inputs, "<i4"), 2: np.array(outputs, "<i4")}
        if options is not None:
            fields |= {3: ("B", options[0]), 4: options[1]}
        self.codes.append({0: ("b", min(code, 127)), 3: ("i", code)})
        self.operators.append(fields)
        return fields

    def encoded(self, inputs: Sequence[int] = (), outputs: Sequence[int] = ()) -> bytes:
        """Return the file."""
        graph = {
            0: self.tensors,
            1: np.array(inputs, "<i4"),
            2: np.array(outputs, "<i4"),
            3: self.operators,
        }
        return flatbuffer({0: ("I", self.version), 1: self.codes, 2: [graph], 3: "by hand", 4: self.buffers})
