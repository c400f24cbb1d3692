"""The records of a zip archive, those that are stored without compression, as PyTorch writes tensors.

    records              local header (30 bytes), name, extra field, data; one after another
    central directory    for each record 46 bytes, name, extra field, comment
    zip64's end record   56 bytes, and a locator of 20 that points to it: optional, PyTorch's writer always adds them
    end record           22 bytes, comment

Python's `zipfile` would unpack compressed records of any size, read a directory of any length, and raise whatever
exception the damage leads to. Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Any, NamedTuple

from pure_detect.errors import InputError
from weights_convert.readers.content import shown
from weights_convert.readers.named_tensors import MAX_TENSORS

LOCAL_MAGIC = b"PK\x03\x04"
LOCAL = Struct("<4s5H3I2H")  # ..., bytes of name, bytes of extra field
ENTRY = Struct("<4s6H3I5H2I")
END = Struct("<4s4H2IH")
ZIP64_LOCATOR = Struct("<4sIQI")
ZIP64_END = Struct("<4sQ2H2I4Q")

MAX_COMMENT = 0xFFFF
MAX_RECORDS = 2 * MAX_TENSORS
IN_EXTRA_FIELD = 0xFFFFFFFF  # stands where a number needs zip64's 8 bytes
ZIP64_EXTRA = 1
ENCRYPTED = 1
STORED = 0


class Record(NamedTuple):
    """One record: its bytes as they lie in the archive, and what the directory says of them."""

    name: str
    data: memoryview
    crc: int
    method: int
    flags: int

    def stored(self) -> memoryview:
        """Return the bytes, once their CRC-32 agrees.

        A CRC of 0 says nothing: `torch.serialization.set_crc32_options(False)` writes it.

        Raises
        ------
        InputError
            If the bytes are damaged, compressed or encrypted.
        """
        if self.method != STORED or self.flags & ENCRYPTED:
            found = "it encrypted" if self.flags & ENCRYPTED else f"compression method {self.method}"
            raise InputError(f"expected record {shown(self.name)} stored as it is, found {found}")
        if self.crc and zlib.crc32(self.data) != self.crc:
            raise InputError(
                f"expected record {shown(self.name)} with CRC {self.crc:08x}, found {zlib.crc32(self.data):08x}"
            )
        return self.data


def read_records(content: memoryview) -> dict[str, Record]:
    """Return an archive's records by name; nothing is copied.

    Raises
    ------
    InputError
        If the archive is damaged or has a record twice.
    """
    count, size, start = _directory(content)
    if count > MAX_RECORDS:
        raise InputError(f"expected at most {MAX_RECORDS:,} records in the archive, found {count:,}")
    records: dict[str, Record] = {}
    at = start
    for _ in range(count):
        record, at = _record(content, at, start)
        if record.name in records:
            raise InputError(f"expected every record once, found {shown(record.name)} twice")
        records[record.name] = record
    if sum(len(record.data) for record in records.values()) > start:  # each would be read: time without end
        raise InputError(f"expected records of at most {start:,} bytes together, found more: they overlap")
    if at != start + size:
        raise InputError(f"expected the archive's directory to end at byte {start + size:,}, found {at:,}")
    return records


def first_name(head: bytes) -> str:
    """Return the name of the archive's first record, given the file's first bytes; empty if they are no archive's."""
    if len(head) < LOCAL.size or not head.startswith(LOCAL_MAGIC):
        return ""
    length = LOCAL.unpack_from(head)[-2]
    return head[LOCAL.size : LOCAL.size + length].decode("utf-8", "replace")


def _directory(content: memoryview) -> tuple[int, int, int]:
    """Return how many entries the central directory has, its size and where it begins."""
    searched = max(0, len(content) - END.size - MAX_COMMENT)
    end = bytes(content[searched:]).rfind(b"PK\x05\x06")
    if end < 0:
        raise InputError("expected a zip archive with a directory at its end, found none: a truncated download?")
    end += searched
    *_, count, size, start, _comment = _unpack(END, content, end, b"PK\x05\x06")
    locator = end - ZIP64_LOCATOR.size
    if locator >= 0 and content[locator : locator + 4] == b"PK\x06\x07":
        zip64 = _unpack(ZIP64_LOCATOR, content, locator, b"PK\x06\x07")[2]
        *_, count, size, start = _unpack(ZIP64_END, content, zip64, b"PK\x06\x06")
    return count, size, start


def _record(content: memoryview, at: int, directory: int) -> tuple[Record, int]:
    """Read the directory's entry at a byte; return its record and where the next entry begins."""
    _, _, _, flags, method, _, _, crc, *sizes, _, _, _, local = _unpack(ENTRY, content, at, b"PK\x01\x02")
    packed, unpacked, name_bytes, extra_bytes, comment_bytes = sizes
    at += ENTRY.size
    raw_name, extra = bytes(content[at : at + name_bytes]), content[at + name_bytes : at + name_bytes + extra_bytes]
    name = _text(raw_name)
    unpacked, packed, local = _zip64_numbers([unpacked, packed, local], extra)
    *_, name_again, extra_again = _unpack(LOCAL, content, local, LOCAL_MAGIC)
    start = local + LOCAL.size + name_again + extra_again
    if start + packed > directory or (method == STORED and packed != unpacked):
        raise InputError(f"expected the {unpacked:,} bytes of record {shown(name)} before the directory, found others")
    if bytes(content[local + LOCAL.size : local + LOCAL.size + name_again]) != raw_name:
        raise InputError(f"expected record {shown(name)} at byte {local:,}, found one of another name")
    record = Record(name, content[start : start + packed], crc, method, flags)
    return record, at + name_bytes + extra_bytes + comment_bytes


def _zip64_numbers(numbers: list[int], extra: memoryview) -> list[int]:
    """Return the numbers, those that did not fit into 4 bytes replaced by the extra field's, in the same order."""
    while len(extra) >= 4:
        kind, length = (int.from_bytes(extra[i : i + 2], "little") for i in (0, 2))
        if kind == ZIP64_EXTRA:
            wide = [int.from_bytes(extra[i : i + 8], "little") for i in range(4, 4 + length - 7, 8)]
            return [wide.pop(0) if number == IN_EXTRA_FIELD and wide else number for number in numbers]
        extra = extra[4 + length :]
    return numbers


def _unpack(layout: Struct, content: memoryview, at: int, magic: bytes) -> tuple[Any, ...]:
    if at + layout.size > len(content) or content[at : at + 4] != magic:
        raise InputError(f"expected a zip archive's {magic!r} at byte {at:,}, found other bytes: a damaged file")
    return layout.unpack_from(content, at)


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"expected record names in UTF-8, found {name[:80]!r}") from None
