"""Frozen graphs and checkpoints, byte by byte, without TensorFlow and without the code under test."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.mutations import assert_independent

TYPE_CODES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7, "int64": 9, "bool": 10,
    "bfloat16": 14, "uint16": 17, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
RNG = np.random.default_rng(0)
NETWORK = {
    "Conv/weights": RNG.normal(size=(3, 3, 2, 5)).astype(np.float32),
    "Conv/weights/Momentum": RNG.normal(size=(3, 3, 2, 5)).astype(np.float32),
    "Conv/BatchNorm/gamma": RNG.normal(size=5).astype(np.float32),
    "half": RNG.normal(size=(2, 7)).astype(np.float16),
    "double": RNG.normal(size=3),
    "scalar": np.array(-2.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "global_step": np.array(2**40 + 1, np.int64),
    "int8": np.array([[-128, 127]], np.int8),
    "bool": np.array([True, False]),
}
MAGIC = bytes.fromhex("57fb808b247547db")


def varint(value: int) -> bytes:
    """Encode a number, a negative one in two's complement of 64 bits."""
    value %= 2**64
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def number(field: int, value: int) -> bytes:
    """Encode a field of type varint."""
    return varint(field * 8) + varint(value)


def block(field: int, value: bytes | str) -> bytes:
    """Encode a field of bytes, text, or a message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field * 8 + 2) + varint(len(value)) + value


def shape_message(shape: Sequence[int]) -> bytes:
    """Encode a TensorShapeProto."""
    return b"".join(block(2, number(1, size)) for size in shape)


def tensor_message(kind: str, shape: Sequence[int], content: bytes = b"", values: bytes = b"") -> bytes:
    """Encode a TensorProto; `values` are fields of repeated numbers, encoded."""
    head = number(1, TYPE_CODES[kind]) + block(2, shape_message(shape))
    return head + (block(4, content) if content else b"") + values


def node(name: str, op: str, inputs: Sequence[str] = (), value: bytes | None = None) -> bytes:
    """Encode one node of a GraphDef, with a TensorProto as its attribute `value`."""
    message = block(1, name) + block(2, op) + b"".join(block(3, text) for text in inputs)
    if value is not None:
        message += block(5, block(1, "dtype") + block(2, number(6, 1)))
        message += block(5, block(1, "value") + block(2, block(8, value)))
    return block(1, message)


def graph_of(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Encode a graph of constants, each with the Identity node that a variable's reading becomes when it is frozen."""
    nodes = [node("image", "Placeholder")]
    for name, values in tensors.items():
        nodes.append(node(name, "Const", value=tensor_message(values.dtype.name, values.shape, values.tobytes())))
        nodes.append(node(f"{name}/read", "Identity", [name]))
    return b"".join(nodes) + block(4, number(1, 1882))


def _remainder(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


REMAINDERS = [_remainder(octet) for octet in range(256)]


def masked_crc(data: bytes) -> int:
    """Return CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ REMAINDERS[(crc ^ octet) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def table_block(items: Sequence[tuple[bytes, bytes]], interval: int = 4) -> bytes:
    """Encode a block of a table; every `interval` keys one is written whole."""
    octets, restarts, before = b"", [], b""
    for i, (key, value) in enumerate(items):
        if i % interval == 0:
            restarts.append(len(octets))
            before = b""
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        octets += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return octets + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def sealed(octets: bytes, kind: int = 0) -> bytes:
    """Return a block with its type and checksum."""
    octets += bytes([kind])
    return octets + struct.pack("<I", masked_crc(octets))


def table_of_blocks(blocks: Sequence[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """Put blocks, each after the last of its keys, into a table with its index and footer."""
    octets, index = b"", []
    for last_key, data in blocks:
        index.append((last_key, varint(len(octets)) + varint(len(data))))
        octets += sealed(data, kind)
    handles = b""
    for data in (table_block([]), table_block(index, 1)):
        handles += varint(len(octets)) + varint(len(data))
        octets += sealed(data)
    return octets + handles.ljust(40, b"\0") + MAGIC


def table(items: Sequence[tuple[bytes, bytes]], per_block: int = 3) -> bytes:
    """Encode a table of several blocks."""
    parts = [items[i : i + per_block] for i in range(0, len(items), per_block)]
    return table_of_blocks([(part[-1][0], table_block(part)) for part in parts])


HEADER = number(1, 1) + block(3, number(1, 1))


def entry(values: np.ndarray, offset: int, shard: int = 0) -> bytes:
    """Encode a BundleEntryProto."""
    message = number(1, TYPE_CODES[values.dtype.name]) + block(2, shape_message(values.shape))
    message += (number(3, shard) if shard else b"") + (number(4, offset) if offset else b"")
    return message + number(5, values.nbytes) + b"\x35" + struct.pack("<I", masked_crc(values.tobytes()))


def write_checkpoint(prefix: Path, tensors: Mapping[str, np.ndarray], shards: int = 1) -> Path:
    """Write a checkpoint whose variables go to the data files in turn; return the index."""
    data = [b""] * shards
    items = [(b"", number(1, shards) + block(3, number(1, 1)))]
    for i, (name, values) in enumerate(sorted(tensors.items())):
        items.append((name.encode(), entry(values, len(data[i % shards]), i % shards)))
        data[i % shards] += values.tobytes()
    for shard, octets in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{shards:05}").write_bytes(octets)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(items))
    return index


def as_read(values: np.ndarray) -> np.ndarray:
    """Return what a reader makes of stored values."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def assert_read_as(tensors: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Hold that names, types, shapes and values are the expected ones, in arrays of their own."""
    assert set(tensors) == set(expected)
    for name, values in expected.items():
        assert tensors[name].dtype == as_read(values).dtype, name
        np.testing.assert_array_equal(tensors[name], as_read(values), strict=True)
    assert_independent(tensors)
