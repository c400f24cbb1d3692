"""Protocol buffers' wire format: a message is a row of fields, each a number, a wire type and a value.

    tag      varint: field number * 8 + wire type
    type 0   varint: 7 bits a byte, lowest first, the top bit set on all but the last, 10 bytes at most
    type 1   8 bytes, little-endian (fixed64, double)
    type 2   varint length, then that many bytes (string, bytes, message, packed numbers)
    type 5   4 bytes, little-endian (fixed32, float)

Types 3 and 4 (groups) are of protocol 1 and refused. Nothing here descends into a message by itself: a reader asks for
the fields of a field that its schema says is a message, so a file cannot make it go deeper than the schema. A field is
a view of the file's bytes, never a copy.

Source: "Encoding", protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZE = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field: for a varint `data` holds its encoded bytes, so that packed and single numbers concatenate."""

    number: int
    wire: int
    data: memoryview
    value: int

    def integer(self) -> int:
        """Return the field as a non-negative integer."""
        self._expect(VARINT, "a varint")
        return self.value

    def signed(self) -> int:
        """Return the field as an int32 or int64, which are stored in two's complement of 64 bits."""
        value = self.integer()
        return value - 2**64 if value >= 2**63 else value

    def message(self) -> memoryview:
        """Return the bytes of a message, string or packed row of numbers."""
        self._expect(BYTES, "a message or string")
        return self.data

    def text(self) -> str:
        """Return the field as text."""
        try:
            return str(self.message(), "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"expected UTF-8 text in field {self.number}, found other bytes") from None

    def _expect(self, wire: int, kind: str) -> None:
        if self.wire != wire:
            raise InputError(f"expected {kind} in field {self.number}, found wire type {self.wire}")


def varint(data: memoryview, offset: int) -> tuple[int, int]:
    """Return the varint at an offset and the offset after it.

    Raises
    ------
    InputError
        If the bytes end within it, or it has more than 64 bits.
    """
    value = 0
    for i, byte in enumerate(data[offset : offset + 10]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            if value >= 2**64:
                break
            return value, offset + i + 1
    left = len(data) - offset
    raise InputError(f"expected a varint of 64 bits, found {'a longer one' if left >= 10 else 'the end of the data'}")


def fields(message: bytes | memoryview) -> Iterator[Field]:
    """Yield the fields of a message in the order of the file.

    Raises
    ------
    InputError
        If the bytes are no message.
    """
    data, offset = memoryview(message), 0
    while offset < len(data):
        tag, start = varint(data, offset)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number < 2**29:
            raise InputError(f"expected a field number from 1 to 536,870,911, found {number:,}")
        value = 0
        if wire == VARINT:
            value, end = varint(data, start)
        elif wire == BYTES:
            length, start = varint(data, start)
            end = start + length
        elif wire in FIXED_SIZE:
            end = start + FIXED_SIZE[wire]
        else:
            raise InputError(f"expected wire type 0, 1, 2 or 5 in field {number}, found {wire}")
        if end > len(data):
            raise InputError(f"expected {end - start:,} bytes in field {number}, found the {len(data) - start:,} left")
        yield Field(number, wire, data[start:end], value)
        offset = end


def repeated(parts: list[Field], number: int, wire: int) -> bytes:
    """Return the bytes of a repeated number, whether the file has it packed, one by one, or both.

    Raises
    ------
    InputError
        If a field of that number is of another wire type than packed or `wire`.
    """
    found = [field for field in parts if field.number == number]
    for field in found:
        if field.wire not in (BYTES, wire):
            raise InputError(f"expected numbers in field {number}, found wire type {field.wire}")
    return b"".join(field.data for field in found)


def packed_varints(data: bytes) -> NDArray[Any]:
    """Return a row of varints as uint64 of shape (n,).

    Raises
    ------
    InputError
        If the bytes end within one, or one has more than 10 bytes.
    """
    octets = np.frombuffer(data, np.uint8)
    last = np.flatnonzero(octets < 128)
    if octets.size and (not last.size or last[-1] != octets.size - 1):
        raise InputError("expected whole varints, found the end of the data in one")
    first = np.concatenate([[0], last[:-1] + 1])[: last.size]
    lengths = last - first + 1
    if lengths.max(initial=0) > 10:
        raise InputError("expected varints of at most 10 bytes, found a longer one")
    values = np.zeros(last.size, np.uint64)
    for i in range(int(lengths.max(initial=0))):
        longer = lengths > i
        values[longer] |= (octets[first[longer] + i].astype(np.uint64) & np.uint64(127)) << np.uint64(7 * i)
    return values
