"""Damage to files, for the tests that no damage leads to anything but a result or a one-line error."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pure_detect.errors import InputError


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies: bytes changed, file cut, a stretch zeroed, removed, repeated, or of noise."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        damaged = bytearray(content)
        start, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
        stretch = slice(start, start + length)
        match i % 6:
            case 0:
                for at in rng.integers(len(content), size=rng.integers(1, 5)):
                    damaged[at] = rng.integers(256)
            case 1:
                del damaged[start:]
            case 2:
                damaged[stretch] = bytes(len(damaged[stretch]))
            case 3:
                del damaged[stretch]
            case 4:
                damaged[start:start] = damaged[stretch]
            case 5:
                damaged[stretch] = rng.bytes(len(damaged[stretch]))
        yield bytes(damaged)


def one_line_error(read: Callable[[Path], object], path: Path) -> str | None:
    """Return the message of the InputError that reading raises, without the path, or None; anything else escapes."""
    try:
        read(path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert message.isprintable(), message
        return message.removeprefix(f"{path}: ")
    return None


def assert_survives(
    read: Callable[[Path], object], contents: Iterator[bytes], path: Path, *, peak_bytes: int = 64 << 20
) -> int:
    """Read every content from a file at `path`, in bounded time and memory; return how many were refused."""
    refused = 0
    tracemalloc.start()
    try:
        for content in contents:
            path.write_bytes(content)
            begin = time.monotonic()
            refused += one_line_error(read, path) is not None
            assert time.monotonic() - begin < 10
        assert tracemalloc.get_traced_memory()[1] < peak_bytes
    finally:
        tracemalloc.stop()
    return refused


def assert_refused(read: Callable[[Path], object], content: bytes, path: Path, expected: str) -> None:
    """Hold that a content leads to a one-line InputError with a text in it."""
    path.write_bytes(content)
    message = one_line_error(read, path)
    assert message is not None, "nothing was refused"
    assert expected in message, message


def assert_independent(arrays: dict[str, np.ndarray]) -> None:
    """Hold that each array is writable, C-contiguous, in the machine's byte order, and shares memory with no other."""
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray), name
        assert array.flags.c_contiguous, name
        assert array.flags.writeable, name
        assert array.dtype.isnative, name
    listed = list(arrays.values())
    for i, array in enumerate(listed):
        if any(np.shares_memory(array, other) for other in listed[i + 1 :]):
            pytest.fail("two arrays share memory")
