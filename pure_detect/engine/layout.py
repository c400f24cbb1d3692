"""Where maps lie in the arena: blocks of channels, borders, views into a concatenation, buffers shared by lifetime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pure_detect.engine.simd import LANES
from pure_detect.ops.geometry import Padding

LINE = 16  # float32 in a line of cache


def odd_lines(length: int) -> int:
    """Return `length` rounded up to an odd number of lines of cache: what lies so far apart shares no place in it."""
    return ((length + LINE - 1) // LINE | 1) * LINE


class Place(NamedTuple):
    """Offset of pixel (0, 0) of block 0, and the distances of blocks and rows, in float32 elements."""

    offset: int
    plane: int
    row: int


@dataclass(eq=False)
class Map:
    """A value of the network in memory, (channels, height, width).

    Attributes
    ----------
    border : (top, left, bottom, right)
        Pixels of zeros around it.
    parent : Map, optional
        The map that this one is a part of, from `parent_block` on.
    lanes : int
        Channels of a block; 1 for the picture, whose planes lie one after another.
    first, last : int
        The tasks that make it and that use it last.
    offset : int
        Where its memory begins in the arena, once that is decided.
    """

    name: str
    channels: int
    height: int
    width: int
    lanes: int = LANES
    border: Padding = (0, 0, 0, 0)
    parent: Map | None = None
    parent_block: int = 0
    first: int = 0
    last: int = 0
    offset: int = -1

    @property
    def root(self) -> Map:
        """Return the map whose memory this one lies in."""
        return self.parent.root if self.parent else self

    @property
    def block_in_root(self) -> int:
        """Return at which of the root's blocks this map begins."""
        return self.parent_block + self.parent.block_in_root if self.parent else 0

    @property
    def blocks(self) -> int:
        """Return the number of blocks, the last one filled up."""
        return -(-self.channels // self.lanes)

    @property
    def row(self) -> int:
        """Return the distance of rows."""
        _, left, _, right = self.root.border
        return (left + self.width + right) * self.lanes

    @property
    def plane(self) -> int:
        """Return the distance of blocks: an odd number of lines of cache, so that blocks do not share their places."""
        top, _, bottom, _ = self.root.border
        return odd_lines((top + self.height + bottom) * self.row)

    @property
    def size(self) -> int:
        """Return how many elements the map takes."""
        return self.blocks * self.plane

    @property
    def place(self) -> Place:
        """Return where the map lies."""
        top, left, _, _ = self.root.border
        start = self.root.offset + self.block_in_root * self.plane
        return Place(start + top * self.row + left * self.lanes, self.plane, self.row)

    @property
    def span(self) -> tuple[int, int]:
        """Return where in the arena the map begins, border and all, and where it ends."""
        start = self.root.offset + self.block_in_root * self.plane
        return start, start + self.size

    @property
    def is_dense(self) -> bool:
        """Tell whether the rows of a block follow each other without a gap."""
        return self.row == self.width * self.lanes

    def need_border(self, border: Padding) -> None:
        """Widen the border to at least this one."""
        root = self.root
        top, left, bottom, right = (max(a, b) for a, b in zip(root.border, border))
        root.border = (top, left, bottom, right)

    def live(self, task: int) -> None:
        """Note that a task uses the map."""
        root = self.root
        root.first, root.last = min(root.first, task), max(root.last, task)


def share_memory(maps: list[Map]) -> int:
    """Give every map an offset such that no two that live at one time overlap; return the size of the whole.

    The largest first, each at the lowest place that is free during its life.
    """
    placed: list[Map] = []
    for new in sorted(maps, key=lambda m: (-m.size, m.first)):
        at = 0
        for other in sorted((m for m in placed if m.first <= new.last and new.first <= m.last), key=lambda m: m.offset):
            if at + new.size <= other.offset:
                break
            at = max(at, other.offset + other.size)
        new.offset = at
        placed.append(new)
    return max((m.offset + m.size for m in placed), default=0)
