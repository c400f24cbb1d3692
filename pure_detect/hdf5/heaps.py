"""Heaps: where the names of a group's members lie, and texts of any length."""

from __future__ import annotations

from struct import Struct

from pure_detect.hdf5.content import Content, DamagedError

LOCAL = Struct("<4xB3xQQQ")
COLLECTION = Struct("<4xB3xQ")
OBJECT = Struct("<HHIQ")


def local_heap(content: Content, address: int) -> Content:
    """Return the bytes that hold the names of a group's members (III.D)."""
    content.expect(b"HEAP", address, "a heap of names")
    _, size, _, start = content.read(LOCAL, address, "a heap of names")
    return content.part(start, size, "names")


class GlobalHeaps:
    """The file's collections of texts (III.E), each walked once, when it is first needed.

    A collection is a row of objects, each with its number and length. A length that leads nowhere, or back, is what
    HDF5's own library (1.14.6 and 2.0.0) follows for ever.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        self._collections: dict[int, dict[int, Content]] = {}

    def object(self, address: int, number: int) -> Content:
        """Return the bytes of an object."""
        if address not in self._collections:
            self._collections[address] = self._objects(address)
        if number not in self._collections[address]:
            raise DamagedError(f"expected object {number:,} of the global heap at byte {address:,}, found none")
        return self._collections[address][number]

    def _objects(self, start: int) -> dict[int, Content]:
        content, objects = self.content, dict[int, Content]()
        content.expect(b"GCOL", start, "a global heap")
        _, size = content.read(COLLECTION, start, "a global heap")
        content.part(start, size, "a global heap")
        at, end = start + COLLECTION.size, start + size
        while at + OBJECT.size <= end:
            number, _, _, length = content.read(OBJECT, at, "an object of a global heap")
            # Object 0 is the free space at the end, and its length counts its own head.
            step = length if number == 0 else OBJECT.size + -(-length // 8) * 8
            if step < OBJECT.size or at + step > end:
                raise DamagedError(f"expected an object of a global heap at byte {at:,}, found other bytes")
            if number:
                objects[number] = content.part(at + OBJECT.size, length, "an object of a global heap")
            at += step
        return objects
