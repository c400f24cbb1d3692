"""Checkpoints of hand-made bytes: what is read, and what is refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.mutations import assert_refused, assert_survives, mutations
from tests.tensorflow_files import (
    HEADER,
    NETWORK,
    assert_read_as,
    block,
    entry,
    masked_crc,
    number,
    sealed,
    shape_message,
    table,
    table_block,
    table_of_blocks,
    varint,
    write_checkpoint,
)
from weights_convert.readers import leveldb_table, tensorflow_checkpoint
from weights_convert.readers.crc32c import crc32c, masked_crc32c


def test_crc32c_gives_the_values_of_the_standard() -> None:
    assert [crc32c(data) for data in (b"", bytes(32), bytes([255] * 32), bytes(range(32)))] == [
        0, 0x8A9136AA, 0x62A8AB43, 0x46DD794E,
    ]  # fmt: skip
    assert crc32c(b"123456789") == 0xE3069283
    assert masked_crc32c(b"foo") == masked_crc(b"foo")


def test_a_table_is_read_across_blocks_and_shared_prefixes() -> None:
    items = [(f"layer/{i:03}".encode(), bytes([i])) for i in range(40)]
    assert [(key, bytes(value)) for key, value in leveldb_table.entries(memoryview(table(items)))] == items


@pytest.mark.parametrize("shards", [1, 3])
def test_variables_of_a_checkpoint_are_read_by_name(shards: int, tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "model.ckpt-7", NETWORK, shards)
    assert_read_as(tensorflow_checkpoint.read(index).tensors, NETWORK)


def test_a_checkpoint_is_found_from_any_of_its_names(tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "model.ckpt-7", NETWORK, 2)
    write_checkpoint(tmp_path / "model", {"another": NETWORK["scalar"]})
    paths = [index, tmp_path / "model.ckpt-7", *sorted(tmp_path.glob("model.ckpt-7.data*"))]
    for path in paths:
        assert tensorflow_checkpoint.matches(path, b""), path
        assert_read_as(tensorflow_checkpoint.read(path).tensors, NETWORK)
    index.rename(tmp_path / "renamed")
    for shard in (0, 1):
        (tmp_path / f"model.ckpt-7.data-{shard:05}-of-00002").rename(tmp_path / f"renamed.data-{shard:05}-of-00002")
    assert tensorflow_checkpoint.matches(tmp_path / "renamed", b"")
    assert_read_as(tensorflow_checkpoint.read(tmp_path / "renamed").tensors, NETWORK)


def test_a_saved_models_folder_leads_to_its_variables(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    write_checkpoint(tmp_path / "variables" / "variables", NETWORK)
    assert not tensorflow_checkpoint.matches(tmp_path, b"")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert tensorflow_checkpoint.matches(tmp_path, b"")
    assert_read_as(tensorflow_checkpoint.read(tmp_path).tensors, NETWORK)


@pytest.mark.parametrize("content", [b"", b"short", bytes(100), table([(b"", HEADER)])[:-1]])
def test_other_files_are_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.index"
    path.write_bytes(content)
    assert not tensorflow_checkpoint.matches(path, content[:32])
    assert not tensorflow_checkpoint.matches(tmp_path / "absent", b"")
    assert not tensorflow_checkpoint.matches(tmp_path, b"")


ONE = np.array([1, 2], np.float32)
ONE_ENTRY = entry(ONE, 0)
ITEMS = [(b"", HEADER), (b"w", ONE_ENTRY)]
PLAIN_BLOCK = table_block(ITEMS)


def items(value: bytes, key: bytes = b"w", header: bytes = HEADER) -> bytes:
    return table([(b"", header), (key, value)])


CHECKPOINTS_REFUSED = {
    "a truncated index": (table(ITEMS)[:-1], "expected LevelDB's magic number at the end"),
    "a damaged block": (b"\x01" + table(ITEMS)[1:], "expected the block at byte 0 with CRC"),
    "Snappy": (table_of_blocks([(b"w", PLAIN_BLOCK)], kind=1), "found Snappy compression"),
    "the same keys in two blocks": (
        table_of_blocks([(b"w", PLAIN_BLOCK), (b"x", PLAIN_BLOCK)]),
        "expected keys in ascending order",
    ),
    "keys out of order": (table([(b"", HEADER), (b"w", ONE_ENTRY), (b"a", ONE_ENTRY)]), "ascending order"),
    "a key that grows without end": (items(ONE_ENTRY, b"w" * 1025), "keys of at most 1,024 bytes"),
    "no header": (table([(b"w", ONE_ENTRY)]), "expected a header"),
    "no variable": (table([(b"", HEADER)]), "found no variable"),
    "no data file": (items(ONE_ENTRY, header=number(1, 0)), "expected a header with the number of data files"),
    "a million data files": (items(ONE_ENTRY, header=number(1, 10**6)), "expected a header"),
    "version 1": (items(ONE_ENTRY, header=block(1, b"\x0a\x00")), "found version 1"),
    "big-endian values": (items(ONE_ENTRY, header=HEADER + number(2, 1)), "found big-endian ones"),
    "a partitioned variable": (items(ONE_ENTRY + block(7, b"")), "'w': expected a whole variable"),
    "a part of a variable": (items(ONE_ENTRY, b"\0w\0\1\1\2\x80"), "expected whole variables, found a part of b'w'"),
    "a name that is no text": (items(ONE_ENTRY, b"\xff"), "names in UTF-8"),
    "a name of two lines": (items(ONE_ENTRY, b"a\nb"), "expected printable names"),
    "a data file that is not counted": (items(ONE_ENTRY + number(3, 1)), "expected a data file from 0 to 0, found 1"),
    "a complex type": (items(number(1, 8)), "'w': expected floats, integers or truth values, found type complex64"),
}


@pytest.mark.parametrize("case", CHECKPOINTS_REFUSED)
def test_indices_that_cannot_be_read_are_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "model.data-00000-of-00001").write_bytes(ONE.tobytes())
    content, expected = CHECKPOINTS_REFUSED[case]
    assert_refused(tensorflow_checkpoint.read, content, tmp_path / "model.index", expected)


def test_a_block_listed_twice_is_refused(tmp_path: Path) -> None:
    """A small file whose index leads to one block again and again would take for ever."""
    first = sealed(PLAIN_BLOCK)
    handle = varint(0) + varint(len(PLAIN_BLOCK))
    index = table_block([(b"w", handle), (b"x", handle)], 1)
    footer = (varint(0) + varint(0) + varint(len(first)) + varint(len(index))).ljust(40, b"\0") + leveldb_table.MAGIC
    assert_refused(
        tensorflow_checkpoint.read,
        first + sealed(index) + footer,
        tmp_path / "model.index",
        "found one at byte 0 again",
    )


DATA_REFUSED = {
    "truncated": (NETWORK["scalar"].tobytes()[:3], "expected values from byte 0 to 3, found 0 to 4"),
    "damaged": (b"\0\0\0\0", "expected values with CRC"),
    "empty": (b"", "found an empty file"),
}


@pytest.mark.parametrize("case", DATA_REFUSED)
def test_data_files_that_cannot_be_read_are_refused_by_their_own_name(case: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", {"scalar": NETWORK["scalar"]})
    content, expected = DATA_REFUSED[case]
    assert_refused(tensorflow_checkpoint.read, content, tmp_path / "model.data-00000-of-00001", expected)


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path / "model", NETWORK, 2)
    (tmp_path / "model.data-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"model\.data-00001-of-00002: expected .* found no such file"):
        tensorflow_checkpoint.read(index)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.index: expected a checkpoint's index, found no such file"):
        tensorflow_checkpoint.read(tmp_path / "absent")


def test_values_that_overlap_are_refused(tmp_path: Path) -> None:
    """Many variables of the same bytes would multiply the file."""
    index = tmp_path / "model.index"
    index.write_bytes(table([(b"", HEADER), (b"a", ONE_ENTRY), (b"b", ONE_ENTRY)]))
    (tmp_path / "model.data-00000-of-00001").write_bytes(ONE.tobytes())
    with pytest.raises(InputError, match="'b': expected values from byte 8 to 8, found 0 to 8"):
        tensorflow_checkpoint.read(index)


def test_a_size_that_contradicts_the_shape_is_refused(tmp_path: Path) -> None:
    claimed = number(1, 1) + block(2, shape_message((3,))) + number(5, 8) + b"\x35"
    index = tmp_path / "model.index"
    index.write_bytes(items(claimed + struct.pack("<I", masked_crc(ONE.tobytes()))))
    (tmp_path / "model.data-00000-of-00001").write_bytes(ONE.tobytes())
    with pytest.raises(InputError, match=r"expected 12 bytes for float32 \[3\], found 8"):
        tensorflow_checkpoint.read(index)


def test_damaged_indices_and_data_are_refused(tmp_path: Path) -> None:
    """Checksums leave nothing undetected but bytes between blocks and the second half of the footer's padding."""
    index = write_checkpoint(tmp_path / "model", NETWORK)
    data = tmp_path / "model.data-00000-of-00001"
    content, values = index.read_bytes(), data.read_bytes()
    assert assert_survives(tensorflow_checkpoint.read, mutations(content, 300, seed=2), index) > 250
    index.write_bytes(content)
    changed = [damaged for damaged in mutations(values, 300, seed=3) if damaged[: len(values)] != values]
    assert assert_survives(tensorflow_checkpoint.read, iter(changed), data) == len(changed)


