"""The restricted pickle machine against Python's own, on what it may read; on what it may not: `..._attacks.py`."""

from __future__ import annotations

import pickle

import pytest

from weights_convert.readers.restricted_pickle import load


def nothing_outside(identifier):
    raise AssertionError(identifier)


def read(content, start=0):
    return load(memoryview(content), start, {}, nothing_outside)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        *(sign * (1 << bits) - 1 for bits in (0, 7, 8, 15, 16, 31, 32, 62) for sign in (1, -1)),
        *(0.0, -1.5e300, float("inf")),
        *("", "weight", "\u00fc\u4e2d\U0001f600", "x" * 300),
        *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        *([], [1], [1, [2, (3, "a")]], list(range(3000))),  # longer lists come in parts of 1,000
        {"a": 1},
        {"a": {"b": [1.5, None]}, 3: (), None: True, 2.5: "x"},
        {f"name{i}": (f"name{i}", i) for i in range(3000)},  # more memos than a byte can count
    ],
    ids=lambda value: repr(value)[:30],
)
def test_plain_values_are_read_as_python_reads_them(value):
    content = pickle.dumps(value, 2)
    found, end = read(content)
    assert found == value
    assert type(found) is type(value)
    assert end == len(content)


def test_the_same_object_stays_the_same_object():
    shared = ["a"]
    found, _ = read(pickle.dumps({"x": shared, "y": shared}, 2))
    assert found["x"] is found["y"]


def test_pickles_one_after_another_are_read_one_by_one():
    first, second = pickle.dumps([1], 2), pickle.dumps({"a": 2}, 2)
    value, at = read(first + second)
    assert (value, at) == ([1], len(first))
    assert read(first + second, at) == ({"a": 2}, len(first + second))


def test_text_of_python_2_is_read_as_text():
    assert read(b"\x80\x02U\x06weight.")[0] == "weight"
