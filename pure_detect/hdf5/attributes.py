"""Attributes: texts and numbers that belong to a group or dataset."""

from __future__ import annotations

import math
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.hdf5.content import UNDEFINED, Content, DamagedError, decoded
from pure_detect.hdf5.headers import SHARED, Message
from pure_detect.hdf5.heaps import GlobalHeaps
from pure_detect.hdf5.types import Type, read_shape, read_type

HEAD = Struct("<BBHHH")  # version, flags, bytes of name, type, shape
INDEX = Struct("<BB")
ADDRESS = Struct("<Q")
TEXT = Struct("<IQI")  # length, heap, number


class Attribute:
    """A value that belongs to a group or dataset.

    Attributes
    ----------
    shape : tuple of int, or None for an attribute that never has a value
    type : Type
    """

    def __init__(self, heaps: GlobalHeaps, kind: Type, shape: tuple[int, ...] | None, body: Content) -> None:
        self.type, self.shape, self._heaps, self._body = kind, shape, heaps, body

    @property
    def is_text(self) -> bool:
        """Whether the value is a text, or several."""
        return self.type.end is not None

    def texts(self) -> list[str]:
        """Return the texts in one list.

        Raises
        ------
        DamagedError
            If a text is not there, or all together are longer than the file.
        """
        found, total = [], 0
        for i in range(_count(self.shape)):
            stored = self._body.part(i * self.type.size, self.type.size, "a text")
            text = self._from_heap(stored) if self.type.any_length else _without(stored, self.type.end or b"\0")
            total += len(text)
            if total > len(self._heaps.content):
                raise DamagedError("expected texts shorter than the file, found longer ones")
            found.append(decoded(text))
        return found

    def numbers(self) -> NDArray[Any]:
        """Return the numbers."""
        if self.type.dtype is None or self.shape is None:
            raise InputError(f"expected numbers, found {self.type.name}")
        return numbers(self._body, self.type.dtype, self.shape)

    def _from_heap(self, stored: Content) -> bytes:
        length, heap, number = stored.read(TEXT, 0, "a text")
        if length == 0:
            return b""
        return bytes(self._heaps.object(heap, number).part(0, length, "a text").data).rstrip(b"\0")


def _without(stored: Content, end: bytes) -> bytes:
    text = bytes(stored.data)
    return text.partition(b"\0")[0] if end == b"\0" else text.rstrip(end)


def read_attribute(heaps: GlobalHeaps, message: Message) -> tuple[str, Attribute]:
    """Return an attribute (IV.A.2.m) and its name; up to version 1 its parts are filled up to multiples of 8."""
    if message.flags & SHARED:
        raise InputError("expected attributes with their object, found one that is shared")
    body = message.body
    version, flags, *sizes = body.read(HEAD, 0, "an attribute")
    if version not in (1, 2, 3):
        raise DamagedError(f"expected an attribute of version 1 to 3, found {version}")
    at, parts = HEAD.size + (1 if version == 3 else 0), []
    for size in sizes:
        parts.append(body.part(at, size, "an attribute"))
        at += -(-size // 8) * 8 if version == 1 else size
    name = parts[0].text(0, "an attribute's name")[0]
    if version > 1 and flags & 3:
        raise InputError(f"expected the type of attribute {name!r} with it, found it shared between objects")
    kind, shape = read_type(parts[1]), read_shape(parts[2])
    count = _count(shape)
    return name, Attribute(heaps, kind, shape, body.part(at, kind.size * count, f"attribute {name!r}"))


def refuse_index(body: Content) -> None:
    """Refuse attributes that HDF5 1.8's index holds, as an attribute info message says (IV.A.2.v)."""
    _, flags = body.read(INDEX, 0, "attributes")
    (heap,) = body.read(ADDRESS, INDEX.size + (2 if flags & 1 else 0), "attributes")
    if heap != UNDEFINED:
        raise InputError("expected attributes as h5py writes them by default, found an index of HDF5 1.8")


def numbers(stored: Content, dtype: np.dtype, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a copy of numbers as an array of a shape."""
    count = math.prod(shape)
    values = stored.part(0, count * dtype.itemsize, "values").data
    raw = np.dtype(np.uint8) if dtype.kind == "b" else dtype  # any bits but 0 are true
    return np.frombuffer(values, raw, count).reshape(shape).astype(dtype)


def _count(shape: tuple[int, ...] | None) -> int:
    return 0 if shape is None else math.prod(shape)
