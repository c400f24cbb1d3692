"""FlatBuffers' binary format, as far as reading needs it: tables of numbers, text, vectors and other tables.

    file    uint32 offset of the root table, then perhaps 4 bytes of identifier
    table   int32, how far before it its vtable stands; then its fields in any order
    vtable  uint16 its own bytes, uint16 the table's, then for each field a uint16 offset in the table, 0 where absent
    others  a field holds a uint32 offset, counted from itself, to a table or to a vector: uint32 count, then elements

Everything is little-endian, an absent number has the schema's default. Every access is checked against the file, and
since a file can refer to the same bytes again and again, what is read of it in all is limited, too.

Source: google/flatbuffers `docs/source/internals.md`.
"""

from __future__ import annotations

import struct

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import Array

MAX_READ = 16  # times the file's length
ALWAYS_ALLOWED_BYTES = 1 << 20
TABLE_BYTES = 256  # what a table counts for: about what one takes in memory
OFFSET = struct.Struct("<I")
TO_VTABLE = struct.Struct("<i")
VTABLE_FIELD = struct.Struct("<H")


class File:
    """A file's bytes, and how many more may be read of them."""

    def __init__(self, content: memoryview) -> None:
        self.content = content
        self.allowance = MAX_READ * len(content) + ALWAYS_ALLOWED_BYTES

    def number(self, layout: struct.Struct, at: int) -> int:
        """Return the number at an offset."""
        self.check(at, layout.size)
        return int(layout.unpack_from(self.content, at)[0])

    def charge(self, size: int) -> None:
        """Count bytes as read."""
        self.allowance -= size
        if self.allowance < 0:
            raise InputError(f"expected parts that together are at most {MAX_READ} times the file, found more")

    def check(self, at: int, size: int) -> None:
        """Refuse what reaches beyond the file."""
        if at < 0 or size < 0 or at + size > len(self.content):
            found = f"found bytes {at:,} to {at + size:,}"
            raise InputError(f"expected parts within its {len(self.content):,} bytes, {found}: a damaged file")

    def root(self) -> Table:
        """Return the root table."""
        return Table(self, self.number(OFFSET, 0))


class Table:
    """A table; fields are named by their number in the schema."""

    def __init__(self, file: File, at: int) -> None:
        file.charge(TABLE_BYTES)
        self.file, self.at = file, at
        self.vtable = at - file.number(TO_VTABLE, at)
        self.vtable_size = file.number(VTABLE_FIELD, self.vtable)

    def integer(self, field: int, layout: str, default: int = 0) -> int:
        """Return a number; `layout` is a letter of `struct`."""
        at = self._field(field)
        return self.file.number(struct.Struct(f"<{layout}"), at) if at else default

    def array(self, field: int, element: str) -> Array | None:
        """Return a view of a vector of numbers, of type `element` as NumPy says it; None if it is absent."""
        dtype = np.dtype(element)
        place = self._vector(field, dtype.itemsize)
        if place is None:
            return None
        start, count = place
        return np.frombuffer(self.file.content[start : start + count * dtype.itemsize], dtype)

    def integers(self, field: int) -> tuple[int, ...]:
        """Return a vector of int32, empty if it is absent."""
        values = self.array(field, "<i4")
        return () if values is None else tuple(values.tolist())

    def text(self, field: int) -> str:
        """Return a string, empty if it is absent."""
        octets = self.array(field, "u1")
        try:
            return "" if octets is None else str(octets.tobytes(), "utf-8")
        except UnicodeDecodeError:
            raise InputError("expected text in UTF-8, found other bytes") from None

    def table(self, field: int) -> Table | None:
        """Return a table within this one, None if it is absent."""
        at = self._field(field)
        return Table(self.file, at + self.file.number(OFFSET, at)) if at else None

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables, empty if it is absent."""
        start, count = self._vector(field, OFFSET.size) or (0, 0)
        places = range(start, start + count * OFFSET.size, OFFSET.size)
        return [Table(self.file, at + self.file.number(OFFSET, at)) for at in places]

    def _field(self, field: int) -> int:
        """Return where a field stands, 0 if it is absent."""
        entry = 4 + 2 * field
        if entry + 2 > self.vtable_size:
            return 0
        offset = self.file.number(VTABLE_FIELD, self.vtable + entry)
        return self.at + offset if offset else 0

    def _vector(self, field: int, element_bytes: int) -> tuple[int, int] | None:
        """Return a vector's first byte and its count, None if it is absent."""
        at = self._field(field)
        if not at:
            return None
        start = at + self.file.number(OFFSET, at)
        count = self.file.number(OFFSET, start)
        self.file.check(start + OFFSET.size, count * element_bytes)
        self.file.charge(count * element_bytes)
        return start + OFFSET.size, count
