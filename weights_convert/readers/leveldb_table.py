"""LevelDB's table, a sorted file of keys and values: the form of a TensorFlow checkpoint's index.

    blocks   data blocks, then a meta block, then the index block; each followed by its type (0 plain, 1 Snappy) and
             the masked CRC-32C of block and type
    block    entries, then uint32 restart offsets, then how many those are
    entry    varints: bytes of the key shared with the one before, bytes not shared, bytes of the value; then both
    index    one entry a data block, whose value is the block's handle: varint offset, varint size
    footer   handles of the meta index and of the index, zeros up to 40 bytes, then 8 bytes of magic number

Source: `tensorflow/core/lib/io/{format,block,table}.cc`, TensorFlow 2.21; google/leveldb `doc/table_format.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pure_detect.errors import InputError
from weights_convert.readers.crc32c import masked_crc32c
from weights_convert.readers.protobuf import varint

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
FOOTER_BYTES = 48
TRAILER_BYTES = 5
MAX_KEY_BYTES = 1024  # a variable's name; bounds what shared prefixes can grow to
SNAPPY = 1


class Handle(NamedTuple):
    """Where a block lies."""

    offset: int
    size: int


def is_table(path: str | Path) -> bool:
    """Return whether a file ends with the magic number."""
    with open(path, "rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - len(MAGIC)))
        return length >= FOOTER_BYTES and file.read() == MAGIC


def entries(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield keys and values, in ascending order of the keys.

    Raises
    ------
    InputError
        If the table is truncated, damaged, or compressed.
    """
    if len(content) < FOOTER_BYTES or content[-len(MAGIC) :] != MAGIC:
        raise InputError("expected LevelDB's magic number at the end, found other bytes: a truncated file?")
    footer = content[-FOOTER_BYTES:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    previous: bytes | None = None
    read_to = 0
    for _, value in _block_entries(_block(content, index)):
        handle, _ = _handle(value, 0)
        if handle.offset < read_to:  # one block listed many times would multiply the file
            raise InputError(f"expected blocks one after another, found one at byte {handle.offset:,} again")
        read_to = handle.offset + handle.size
        for key, data in _block_entries(_block(content, handle)):
            if previous is not None and key <= previous:
                raise InputError("expected keys in ascending order, found others")
            previous = key
            yield key, data


def _handle(data: memoryview, at: int) -> tuple[Handle, int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return Handle(offset, size), at


def _block(content: memoryview, handle: Handle) -> memoryview:
    """Return a block, its checksum verified."""
    end = handle.offset + handle.size
    if end + TRAILER_BYTES > len(content) - FOOTER_BYTES:
        raise InputError(f"expected a block before the footer, found one that ends at byte {end:,}: a damaged file")
    kind = content[end]
    stored = int.from_bytes(content[end + 1 : end + TRAILER_BYTES], "little")
    found = masked_crc32c(content[handle.offset : end + 1])
    if found != stored:
        raise InputError(f"expected the block at byte {handle.offset:,} with CRC {stored:08x}, found {found:08x}")
    if kind:  # TensorFlow can read Snappy's blocks and has never written them
        raise InputError(f"expected plain blocks, found {'Snappy' if kind == SNAPPY else f'type {kind}'} compression")
    return content[handle.offset : end]


def _block_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise InputError(f"expected a block's restart offsets, found {len(block):,} bytes for {restarts:,} of them")
    key, at = b"", 0
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise InputError("expected keys and values within their block, found one that reaches beyond")
        if shared + fresh > MAX_KEY_BYTES:
            raise InputError(f"expected keys of at most {MAX_KEY_BYTES:,} bytes, found {shared + fresh:,}")
        key = key[:shared] + bytes(block[at : at + fresh])
        at += fresh + length
        yield key, block[at - length : at]
