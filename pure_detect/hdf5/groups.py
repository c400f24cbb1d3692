"""The links of a group, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from pure_detect.errors import InputError
from pure_detect.hdf5.content import UNDEFINED, Content, DamagedError, decoded
from pure_detect.hdf5.headers import LINK, LINK_INFO, SYMBOL_TABLE, Message
from pure_detect.hdf5.heaps import local_heap

TABLE = Struct("<QQ")  # tree, heap
NODE = Struct("<4xBBHQQ")  # type, level, entries, and the neighbours
SYMBOLS = Struct("<4xBxH")
SYMBOL = Struct("<QQI20x")  # name, object header, what is cached
CHILD = Struct("<QQ")  # a key, a child's address
SOFT = 2
ADDRESS = Struct("<Q")
KINDS = {1: "SoftLink", 64: "ExternalLink"}


class Link(NamedTuple):
    """Where a name leads: to an object header in this file, or elsewhere."""

    address: int
    elsewhere: str = ""


def is_group(found: Iterable[Message]) -> bool:
    """Return whether an object header is that of a group."""
    return any(message.kind in (SYMBOL_TABLE, LINK_INFO, LINK) for message in found)


def links(content: Content, found: Iterable[Message], most: int) -> dict[str, Link]:
    """Return a group's links, in the order of the file.

    Raises
    ------
    InputError
        If there are more than `most`, or they have an index of HDF5's newer kind.
    DamagedError
        If a name is there twice, or an address leads nowhere.
    """
    result: dict[str, Link] = {}
    for name, link in _all(content, found):
        if name in result:
            raise DamagedError(f"expected every name once in a group, found {name!r} twice")
        if len(result) == most:
            raise InputError(f"expected at most {most:,} members of a group, found more")
        result[name] = link
    return result


def _all(content: Content, found: Iterable[Message]) -> Iterator[tuple[str, Link]]:
    for message in found:
        if message.kind == SYMBOL_TABLE:
            tree, heap = message.body.read(TABLE, 0, "a symbol table")
            yield from _symbols(content, tree, local_heap(content, heap))
        elif message.kind == LINK:
            yield _link(message.body)
        elif message.kind == LINK_INFO:
            _refuse_index(message.body)


def _symbols(content: Content, tree: int, names: Content) -> Iterator[tuple[str, Link]]:
    for leaf in _leaves(content, tree, None, set()):
        content.expect(b"SNOD", leaf, "a symbol table's node")
        _, count = content.read(SYMBOLS, leaf, "a symbol table's node")
        for i in range(count):
            name, address, cached = content.read(SYMBOL, leaf + SYMBOLS.size + i * SYMBOL.size, "a symbol")
            yield names.text(name, "a name")[0], Link(address, KINDS[1] if cached == SOFT else "")


def _leaves(content: Content, address: int, level: int | None, seen: set[int]) -> Iterator[int]:
    """Yield the addresses that a tree's lowest level holds (III.A.1); every level is one lower than the one above."""
    if address in seen:
        raise DamagedError(f"expected a tree, found its node at byte {address:,} twice")
    seen.add(address)
    content.expect(b"TREE", address, "a tree's node")
    kind, at_level, count, _, _ = content.read(NODE, address, "a tree's node")
    if kind != 0 or (at_level != level and level is not None):
        raise DamagedError(f"expected a tree of names at byte {address:,}, found another node")
    for i in range(count):
        _, child = content.read(CHILD, address + NODE.size + i * CHILD.size, "a tree's branch")
        if at_level:
            yield from _leaves(content, child, at_level - 1, seen)
        else:
            yield child


def _link(body: Content) -> tuple[str, Link]:
    """Return what a link message says (IV.A.2.g)."""
    version, flags = body.read(Struct("<BB"), 0, "a link")
    if version != 1:
        raise DamagedError(f"expected a link of version 1, found {version}")
    at = 2
    kind = 0
    if flags & 8:
        (kind,) = body.read(Struct("<B"), at, "a link")
        at += 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)  # its place in the order; the name's encoding
    width = 1 << (flags & 3)
    length = int.from_bytes(body.part(at, width, "a link's name").data, "little")
    name = decoded(bytes(body.part(at + width, length, "a link's name").data))
    if kind:
        return name, Link(UNDEFINED, KINDS.get(kind, f"kind {kind}"))
    return name, Link(*body.read(ADDRESS, at + width + length, "a link"))


def _refuse_index(body: Content) -> None:
    _, flags = body.read(Struct("<BB"), 0, "links")
    (heap,) = body.read(ADDRESS, 10 if flags & 1 else 2, "links")
    if heap != UNDEFINED:
        raise InputError("expected groups as h5py writes them by default, found one with an index of HDF5 1.8")
