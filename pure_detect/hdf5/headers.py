"""The superblock, which says where the root group is, and object headers, which say what an object is."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from pure_detect.errors import InputError
from pure_detect.hdf5.content import UNDEFINED, Content, DamagedError

MAGIC = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_0 = Struct("<9x4xBBx4x4x4Q")  # sizes of addresses and lengths; base, free space, end, driver
SUPERBLOCK_2 = Struct("<9xBBx4Q")  # the same sizes; base, extension, end, root
ROOT = Struct("<8xQ")  # the object header's address in a symbol table entry

HEADER_1 = Struct("<BxH4xI4x")  # version, number of messages, bytes of them
MESSAGE_1 = Struct("<HHB3x")  # type, bytes, flags
MESSAGE_2 = Struct("<BHB")
CONTINUED = Struct("<QQ")
MOST_MESSAGES = 65_535

NIL, DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, EXTERNAL, LAYOUT = 0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x7, 0x8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, ATTRIBUTE_INFO = 0xB, 0xC, 0x10, 0x11, 0x15
SHARED = 0x2  # a flag: the message is elsewhere


class Message(NamedTuple):
    """One property of an object (IV.A.2)."""

    kind: int
    flags: int
    body: Content


def root_address(content: Content) -> int:
    """Return the address of the root group's object header (II.A).

    Raises
    ------
    InputError
        If the superblock is of a kind that weight files do not have.
    DamagedError
        If the file is shorter than it says.
    """
    content.expect(MAGIC, 0, "an HDF5 file")
    (version,) = content.read(Struct("<B"), 8, "a superblock")
    if version in (0, 1):
        *sizes, base, _, end, driver = content.read(SUPERBLOCK_0, 0, "a superblock")
        (root,) = content.read(ROOT, SUPERBLOCK_0.size + 4 * version, "a root group")
    elif version in (2, 3):
        *sizes, base, _, end, root = content.read(SUPERBLOCK_2, 0, "a superblock")
        driver = UNDEFINED
    else:
        raise InputError(f"expected an HDF5 superblock of version 0 to 3, found {version}")
    if sizes != [8, 8] or base != 0 or driver != UNDEFINED:
        raise DamagedError("expected HDF5 addresses of 8 bytes from the file's start on, found others")
    if end > len(content):
        raise DamagedError(f"expected {end:,} bytes, found {len(content):,}")
    return int(root)


def messages(content: Content, address: int) -> list[Message]:
    """Return everything that an object header says (IV.A.1), in all its blocks.

    Raises
    ------
    DamagedError
        If it is none, or does not end.
    """
    second = bytes(content.part(address, 4, "an object header").data) == b"OHDR"
    found: list[Message] = []
    blocks, head, limit = _second_form(content, address) if second else _first_form(content, address)
    for block in blocks:
        for message in _in_block(block, head):
            if len(found) == limit:
                break
            found.append(message)
            if message.kind == CONTINUATION:
                at, size = message.body.read(CONTINUED, 0, "the rest of an object header")
                blocks.append(_rest(content, at, size, second))
    if len(found) == MOST_MESSAGES:
        raise DamagedError(f"expected an object header at byte {address:,}, found one without end")
    return found


Form = tuple[list[Content], Struct, int]  # blocks, the messages' heads, the most messages


def _first_form(content: Content, address: int) -> Form:
    version, count, size = content.read(HEADER_1, address, "an object header")
    if version != 1:
        raise DamagedError(f"expected an object header at byte {address:,}, found other bytes")
    return [content.part(address + HEADER_1.size, size, "an object header")], MESSAGE_1, count


def _second_form(content: Content, address: int) -> Form:
    version, flags = content.read(Struct("<4xBB"), address, "an object header")
    if version != 2:
        raise DamagedError(f"expected an object header of version 2 at byte {address:,}, found {version}")
    width = 1 << (flags & 3)
    at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)  # times; limits of attributes
    size = int.from_bytes(content.part(at, width, "an object header").data, "little")
    head = Struct(MESSAGE_2.format + "2x") if flags & 4 else MESSAGE_2  # the order of attributes
    return [content.part(at + width, size, "an object header")], head, MOST_MESSAGES


def _rest(content: Content, at: int, size: int, second: bool) -> Content:
    """Return a further block; in the second form it has a mark and a check sum around it."""
    if not second:
        return content.part(at, size, "the rest of an object header")
    content.expect(b"OCHK", at, "the rest of an object header")
    return content.part(at + 4, size - 8, "the rest of an object header")


def _in_block(block: Content, head: Struct) -> Iterator[Message]:
    at = 0
    while at + head.size <= len(block):
        kind, size, flags = block.read(head, at, "a message")
        yield Message(kind, flags, block.part(at + head.size, size, "a message"))
        at += head.size + size
