"""A check that HDF5's library leaves out: whether a file's global heaps, where texts lie, can be walked to their end.

The library (1.14.6 at least) follows an object whose size leads it nowhere for ever. So every heap is walked here
before the library sees the file:

    collection    "GCOL", version 1, 3 bytes, uint64 its size with these 16 bytes; then objects
    object        uint16 its number, uint16, uint32, uint64 its size; then its bytes, filled up to a multiple of 8
    free space    an object of number 0, whose size counts its 16 bytes too; less than 16 bytes are left as they are

Source: HDF5 File Format Specification 3.0, III.E "Global Heap"; `H5HGcache.c` (`H5HG__cache_heap_deserialize`).
"""

from __future__ import annotations

import re
from struct import Struct

from pure_detect.errors import InputError

COLLECTION = Struct("<4sB3xQ")
COLLECTION_MAGIC = re.compile(rb"GCOL\x01\0\0\0")
OBJECT = Struct("<HHIQ")


def check_global_heaps(content: memoryview) -> None:
    """Refuse a file with a global heap that has no end.

    Parameters
    ----------
    content : memoryview
        The whole file.

    Raises
    ------
    InputError
        If there is one.
    """
    for found in COLLECTION_MAGIC.finditer(content):
        _check_collection(content, found.start())


def _check_collection(content: memoryview, start: int) -> None:
    at = start + COLLECTION.size
    end = start + COLLECTION.unpack_from(content, start)[-1] if at <= len(content) else at
    if end > len(content):
        raise InputError(f"expected a global heap of {end - start:,} bytes at byte {start:,}, found the file's end")
    while at + OBJECT.size <= end:
        number, _, _, length = OBJECT.unpack_from(content, at)
        step = length if number == 0 else OBJECT.size + -(-length // 8) * 8
        if step < OBJECT.size or at + step > end:
            raise InputError(f"expected an object of a global heap at byte {at:,}, found other bytes: a damaged file")
        at += step
