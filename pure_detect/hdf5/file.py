"""Groups and datasets of a file."""

from __future__ import annotations

import math
import mmap
from functools import cached_property
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.hdf5 import headers
from pure_detect.hdf5.attributes import Attribute, numbers, read_attribute, refuse_index
from pure_detect.hdf5.content import UNDEFINED, Content, DamagedError
from pure_detect.hdf5.groups import Link, is_group, links
from pure_detect.hdf5.headers import Message, messages, root_address
from pure_detect.hdf5.heaps import GlobalHeaps
from pure_detect.hdf5.types import read_shape, read_type

MOST_MEMBERS = 65_536
LAYOUT = Struct("<BB")  # version, class
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)


def open_hdf5(path: str | Path) -> Group:
    """Return a file's root group.

    Raises
    ------
    InputError
        If the file is of a kind that weight files do not have.
    DamagedError
        If it is no HDF5 file, or shorter than it says.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:  # what mmap says to no bytes at all
            raise InputError("expected an HDF5 file, found an empty file") from None
    heaps = GlobalHeaps(Content(data))
    root = open_object(heaps, root_address(heaps.content), "/")
    if not isinstance(root, Group):
        raise DamagedError(f"expected a group as the root, found a {type(root).__name__}")
    return root


class Item:
    """What an object header stands for.

    Attributes
    ----------
    address : int
        In the file; the same for two names of one object.
    name : str
        The way to it from the root.
    """

    def __init__(self, heaps: GlobalHeaps, address: int, name: str, found: list[Message]) -> None:
        self.address, self.name = address, name
        self._heaps, self._messages = heaps, found

    @cached_property
    def attributes(self) -> dict[str, Attribute]:
        """The attributes, none of their values read yet."""
        found: dict[str, Attribute] = {}
        for message in self._messages:
            if message.kind == headers.ATTRIBUTE:
                name, attribute = read_attribute(self._heaps, message)
                found.setdefault(name, attribute)
            elif message.kind == headers.ATTRIBUTE_INFO:
                refuse_index(message.body)
        return found

    def _one(self, kind: int, what: str) -> Content:
        """Return the body of the only message of a kind."""
        message = self._any(kind)
        if message is None:
            raise DamagedError(f"expected {what} of {self.name!r}, found none")
        if message.flags & headers.SHARED:
            raise InputError(f"expected {what} of {self.name!r} with it, found it shared between objects")
        return message.body

    def _any(self, kind: int) -> Message | None:
        return next((message for message in self._messages if message.kind == kind), None)


class Group(Item):
    """Names, and what they lead to."""

    @cached_property
    def links(self) -> dict[str, Link]:
        """Where each name leads."""
        return links(self._heaps.content, self._messages, MOST_MEMBERS)

    def open(self, name: str) -> Item:
        """Return the object under a name whose link stays in this file."""
        return open_object(self._heaps, self.links[name].address, f"{self.name.rstrip('/')}/{name}")

    @property
    def file_size(self) -> int:
        """The bytes of the whole file."""
        return len(self._heaps.content)


class Dataset(Item):
    """An array.

    Attributes
    ----------
    shape : tuple of int, or None for an array that never has values
    type : Type
    """

    def __init__(self, heaps: GlobalHeaps, address: int, name: str, found: list[Message]) -> None:
        super().__init__(heaps, address, name, found)
        self.shape = read_shape(self._one(headers.DATASPACE, "the shape"))
        self.type = read_type(self._one(headers.DATATYPE, "the type"))

    @property
    def dtype(self) -> np.dtype | None:
        """The type of numbers, None for anything else."""
        return self.type.dtype

    @property
    def nbytes(self) -> int:
        """What the values take."""
        return 0 if self.shape is None else self.type.size * math.prod(self.shape)

    @property
    def filtered(self) -> bool:
        """Whether the values are compressed or changed in another way."""
        return self._any(headers.FILTERS) is not None

    @property
    def outside(self) -> bool:
        """Whether the values lie in other files."""
        return self._any(headers.EXTERNAL) is not None or self._layout_class() == VIRTUAL

    @property
    def in_pieces(self) -> bool:
        """Whether the values are scattered over the file."""
        return self._layout_class() == CHUNKED

    def stored(self) -> Content:
        """Return the bytes of the values, as many as there are."""
        layout = self._one(headers.LAYOUT, "the place")
        if self._layout_class() == COMPACT:
            (size,) = layout.read(Struct("<H"), LAYOUT.size, "values")
            return layout.part(LAYOUT.size + 2, size, "values")
        if self._layout_class() != CONTIGUOUS:
            return Content(memoryview(b""))
        at, size = layout.read(Struct("<QQ"), LAYOUT.size, "values")
        if at == UNDEFINED:  # declared, and never written
            return Content(memoryview(b""))
        return self._heaps.content.part(at, size, "values")

    def read(self) -> NDArray[Any]:
        """Return a copy of the values, of a dataset that :func:`pure_detect.hdf5.walk.checked` has let pass."""
        dtype = self.dtype
        if dtype is None or self.shape is None:
            raise InputError(f"expected numbers in {self.name!r}, found {self.type.name}")
        return numbers(self.stored(), dtype, self.shape)

    def _layout_class(self) -> int:
        version, kind = self._one(headers.LAYOUT, "the place").read(LAYOUT, 0, "the place of values")
        if version not in (3, 4, 5) or kind > VIRTUAL:
            raise InputError(f"expected a layout of version 3 to 5 of {self.name!r}, found {version}, class {kind}")
        return int(kind)


class Datatype(Item):
    """A type with a name of its own."""


def open_object(heaps: GlobalHeaps, address: int, name: str) -> Item:
    """Return what lies at an address."""
    found = messages(heaps.content, address)
    if is_group(found):
        return Group(heaps, address, name, found)
    kinds = {message.kind for message in found}
    return (Dataset if headers.LAYOUT in kinds else Datatype)(heaps, address, name, found)
