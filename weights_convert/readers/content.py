"""What the binary readers share: an error that names its place, names fit to print, and checked shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from pure_detect.errors import InputError

Array = NDArray[Any]

MAX_RANK = 32  # NumPy 1's limit; no weight has more than six
MAX_VALUES = 2**40


@contextmanager
def located(where: object) -> Iterator[None]:
    """Put `where` (a path, then perhaps a part of the file) in front of the errors raised inside.

    Raises
    ------
    InputError
        In place of any InputError or OSError.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror or error}") from None


def shown(name: object) -> str:
    """Return a name from a file as an error may print it: quoted, on one line, not endless."""
    text = repr(name)
    return text if len(text) <= 120 else f"{text[:120]}..."


def checked_shape(dimensions: Sequence[int]) -> tuple[int, ...]:
    """Return the dimensions if an array can have them.

    Raises
    ------
    InputError
        If there are too many, one is negative, or their product is beyond any file.
    """
    shape = tuple(int(size) for size in dimensions[: MAX_RANK + 1])
    if len(shape) > MAX_RANK:
        raise InputError(f"expected at most {MAX_RANK} dimensions, found {len(dimensions):,}")
    if min(shape, default=0) < 0 or math.prod(max(size, 1) for size in shape) > MAX_VALUES:
        raise InputError(f"expected a shape of sizes from 0 up, found {shown(list(shape))}")
    return shape
