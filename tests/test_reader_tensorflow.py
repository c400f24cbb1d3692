"""Protobuf and frozen graphs of hand-made bytes: what is read, and what is refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.mutations import assert_independent, assert_refused, assert_survives, mutations, one_line_error
from tests.tensorflow_files import NETWORK, assert_read_as, block, graph_of, node, number, tensor_message, varint
from weights_convert.readers import protobuf, tensorflow_graph

# Protobuf


def test_fields_are_walked_in_order_with_their_values() -> None:
    message = number(1, 300) + block(2, "text") + b"\x1d\x01\x02\x03\x04" + number(70, -1)
    found = list(protobuf.fields(message))
    assert [(field.number, field.wire) for field in found] == [(1, 0), (2, 2), (3, 5), (70, 0)]
    assert (found[0].integer(), found[1].text(), bytes(found[2].data), found[3].signed()) == (
        300, "text", b"\1\2\3\4", -1,
    )  # fmt: skip


def test_packed_varints_are_read_to_64_bits() -> None:
    numbers = [0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1]
    found = protobuf.packed_varints(b"".join(varint(value) for value in numbers))
    assert found.tolist() == numbers
    assert protobuf.packed_varints(b"").tolist() == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x08", "found the end of the data"),
        (b"\x08\x80", "found the end of the data"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "found a longer one"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "found a longer one"),
        (b"\x12\x05abc", "expected 5 bytes in field 2, found the 3 left"),
        (b"\x12" + varint(2**63), "found the 0 left"),
        (b"\x0b", "found 3"),
        (b"\x02\x00", "field number"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        list(protobuf.fields(message))


@pytest.mark.parametrize("octets", [b"\x80", b"\x01\xff", b"\x80" * 11 + b"\x01"])
def test_broken_rows_of_varints_are_refused(octets: bytes) -> None:
    with pytest.raises(InputError, match="varints"):
        protobuf.packed_varints(octets)


# Frozen graphs


def test_constants_of_a_graph_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph_of(NETWORK))
    graph = tensorflow_graph.read(path)
    assert_read_as(graph.constants, NETWORK)
    assert list(graph.nodes)[:3] == ["image", "Conv/weights", "Conv/weights/read"]
    assert graph.nodes["Conv/weights/read"] == ("Conv/weights/read", "Identity", ("Conv/weights",))
    assert graph.constant("Conv/weights/read:0") is graph.constants["Conv/weights"]
    assert graph.constant("image") is None
    assert graph.constant("absent") is None


def test_identity_nodes_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pb"
    path.write_bytes(node("a", "Identity", ["b"]) + node("b", "Identity", ["a:0"]))
    assert tensorflow_graph.read(path).constant("a") is None


FLOATS = struct.pack("<3f", 1.5, -2.0, 0.25)
VALUE_FIELDS = {
    "packed floats": ("float32", block(5, FLOATS), [1.5, -2, 0.25]),
    "single floats": ("float32", b"".join(b"\x2d" + FLOATS[i : i + 4] for i in (0, 4, 8)), [1.5, -2, 0.25]),
    "doubles": ("float64", block(6, struct.pack("<3d", 1.5, -2, 0.25)), [1.5, -2, 0.25]),
    "int32": ("int32", block(7, varint(-5) + varint(2**31 - 1) + varint(0)), [-5, 2**31 - 1, 0]),
    "single int32": ("int32", number(7, -5) + number(7, 6) + number(7, 7), [-5, 6, 7]),
    "int8": ("int8", block(7, varint(-128) + varint(127) + varint(-1)), [-128, 127, -1]),
    "uint8": ("uint8", block(7, varint(255) + varint(0) + varint(9)), [255, 0, 9]),
    "int64": ("int64", block(10, varint(-(2**40)) + varint(1) + varint(2)), [-(2**40), 1, 2]),
    "bool": ("bool", block(11, b"\1\0\1"), [True, False, True]),
    "half": ("float16", block(13, varint(0x3E00) + varint(0xC000) + varint(0x3400)), [1.5, -2, 0.25]),
    "bfloat16": ("bfloat16", block(13, varint(0x3FC0) + varint(0xC000) + varint(0x3E80)), [1.5, -2, 0.25]),
    "uint32": ("uint32", block(16, varint(2**32 - 1) + b"\1\2"), [2**32 - 1, 1, 2]),
    "uint64": ("uint64", block(17, varint(2**64 - 1) + b"\1\2"), [2**64 - 1, 1, 2]),
    "the last value fills the rest": ("float32", block(5, FLOATS[:8]), [1.5, -2, -2]),
    "one value fills all": ("float16", block(13, varint(0xC000)), [-2, -2, -2]),
    "no value at all is zeros": ("int64", b"", [0, 0, 0]),
}


@pytest.mark.parametrize("case", VALUE_FIELDS)
def test_repeated_values_are_read_and_filled_up(case: str, tmp_path: Path) -> None:
    kind, values, expected = VALUE_FIELDS[case]
    path = tmp_path / "frozen.pb"
    path.write_bytes(node("x", "Const", value=tensor_message(kind, (3, 1), values=values)))
    found = tensorflow_graph.read(path).constants["x"]
    assert found.dtype == (np.float32 if "float" in kind else np.dtype(kind))
    assert found[:, 0].tolist() == expected
    assert found.shape == (3, 1)
    assert_independent({"x": found})


def test_text_constants_are_nodes_without_values(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pb"
    path.write_bytes(node("message", "Const", value=tensor_message("string", (), values=block(8, "text"))))
    graph = tensorflow_graph.read(path)
    assert (list(graph.nodes), graph.constants) == (["message"], {})


def constant(*arguments: object, **values: bytes) -> bytes:
    return node("x", "Const", value=tensor_message(*arguments, **values))  # type: ignore[arg-type]


GRAPHS_REFUSED = {
    "no node": (number(3, 1), "found no node"),
    "another message": (number(9, 1), "found field 9"),
    "a saved model": (number(1, 1) + block(2, b"\x0a\x00"), "expected a message or string in field 1"),
    "too few bytes": (constant("float32", (2, 2), bytes(15)), "node 'x': expected 16 bytes for float32 [2, 2]"),
    "too many bytes": (constant("float32", (2, 2), bytes(17)), "found 17"),
    "too many values": (constant("float32", (2,), values=block(5, FLOATS)), "expected at most 2 values"),
    "part of a value": (constant("float32", (2,), values=block(5, FLOATS[:7])), "expected whole float32 values"),
    "values of another wire type": (constant("int32", (2,), values=b"\x3d\1\2\3\4"), "found wire type 5"),
    "a negative size": (constant("float32", (-1,)), "expected a shape of sizes from 0 up, found [-1]"),
    "sizes that overflow": (constant("float32", (2**40, 0, 2**40)), "expected a shape"),
    "33 dimensions": (constant("float32", (1,) * 33, bytes(4)), "at most 32 dimensions"),
    "unknown rank": (node("x", "Const", value=number(1, 1) + block(2, number(3, 1))), "unknown rank"),
    "a quantised type": (node("x", "Const", value=number(1, 12)), "node 'x': expected floats, integers"),
    "a type of tomorrow": (node("x", "Const", value=number(1, 99)), "found type code 99"),
    "no value": (node("x", "Const"), "node 'x': expected a constant with a value"),
    "no name": (block(1, block(2, "Const")), "expected a name and an operation"),
    "a name that is no text": (block(1, block(1, b"\xff") + block(2, "Const")), "expected UTF-8 text"),
    "a name of two lines": (node("a\nb", "Placeholder"), "expected printable names"),
    "a node twice": (node("x", "Placeholder") * 2, "found 'x' twice"),
    "a graph with variables": (node("w", "VarHandleOp"), "found 1 variables, such as 'w': their values lie in a"),
    "a small file that fills memory": (constant("float32", (2**28,), values=block(5, FLOATS[:4])), "bytes of tensors"),
    "a double beyond float32": (constant("float64", (), struct.pack("<d", 1e300)), "found 1e+300 in 'x'"),
}


@pytest.mark.parametrize("case", GRAPHS_REFUSED)
def test_graphs_that_cannot_be_read_are_refused(case: str, tmp_path: Path) -> None:
    assert_refused(tensorflow_graph.read, GRAPHS_REFUSED[case][0], tmp_path / "frozen.pb", GRAPHS_REFUSED[case][1])


def test_damaged_graphs_are_read_or_refused(tmp_path: Path) -> None:
    contents = mutations(graph_of(NETWORK), 300, seed=1)
    assert 200 < assert_survives(tensorflow_graph.read, contents, tmp_path / "frozen.pb") < 300


def test_a_graph_cut_inside_a_node_is_refused(tmp_path: Path) -> None:
    content = graph_of({name: NETWORK[name] for name in ("half", "scalar", "int8")})
    whole = {0}
    for field in protobuf.fields(content):
        whole.add(max(whole) + 1 + len(varint(len(field.data))) + len(field.data))
    for length in range(1, len(content)):
        (tmp_path / "cut.pb").write_bytes(content[:length])
        assert (one_line_error(tensorflow_graph.read, tmp_path / "cut.pb") is None) == (length in whole), length


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (graph_of(NETWORK), True),
        (graph_of(NETWORK)[:100], True),  # a truncated file is recognised, so that the error can say what it is
        (node("n" * 300, "Placeholder"), True),
        (b"\n" + bytes(40), False),  # Darknet's weights of a major version 10
        (number(1, 8) + block(2, "pytorch"), False),  # ONNX
        (b"\n\x07\n\x03img\x12\x00", False),
        (b"\nnode {\n", False),
        (b"", False),
    ],
)
def test_a_graph_is_told_from_its_first_node(content: bytes, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.txt"
    path.write_bytes(content)
    assert tensorflow_graph.matches(path, content[:32]) is expected
