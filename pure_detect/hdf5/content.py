"""Bytes that cannot be read past their end."""

from __future__ import annotations

from struct import Struct
from typing import Any

from pure_detect.errors import InputError

UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF  # the address of what is not there

LONGEST_TEXT = 1024  # bytes of a name, its end included: names may overlap, so many long ones cost a file little


class DamagedError(InputError):
    """A file that contradicts itself, or ends before it should."""


class Content:
    """A file's bytes, or a part of them.

    Parameters
    ----------
    data : memoryview
    start : int
        Where the part lies in the file, for messages.
    """

    __slots__ = ("data", "start")

    def __init__(self, data: memoryview, start: int = 0) -> None:
        self.data, self.start = data, start

    def __len__(self) -> int:
        """Return the number of bytes."""
        return len(self.data)

    def read(self, layout: Struct, at: int, what: str) -> tuple[Any, ...]:
        """Return the numbers of a structure; `what` names it if it is not all there."""
        if at < 0 or at + layout.size > len(self.data):
            raise DamagedError(f"expected {what} at byte {self.start + at:,}, found the end")
        return layout.unpack_from(self.data, at)

    def part(self, at: int, length: int, what: str) -> Content:
        """Return `length` bytes from `at` on."""
        if at < 0 or length < 0 or at + length > len(self.data):
            raise DamagedError(f"expected {what} of {length:,} bytes at byte {self.start + at:,}, found the end")
        return Content(self.data[at : at + length], self.start + at)

    def expect(self, mark: bytes, at: int, what: str) -> None:
        """Require the bytes that a structure begins with."""
        if bytes(self.data[at : at + len(mark)] if at >= 0 else b"") != mark:
            raise DamagedError(f"expected {what} at byte {self.start + at:,}, found other bytes")

    def text(self, at: int, what: str) -> tuple[str, int]:
        """Return the text from `at` to the next zero byte, and where that byte lies."""
        found = bytes(self.data[at : at + LONGEST_TEXT] if at >= 0 else b"")
        length = found.find(b"\0")
        if length < 0:
            raise DamagedError(f"expected {what} at byte {self.start + at:,}, found no end of it")
        return decoded(found[:length]), at + length


def decoded(text: bytes) -> str:
    """Return UTF-8 as text; bytes that are none are kept as h5py keeps them, and print as escapes."""
    return text.decode("utf-8", "surrogateescape")
