"""Datatypes, as NumPy knows them, and dataspaces."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

import numpy as np

from pure_detect.hdf5.content import Content, DamagedError

HEAD = Struct("<B3sI")  # version and class, flags, bytes
BITS = Struct("<HH")  # offset, precision
FLOAT = Struct("<HHBBBBI")  # offset, precision, exponent's place and bits, mantissa's place and bits, bias
IEEE = {2: (0, 16, 10, 5, 0, 10, 15), 4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}
FIXED, FLOATING, TEXT, ENUM, VARIABLE = 0, 1, 3, 8, 9
OTHERS = {
    **{2: "times", 4: "bit fields", 5: "opaque bytes", 6: "compounds", 7: "references", 10: "arrays"},
    11: "complex numbers",
}
ANY_LENGTH = 16  # bytes that stand in place of a text of any length: its own, heap, number
LARGEST_RANK = 32
NOTHING = 2  # a dataspace without values


class Type(NamedTuple):
    """What a value is.

    Attributes
    ----------
    name : str
        For people: the dtype's, `texts`, `references`, ...
    size : int
        Bytes a value.
    dtype : numpy dtype, optional
        Of numbers.
    end : bytes, optional
        What fills up a text of fixed length; None where values are no texts.
    any_length : bool
        Whether a text lies in a heap.
    """

    name: str
    size: int
    dtype: np.dtype | None = None
    end: bytes | None = None
    any_length: bool = False


def read_type(body: Content, depth: int = 0) -> Type:
    """Return a datatype (IV.A.2.d); what has no use in a weight file has a name alone."""
    head, flags, size = body.read(HEAD, 0, "a datatype")
    version, kind = head >> 4, head & 15
    if not 1 <= version <= 5 or size == 0:
        raise DamagedError(f"expected a datatype at byte {body.start:,}, found other bytes")
    if kind == FIXED:
        return _number(_fixed(body, flags, size), size, "integers of unusual bits")
    if kind == FLOATING:
        return _number(_floating(body, flags, size), size, "floating-point numbers of unusual bits")
    if kind == TEXT:
        return Type("texts", size, end=b" " if flags[0] & 15 == 2 else b"\0")
    if kind == VARIABLE:
        texts = flags[0] & 15 == 1 and size == ANY_LENGTH
        return Type("texts" if texts else "lists", size, end=b"\0" if texts else None, any_length=texts)
    if kind == ENUM and depth == 0:
        return _enumeration(body, int.from_bytes(flags[:2], "little"), version)
    return Type(OTHERS.get(kind, f"values of class {kind}"), size)


def _number(dtype: np.dtype | None, size: int, otherwise: str) -> Type:
    return Type(otherwise if dtype is None else str(dtype), size, dtype)


def _fixed(body: Content, flags: bytes, size: int) -> np.dtype | None:
    bits = body.read(BITS, HEAD.size, "an integer type")
    if size not in (1, 2, 4, 8) or bits != (0, 8 * size):
        return None
    return np.dtype(f"{'>' if flags[0] & 1 else '<'}{'i' if flags[0] & 8 else 'u'}{size}")


def _floating(body: Content, flags: bytes, size: int) -> np.dtype | None:
    bits = body.read(FLOAT, HEAD.size, "a floating-point type")
    implied_bit, sign = flags[0] >> 4 & 3 == 2, flags[1]
    if IEEE.get(size) != bits or flags[0] & 0x40 or not implied_bit or sign != 8 * size - 1:
        return None
    return np.dtype(f"{'>' if flags[0] & 1 else '<'}f{size}")


def _enumeration(body: Content, count: int, version: int) -> Type:
    """Return bool for what h5py stores as FALSE and TRUE, for others the integers that they are."""
    base = read_type(body.part(HEAD.size, len(body) - HEAD.size, "an enumeration"), depth=1)
    at, names = HEAD.size + HEAD.size + BITS.size, []
    if base.dtype is None or base.dtype.kind not in "iu":
        return Type("enumerations", base.size)
    for _ in range(count):
        name, end = body.text(at, "the name of an enumeration")
        names.append(name)
        at = end + 1 if version >= 3 else at + -(-(end + 1 - at) // 8) * 8
    values = body.part(at, count * base.size, "an enumeration").data
    if base.size == 1 and names == ["FALSE", "TRUE"] and bytes(values) == b"\0\1":
        return Type("bool", 1, np.dtype(bool))
    return base


def read_shape(body: Content) -> tuple[int, ...] | None:
    """Return a dataspace (IV.A.2.b), None for one without values."""
    version, rank, _, kind = body.read(Struct("<BBBB"), 0, "a dataspace")
    if version not in (1, 2) or rank > LARGEST_RANK:
        raise DamagedError(f"expected a dataspace at byte {body.start:,}, found other bytes")
    if version == 2 and kind == NOTHING:
        return None
    return body.read(Struct(f"<{rank}Q"), 8 if version == 1 else 4, "a dataspace")
