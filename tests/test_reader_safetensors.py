"""safetensors, made by hand; files that the library itself writes are in `parity/test_readers_frameworks.py`."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc

import numpy as np
import pytest

from tests.mutations import assert_independent, assert_refused, assert_survives, mutations
from weights_convert.readers.safetensors import matches, read

FLOATS = np.array([[1.5, -2.25, 3.0], [4.0, -0.0, 6.0]], "<f4")


def entry(kind, shape, begin, end, **more):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end], **more}


def file_of(header, values=b""):
    """Return a file's content; the header is an object, or its text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


WEIGHT = entry("F32", [2, 3], 0, 24)
HONEST = file_of({"w": WEIGHT, "__metadata__": {"format": "pt"}}, FLOATS.tobytes())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.bin"


def test_tensors_are_read_by_name_in_the_headers_order(path):
    header = {"z": entry("F32", [2, 3], 4, 28), "a": entry("I32", [1], 0, 4), "__metadata__": {"format": "pt"}}
    path.write_bytes(file_of(header, struct.pack("<i", -7) + FLOATS.tobytes()))
    found = read(path)
    assert list(found) == ["z", "a"]
    np.testing.assert_array_equal(found["z"], FLOATS, strict=True)
    np.testing.assert_array_equal(found["a"], np.array([-7], np.int32), strict=True)
    assert np.signbit(found["z"][1, 1])
    assert_independent(found)


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1), ()], ids=str)
@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("F16", np.array([1, -0.5, 65504], "<f2"), np.array([1, -0.5, 65504], np.float32)),
        ("F32", np.array([1, np.nan, -np.inf], "<f4"), np.array([1, np.nan, -np.inf], np.float32)),
        ("F64", np.array([1, -0.1, 3e38], "<f8"), np.array([1, -0.1, 3e38], np.float32)),
        ("BF16", np.array([0x3F80, 0xBF00, 0x7F80], "<u2"), np.array([1, -0.5, np.inf], np.float32)),
        ("I64", np.array([1, -(2**60), 3], "<i8"), np.array([1, -(2**60), 3], np.int64)),
        ("I32", np.array([1, -2, 3], "<i4"), np.array([1, -2, 3], np.int32)),
        ("I16", np.array([1, -2, 3], "<i2"), np.array([1, -2, 3], np.int16)),
        ("I8", np.array([1, -2, 3], "i1"), np.array([1, -2, 3], np.int8)),
        ("U64", np.array([1, 2**63, 3], "<u8"), np.array([1, 2**63, 3], np.uint64)),
        ("U32", np.array([1, 2**31, 3], "<u4"), np.array([1, 2**31, 3], np.uint32)),
        ("U16", np.array([1, 2**15, 3], "<u2"), np.array([1, 2**15, 3], np.uint16)),
        ("U8", np.array([1, 255, 3], "u1"), np.array([1, 255, 3], np.uint8)),
        ("BOOL", np.array([1, 0, 1], "u1"), np.array([True, False, True])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_floats_become_float32_and_integers_stay(path, kind, stored, expected, shape):
    stored, expected = (x[:1].reshape(()) if shape == () else x.reshape(shape) for x in (stored, expected))
    path.write_bytes(file_of({"x": entry(kind, list(shape), 0, stored.nbytes)}, stored.tobytes()))
    found = read(path)
    np.testing.assert_array_equal(found["x"], expected, strict=True)
    assert_independent(found)


def test_empty_tensors_and_a_padded_header_are_read(path):
    header = {"none": entry("F32", [0, 3], 24, 24), "w": WEIGHT, "first": entry("I8", [2, 0], 0, 0)}
    path.write_bytes(file_of(json.dumps(header).encode() + b"   ", FLOATS.tobytes()))
    found = read(path)
    assert found["none"].shape == (0, 3)
    assert found["first"].shape == (2, 0)
    np.testing.assert_array_equal(found["w"], FLOATS)


def test_a_file_without_tensors_is_read_as_none(path):
    path.write_bytes(file_of({}))
    assert read(path) == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a safetensors file, found an empty file"),
        (b"\x05\0\0", "found a header of 5 bytes in a file of 3"),
        (HONEST[:50], "bytes in a file of 50"),
        (HONEST[:-1], "expected 24 bytes of values, found 23: a truncated or damaged file"),
        (HONEST + b"\0", "expected 24 bytes of values, found 25"),
        (struct.pack("<Q", 1 << 60) + b"{}", "found a header of 1,152,921,504,606,846,976 bytes"),
        (file_of(b"{]"), "expected a header in JSON, found other text"),
        (file_of(b"\xff\xfe"), "expected a header in JSON, found other text"),
        (file_of(b"[" * 100_000), "expected a header in JSON, found other text"),
        (file_of(b'{"a":' * 100_000), "expected a header in JSON, found other text"),
        (file_of(b'{"a": ' + b"9" * 5000 + b"}"), "found other"),
        (file_of(b'{"a": 1, "a": 2}'), "expected a header in JSON, found a name twice"),
        (file_of([1]), "expected a JSON object as header, found a list"),
        (file_of({"w": 3}), "expected dtype, shape and data_offsets of 'w', found others"),
        (file_of({"w": {"dtype": "F32", "shape": [1]}}), "expected dtype, shape and data_offsets of 'w'"),
        (file_of({"w": {**WEIGHT, "more": 1}}, bytes(24)), "expected dtype, shape and data_offsets of 'w'"),
        (file_of({"w": {**WEIGHT, "data_offsets": [0]}}), "expected dtype, shape and data_offsets of 'w'"),
        (file_of({"w": entry("F8_E4M3", [1], 0, 1)}, b"1"), "found 'F8_E4M3'"),
        (file_of({"w": entry("F32", [2, -3], 0, 24)}), "natural numbers for 'w'"),
        (file_of({"w": entry("F32", [2.0], 0, 8)}), "natural numbers for 'w'"),
        (file_of({"w": entry("F32", [True], 0, 4)}), "natural numbers for 'w'"),
        (file_of({"w": entry("F32", [1] * 33, 0, 4)}, bytes(4)), "expected at most 32 axes"),
        (file_of({"w": entry("F32", [2], 0, 4)}, bytes(4)), "expected 8 bytes for 'w' (2,) F32, found offsets 0 to 4"),
        (file_of({"w": entry("F32", [2], 8, 0)}, bytes(8)), "found offsets 8 to 0"),
        (file_of({"w": entry("F32", [1 << 40, 1 << 40], 0, 4)}), "bytes for 'w'"),
        (file_of({"w": entry("F32", [0, 1 << 47], 0, 0)}), "bytes of tensors in"),
        (file_of({"w": entry("F32", [1], 4, 8)}, bytes(8)), "expected 'w' to begin at byte 0 of the values, found 4"),
        (file_of({"a": WEIGHT, "b": entry("I8", [1], 23, 24)}, bytes(24)), "expected 'b' to begin at byte 24"),
        (file_of({"a": WEIGHT, "b": WEIGHT}, bytes(24)), "found 0, an overlap"),
        (file_of({"a": WEIGHT, "b": entry("I8", [1], 25, 26)}, bytes(26)), "found 25, a gap"),
        (file_of({"a": WEIGHT}, bytes(48)), "expected 24 bytes of values, found 48"),
        (file_of({"a\nb": WEIGHT}, bytes(24)), "expected printable names of tensors, found 'a\\nb'"),
        (file_of({"x": entry("F64", [1], 0, 8)}, struct.pack("<d", 1e39)), "found 1e+39 in 'x'"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_damaged_file_is_refused_by_what_is_wrong(path, content, expected):
    assert_refused(read, content, path, expected)


def test_many_entries_for_nothing_cannot_exhaust_time_or_memory(path):
    header = {f"w{i}": entry("F32", [0], 0, 0) for i in range(70_000)}
    begin = time.monotonic()
    assert_refused(read, file_of(header), path, "expected at most 65,536 tensors, found 70,000")
    assert time.monotonic() - begin < 10


def test_a_huge_header_is_refused_before_it_is_read(path):
    content = file_of(b"{" + b" " * (17 << 20) + b"}")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"found a header of 17,825,794 bytes"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HONEST, True),
        (HONEST[:30], True),  # truncated, and safetensors all the same
        (b'{"model": {"w": 1}}', False),
        (struct.pack("<3iq", 0, 2, 5, 0), False),
        (b"PK\x03\x04", False),
        (b"\x05", False),
        (b"", False),
    ],
    ids="honest truncated json darknet zip byte empty".split(),
)
def test_the_content_tells_the_format_not_the_name(path, content, expected):
    path.write_bytes(content)
    assert matches(path, content[:512]) is expected


MIXED = file_of(
    {"w": WEIGHT, "half": entry("BF16", [3], 24, 30), "steps": entry("I64", [], 30, 38), "__metadata__": {"a": "b"}},
    FLOATS.tobytes() + bytes(14),
)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_give_a_result_or_a_one_line_error(path, seed):
    assert assert_survives(read, mutations(MIXED, 300, seed), path) > 150


@pytest.mark.parametrize("seed", range(2))
def test_damaged_headers_of_the_right_length_give_a_result_or_a_one_line_error(path, seed):
    header, values = MIXED[8:-38], MIXED[-38:]
    damaged = (file_of(text, values) for text in mutations(header, 300, seed))
    assert 150 < assert_survives(read, damaged, path) <= 300
