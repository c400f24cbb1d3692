"""Checks of tables of numbers: what is wrong is told in one line that names the first offending entry.

A check may find something at entry 12 and a later check, of another field, something at entry 3. So every check
looks only at the entries before the first one known to be wrong, and what is told in the end is the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect.errors import InputError

NOTHING = object()  # stands for a field that an entry lacks
NUMBER = frozenset({int, float})
INTEGER = frozenset({int})  # bool is a type of its own here: true is no number


def show(value: Any) -> str:
    """Return a value as an error message quotes it: on one line, and short."""
    if value is NOTHING:
        return "nothing"
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_text(path: Path, what: str) -> str:
    """Return the text of a file; `what` says in the error what it should have been."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: expected {what}, found: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected {what} in UTF-8, found {error.reason} at {error.start}") from None


def read_json(path: Path, what: str) -> Any:
    """Return the content of a JSON file; `what` says in the error what it should have been."""
    text = read_text(path, what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InputError(f"{path}: expected {what}, found malformed JSON at {where}: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested or a number too long for Python
        raise InputError(f"{path}: expected {what}, found JSON that cannot be read: {error}") from None


class Checker:
    """Remembers the first offending entry of one table.

    Attributes
    ----------
    limit : int
        Index of the first offending entry known, or the number of entries.
    """

    def __init__(self, source: str, table: str, count: int) -> None:
        self.source, self.table, self.limit = source, table, count
        self._message = ""

    def found(self, index: int, field: str, expected: str, value: Any) -> None:
        """Note that entry `index` is wrong; it must lie before the first one known."""
        where = f"{self.table}[{index}]" + (f".{field}" if field else "")
        self.limit = index
        self._message = f"{self.source}: {where}: expected {expected}, found {show(value)}"

    def require(self, good: NDArray[np.bool_], field: str, expected: str, values: Any) -> None:
        """Note the first entry before `limit` that is not good, if there is one."""
        bad = np.flatnonzero(~good[: self.limit])
        if len(bad):
            self.found(int(bad[0]), field, expected, values[bad[0]])

    def require_unique(self, field: str, values: NDArray[np.int64]) -> None:
        """Note the first entry whose value an earlier entry has."""
        first = np.zeros(len(values), np.bool_)
        first[np.unique(values, return_index=True)[1]] = True
        self.require(first, field, "a number that no earlier entry has", values)

    def finish(self) -> None:
        """Raise an InputError about the first offending entry, if there is one."""
        if self._message:
            raise InputError(self._message)


class Records(Checker):
    """A list of JSON objects, read column by column. A column ends before the first offending entry."""

    def __init__(self, source: str, table: str, entries: Any) -> None:
        if not isinstance(entries, list):
            raise InputError(f"{source}: {table}: expected a list of objects, found {show(entries)}")
        super().__init__(source, table, len(entries))
        self._entries = entries
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self.found(index, "", "an object", entry)
                break

    def integers(self, field: str) -> NDArray[np.int64]:
        """Return a column of integers."""
        column = self._column(field)
        if not set(map(type, column)) <= INTEGER or not _fit(np.int64, column):
            self._find(field, column, "an integer", lambda v: type(v) in INTEGER and _fit(np.int64, [v]))
        return np.array(column[: self.limit], np.int64)

    def numbers(self, field: str) -> NDArray[np.float64]:
        """Return a column of numbers; NaN and infinity pass."""
        column = self._column(field)
        if not set(map(type, column)) <= NUMBER or not _fit(np.float64, column):
            self._find(field, column, "a number", lambda v: type(v) in NUMBER and _fit(np.float64, [v]))
        return np.array(column[: self.limit], np.float64)

    def flags(self, field: str) -> NDArray[np.bool_]:
        """Return a column of 0 and 1, or of false and true."""
        column = self._column(field)
        self._find(field, column, "0 or 1", lambda value: isinstance(value, int) and value in (0, 1))
        return np.array(column[: self.limit], np.bool_)

    def strings(self, field: str) -> list[str]:
        """Return a column of strings, "" where an entry has none."""
        column = ["" if value is NOTHING else value for value in self._column(field)]
        self._find(field, column, "a string", lambda value: isinstance(value, str))
        return column[: self.limit]

    def sizes(self, field: str) -> list[int]:
        """Return a column of sizes in pixels, 0 where an entry has none."""
        column = [0 if value is NOTHING else value for value in self._column(field)]
        self._find(field, column, "an integer of at least 0", lambda v: type(v) in INTEGER and v >= 0)
        return column[: self.limit]

    def boxes(self, field: str) -> NDArray[np.float64]:
        """Return a column of lists of four numbers as one array (N, 4); NaN and infinity pass."""
        column = self._column(field)
        if not _are_boxes(column):
            self._find(field, column, "a list of four numbers", lambda value: _are_boxes([value]))
        return np.array(list(chain.from_iterable(column[: self.limit])), np.float64).reshape(-1, 4)

    def _column(self, field: str) -> list[Any]:
        return [entry.get(field, NOTHING) for entry in self._entries[: self.limit]]

    def _find(self, field: str, column: list[Any], expected: str, fits: Callable[[Any], bool]) -> None:
        for index, value in enumerate(column):
            if not fits(value):
                return self.found(index, field, expected, value)


def _fit(dtype: type, values: Sequence[Any]) -> bool:
    """Say whether the numbers fit into the type: JSON has integers of any length."""
    try:
        np.array(values, dtype)
    except OverflowError:
        return False
    return True


def _are_boxes(values: Sequence[Any]) -> bool:
    if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {4}:
        return False
    flat = list(chain.from_iterable(values))
    return set(map(type, flat)) <= NUMBER and _fit(np.float64, flat)


def as_integers(name: str, values: ArrayLike, count: int | None = None) -> NDArray[np.int64]:
    """Return an array argument as int64 (N,), N any number or `count`, or say why it is none."""
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: expected integers, found {array.dtype}")
    if array.ndim != 1 or count not in (None, len(array)):
        raise InputError(f"{name}: expected an array of shape ({count or 'N'},), found {array.shape}")
    return array.astype(np.int64)


def as_numbers(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array argument as float64 of that shape, or say why it is none."""
    array = np.asarray(values)
    if array.size == 0 and 0 in shape:
        array = array.reshape(shape)
    if array.size and array.dtype.kind not in "iuf":
        raise InputError(f"{name}: expected numbers, found {array.dtype}")
    return _with_shape(name, array, shape).astype(np.float64, order="C")


def as_flags(name: str, values: ArrayLike, count: int) -> NDArray[np.bool_]:
    """Return an array argument of 0 and 1 as booleans (N,), or say why it is none."""
    array = _with_shape(name, np.asarray(values), (count,))
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{name}: expected 0 or 1 for every entry, found {show(array[~np.isin(array, (0, 1))][0])}")
    return array.astype(np.bool_)


def _with_shape(name: str, array: NDArray[Any], shape: tuple[Any, ...]) -> NDArray[Any]:
    if array.shape != shape:
        raise InputError(f"{name}: expected an array of shape {shape}, found {array.shape}")
    return array
