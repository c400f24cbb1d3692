"""Bytes of a named element type as the arrays that the rest of the project takes."""

from __future__ import annotations

import math

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import Array
from weights_convert.readers.named_tensors import converted, widened_bfloat16

BFLOAT16, BOOL = "bfloat16", "bool"
PLAIN = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
ELEMENTS = {
    **{name: np.dtype(name).newbyteorder("<") for name in PLAIN},
    BFLOAT16: np.dtype("<u2"),
    BOOL: np.dtype("u1"),
}


def as_array(name: str, data: bytes | memoryview, element: str, shape: tuple[int, ...]) -> Array:
    """Return stored values as a new array: float32 if they are floats of any width, else as stored.

    Parameters
    ----------
    name : str
        For the message.
    data : bytes
        Exactly the values, row-major, little-endian.
    element : str
        A key of `ELEMENTS`.
    shape : tuple of int
        From :func:`content.checked_shape`.

    Returns
    -------
    ndarray
        Writable, C-contiguous.

    Raises
    ------
    InputError
        If the bytes are more or fewer than the shape takes, or a finite value lies outside float32.
    """
    stored = ELEMENTS[element]
    expected = math.prod(shape) * stored.itemsize
    if len(data) != expected:
        raise InputError(f"expected {expected:,} bytes for {element} {list(shape)}, found {len(data):,}")
    values = np.frombuffer(data, stored).reshape(shape)
    if element == BOOL:
        return np.asarray(values != 0)
    return widened_bfloat16(values) if element == BFLOAT16 else converted(name, values)
