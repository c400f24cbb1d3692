"""What the readers of named tensors share: a file's bytes, limits, and arrays as the rest of the project takes them."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import Array, shown

MAX_TENSORS = 65_536  # the largest detectors have some thousands, with their optimiser's state some tens of thousands

# How many times its own length a file may take in memory. float16 read as float32 takes 2, a layer that five feature
# maps share and that is stored once takes 5; a file made to exhaust memory asks for thousands.
MAX_GROWTH = 16
ALWAYS_ALLOWED_BYTES = 1 << 20


def map_file(path: str | Path, expected: str) -> memoryview:
    """Return a file's bytes, which the system loads as they are touched.

    Raises
    ------
    InputError
        If there is no such file or it is empty; without the path, as `content.located` expects it.
    OSError
        If it cannot be read.
    """
    if not Path(path).is_file():  # opening a pipe would wait for ever
        raise InputError(f"expected {expected}, found {'a folder' if Path(path).is_dir() else 'no such file'}")
    with open(path, "rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:  # what mmap says to no bytes at all
            raise InputError(f"expected {expected}, found an empty file") from None


def check_growth(tensors: int, total_bytes: int, file_bytes: int) -> None:
    """Refuse a file that asks for more tensors or memory than an honest one of its length.

    Raises
    ------
    InputError
        If there are more than `MAX_TENSORS` tensors, or they take more than `MAX_GROWTH` times the file.
    """
    if tensors > MAX_TENSORS:
        raise InputError(f"expected at most {MAX_TENSORS:,} tensors, found {tensors:,}")
    most = MAX_GROWTH * file_bytes + ALWAYS_ALLOWED_BYTES
    if total_bytes > most:
        raise InputError(f"expected at most {most:,} bytes of tensors in {file_bytes:,} of file, found {total_bytes:,}")


def check_name(name: str) -> None:
    """Refuse a tensor's name that would break a line or write control characters to a terminal.

    Raises
    ------
    InputError
        If the name is empty or not printable.
    """
    if not name or not name.isprintable():
        raise InputError(f"expected printable names of tensors, found {shown(name)}")


def converted(name: str, values: Array) -> Array:
    """Return a copy of a tensor: floating types as float32, integers and truth values as they are.

    Parameters
    ----------
    name : str
        For the message.
    values : ndarray
        Of any shape, strides and byte order; may be read-only.

    Returns
    -------
    ndarray
        Writable, C-contiguous, in the machine's byte order.

    Raises
    ------
    InputError
        If a finite value lies outside float32.
    """
    values = np.asarray(values)  # a comparison of arrays without axes gives a scalar
    floating = values.dtype.kind == "f"
    with np.errstate(all="ignore"):
        array = values.astype(np.float32 if floating else values.dtype.newbyteorder("="), order="C")
    if floating and values.dtype.itemsize > 4 and (np.isinf(array) & np.isfinite(values)).any():
        largest = np.abs(values[np.isfinite(values)]).max()
        raise InputError(f"expected values within float32, found {largest:g} in {shown(name)}")
    return array


def widened_bfloat16(bits: Array) -> Array:
    """Return bfloat16 values, given as uint16, as float32: they are the upper halves of its bits."""
    wide = np.array(bits, np.uint32, order="C")
    wide <<= 16
    return wide.view(np.float32)