def test_damage_under_a_right_checksum_is_read_or_refused(tmp_path: Path) -> None:
    """Checksums stop accidents, not intent."""

    def read(path: Path) -> None:
        try:
            tensorflow_checkpoint.read(path)
        except InputError as error:  # it may name the data file
            raise InputError(str(error).replace("data-00000-of-00001: ", "index: ", 1)) from None

    tensors = [(b"", HEADER), *((name.encode(), entry(v, 0)) for name, v in sorted(NETWORK.items()))]
    contents = (table_of_blocks([(b"z", damaged)]) for damaged in mutations(table_block(tensors), 300, seed=4))
    (tmp_path / "model.data-00000-of-00001").write_bytes(bytes(1000))
    assert assert_survives(read, contents, tmp_path / "model.index") > 250


def test_a_network_is_published_with_its_averages_and_without_its_optimizer() -> None:
    tensors = {
        name: np.array(i, np.float32)
        for i, name in enumerate(
            [
                "conv/weights",
                "conv/weights/ExponentialMovingAverage",
                "conv/weights/RMSProp",
                "conv/weights/RMSProp_1",
                "conv/biases",
                "conv/biases/Momentum",
                "Momentum",
                "a/layer/called/Adam",
                "Adam/kernel",
                "moving_only/ExponentialMovingAverage",
                "global_step",
                "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE",
                "layer/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE",
                "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
            ]
        )
    }
    published = tensorflow_checkpoint.published_variables(tensors)
    assert {name: int(value) for name, value in published.items()} == {
        "conv/weights": 1,
        "conv/biases": 4,
        "Momentum": 6,
        "a/layer/called/Adam": 7,
        "Adam/kernel": 8,
        "moving_only": 9,
        "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE": 11,
    }
