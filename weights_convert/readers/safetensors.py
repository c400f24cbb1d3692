"""safetensors: a header in JSON that says where each tensor lies, then the tensors, packed.

    offset 0      uint64, the header's length n (little-endian, as everything)
    offset 8      n bytes of JSON, an object: name -> {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]},
                  and "__metadata__" -> text by name; spaces may follow
    offset 8 + n  the values, row-major; offsets count from here, leave no gap, do not overlap, and end with the file

Source: huggingface/safetensors 0.8, README "Format" and `safetensors/src/tensor.rs` (`read_metadata`, `validate`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import MAX_RANK, Array, located, shown
from weights_convert.readers.named_tensors import check_growth, check_name, converted, map_file, widened_bfloat16

EXPECTED = "a safetensors file"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20  # the format allows 100 MB; a tensor takes about 100 bytes
METADATA = "__metadata__"

BFLOAT16, BOOL = "BF16", "BOOL"
ELEMENT_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    BFLOAT16: "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    BOOL: "u1",
}


class Entry(NamedTuple):
    """What the header says of one tensor: its type, shape, and first and last byte + 1 after the header."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a file's content is safetensors', from its first 9 bytes or more; the name does not matter."""
    return head[LENGTH_BYTES:].startswith(b"{") and _header_length(head) <= MAX_HEADER_BYTES


def read(path: str | Path) -> dict[str, Array]:
    """Read every tensor.

    Returns
    -------
    dict of str to ndarray
        In the header's order. Floating types as float32, bool and integers as they are; each array its own, writable
        and C-contiguous. NaN and infinity are returned as found.

    Raises
    ------
    InputError
        If the file is unreadable, truncated or damaged, or holds a type that is none of `ELEMENT_TYPES`.
    """
    with located(path):
        content = map_file(path, EXPECTED)
        start, entries = _header(content)
        _check_layout(entries, len(content) - start)
        total = sum(max(1, math.prod(max(1, n) for n in entry.shape)) * 8 for entry in entries.values())
        check_growth(len(entries), total, len(content))
        return {name: _array(name, entry, content[start:]) for name, entry in entries.items()}


def _header_length(head: bytes | memoryview) -> int:
    return int.from_bytes(head[:LENGTH_BYTES], "little")


def _header(content: memoryview) -> tuple[int, dict[str, Entry]]:
    """Return where the values begin, and the entries by name."""
    length = _header_length(content)
    start = LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES or start > len(content):
        raise InputError(f"expected {EXPECTED}, found a header of {length:,} bytes in a file of {len(content):,}")
    try:
        header = json.loads(bytes(content[LENGTH_BYTES:start]), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, InputError) else "found other text"
        raise InputError(f"expected a header in JSON, {reason}") from None
    if not isinstance(header, dict):
        raise InputError(f"expected a JSON object as header, found a {type(header).__name__}")
    return start, {name: _entry(name, value) for name, value in header.items() if name != METADATA}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise InputError("found a name twice")
    return items


def _entry(name: str, value: Any) -> Entry:
    check_name(name)
    match value:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)], **rest} if not rest:
            pass
        case _:
            raise InputError(f"expected dtype, shape and data_offsets of {shown(name)}, found others")
    if kind not in ELEMENT_TYPES:
        raise InputError(f"expected {shown(name)} of a type of {', '.join(ELEMENT_TYPES)}, found {shown(kind)}")
    if len(shape) > MAX_RANK or any(type(n) is not int or not 0 <= n < 1 << 48 for n in (*shape, begin, end)):
        raise InputError(f"expected at most {MAX_RANK} axes and natural numbers for {shown(name)}, found others")
    size = math.prod(shape) * np.dtype(ELEMENT_TYPES[kind]).itemsize
    if end - begin != size:
        raise InputError(
            f"expected {size:,} bytes for {shown(name)} {tuple(shape)} {kind}, found offsets {begin:,} to {end:,}"
        )
    return Entry(kind, tuple(shape), begin, end)


def _check_layout(entries: dict[str, Entry], available: int) -> None:
    """Refuse gaps, overlaps, and values that end before or after the file."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            kind = "a gap" if entry.begin > at else "an overlap"
            raise InputError(
                f"expected {shown(name)} to begin at byte {at:,} of the values, found {entry.begin:,}, {kind}"
            )
        at = entry.end
    if at != available:
        raise InputError(f"expected {at:,} bytes of values, found {available:,}: a truncated or damaged file")


def _array(name: str, entry: Entry, values: memoryview) -> Array:
    flat = np.frombuffer(values[entry.begin : entry.end], ELEMENT_TYPES[entry.kind])
    array = flat.reshape(entry.shape)
    if entry.kind == BFLOAT16:
        return widened_bfloat16(array)
    return converted(name, array != 0 if entry.kind == BOOL else array)
