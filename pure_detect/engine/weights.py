"""The packed weights: places are given out while planning, then all is written at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine.layout import LINE

Array = NDArray[Any]


@dataclass
class Packed:
    """Gives out places in one array, which is written when all are known."""

    size: int = 0
    writers: list[tuple[int, int, Callable[[Array], None]]] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)

    def add(self, size: int, write: Callable[[Array], None]) -> int:
        """Reserve `size` elements, which `write` will fill; return where they begin."""
        at = self.size
        self.writers.append((at, size, write))
        self.size += -(-size // LINE) * LINE
        return at

    def values(self, values: Array, length: int | None = None) -> int:
        """Keep a vector of numbers, filled up with zeros to `length`; equal ones are kept once."""
        row = np.zeros(len(values) if length is None else length, np.float32)
        row[: len(values)] = values
        key = row.tobytes()
        if key not in self.known:
            self.known[key] = self.add(len(row), lambda out: np.copyto(out, row))
        return self.known[key]

    def write(self) -> Array:
        """Return all of it as one aligned array."""
        out = aligned(self.size)
        for at, size, write in self.writers:
            write(out[at : at + size])
        self.writers.clear()
        return out


def aligned(size: int) -> Array:
    """Return `size` zeros, float32, that begin with a line of cache, and one line to spare."""
    return from_line(np.zeros(size + 2 * LINE, np.float32))[: size + LINE]


def from_line(array: Array) -> Array:
    """Return what of a float32 array follows the first beginning of a line of cache in it."""
    return array[-(array.ctypes.data // 4) % LINE :]
