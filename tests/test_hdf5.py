"""The reader of HDF5: the same as h5py on what h5py writes, and an end of every damaged file."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pure_detect.errors import InputError
from pure_detect.hdf5 import DamagedError, Dataset, Group, checked, datasets, open_hdf5
from pure_detect.hdf5.file import Item
from tests import tiny_networks as tiny

RNG = np.random.default_rng(3)
DTYPES = ["<f2", "<f4", "<f8", ">f4", ">f8", "i1", "<i2", ">i4", "<i8", "u1", ">u2", "<u4", "<u8", "?"]
SHAPES = [(), (1,), (3, 2), (2, 3, 1, 4), (0, 5)]
ATTRIBUTES = {
    "text": "grün\nand more",
    "empty": "",
    "bytes": np.bytes_(b"fixed"),
    "names": [b"a", b"longer", b""],
    "any length": np.array(["x", "", "yy"], h5py.string_dtype()),
    "number": 7,
    "half": np.float16(0.1),
    "numbers": np.arange(6, dtype=">i4").reshape(2, 3),
    "true": True,
}


def write(path: Path, fill: Callable[[h5py.File], Any], **options: Any) -> Path:
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return path


def value_of(attribute: Any) -> Any:
    return attribute.texts() if attribute.is_text else attribute.numbers()


def expected_of(value: Any) -> Any:
    """Return h5py's value of an attribute as ours: texts in one list, numbers as arrays."""
    flat = np.asarray(value, object).ravel() if isinstance(value, np.ndarray) and value.dtype.kind in "OS" else [value]
    if isinstance(flat[0], (str, bytes)):
        return [text.decode() if isinstance(text, bytes) else text for text in flat]
    return np.asarray(value)


def assert_same(ours: Item, theirs: Any) -> None:
    """Hold that groups, datasets and attributes are those that h5py finds."""
    assert set(ours.attributes) == set(theirs.attrs)
    for name, value in theirs.attrs.items():
        np.testing.assert_array_equal(value_of(ours.attributes[name]), expected_of(value), strict=True)
    if isinstance(ours, Group):
        assert list(ours.links) == list(theirs)
        for name in ours.links:
            assert_same(ours.open(name), theirs[name])
    else:
        assert isinstance(ours, Dataset)
        read = checked(ours.name, ours).read()
        np.testing.assert_array_equal(read, theirs[...], strict=True)
        assert read.flags.writeable


def every_kind(file: h5py.File) -> None:
    for i, dtype in enumerate(DTYPES):
        for j, shape in enumerate(SHAPES):
            file[f"{i // 7}/{i % 7}/{j}"] = RNG.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
    for number, group in enumerate((file, file["0"], file["0/1/0"])):
        for name, value in list(ATTRIBUTES.items())[number * 3 : number * 3 + 8]:
            group.attrs[name] = value


@pytest.mark.parametrize("libver", [None, "earliest", "v110", "latest"])
def test_values_shapes_types_and_attributes_are_those_that_h5py_finds(libver: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", every_kind, libver=libver)
    with h5py.File(path) as theirs:
        assert_same(open_hdf5(path), theirs)


@pytest.mark.parametrize("count", [9, 1000])
def test_groups_of_any_size_are_read_whole_and_in_order(count: int, tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        for i in RNG.permutation(count):
            file[f"group/{i}"] = np.float32(i)

    path = write(tmp_path / "x.h5", fill)
    with h5py.File(path) as theirs:
        assert_same(open_hdf5(path), theirs)


def test_names_beyond_ascii_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", lambda file: file.create_dataset("größe/日本", data=KERNEL))
    with h5py.File(path) as theirs:
        assert_same(open_hdf5(path), theirs)


def test_what_was_changed_later_is_read_as_it_is_now(tmp_path: Path) -> None:
    """Headers are then in several blocks, with gaps between their messages."""
    path = write(tmp_path / "x.h5", every_kind)
    for round_ in range(4):
        with h5py.File(path, "a") as file:
            for i in range(12):
                file.attrs[f"{i}"] = "x" * (1 << (round_ + i % 3))
            del file[f"0/{round_}"]
            file[f"0/new{round_}"] = RNG.random(50)
            file["0"].attrs[f"more{round_}"] = np.arange(100 * round_)
    with h5py.File(path) as theirs:
        assert_same(open_hdf5(path), theirs)


def test_values_within_the_object_header_are_read(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 3))
        h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, plan).write(h5py.h5s.ALL, h5py.h5s.ALL, KERNEL)

    path = write(tmp_path / "x.h5", fill)
    ((_, found),) = datasets(open_hdf5(path))
    np.testing.assert_array_equal(found.read(), KERNEL, strict=True)


KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        (np.dtype([("a", "f4")]), "compounds"),
        (h5py.ref_dtype, "references"),
        (h5py.opaque_dtype(np.dtype("M8[s]")), "opaque bytes"),
        (np.dtype("S4"), "texts"),
        (h5py.string_dtype(), "texts"),
        (h5py.vlen_dtype(np.float32), "lists"),
        (np.dtype(("f4", (3,))), "arrays"),
    ],
    ids=["compound", "reference", "opaque", "fixed", "any length", "list", "array"],
)
def test_a_type_that_weights_do_not_have_is_refused_by_name(dtype: np.dtype, found: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", lambda file: file.create_dataset("x", (2,), dtype))
    with pytest.raises(InputError, match=f"expected numbers in 'x', found {found}"):
        list(datasets(open_hdf5(path)))


def test_floating_point_numbers_that_are_none_of_ieee_are_refused(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        bfloat16 = h5py.h5t.IEEE_F32LE.copy()
        bfloat16.set_fields(15, 7, 8, 0, 7)
        bfloat16.set_size(2)
        h5py.h5d.create(file.id, b"x", bfloat16, h5py.h5s.create_simple((2,))).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(2, np.float32)
        )

    path = write(tmp_path / "x.h5", fill)
    with pytest.raises(InputError, match="found floating-point numbers of unusual bits"):
        list(datasets(open_hdf5(path)))


class TestHostile:
    def refused(self, content: bytes, folder: Path, expected: str) -> None:
        (folder / "x.h5").write_bytes(content)
        with pytest.raises(DamagedError, match=expected):
            list(datasets(open_hdf5(folder / "x.h5")))

    def test_a_tree_that_leads_back_to_itself_is_refused(self, tmp_path: Path) -> None:
        def fill(file: h5py.File) -> None:
            for i in range(2000):
                file.create_group(f"{i}")

        content = bytearray(write(tmp_path / "x.h5", fill).read_bytes())
        root = next(at for at in _places(content, b"TREE") if content[at + 5] == 1)  # a node above the leaves
        struct.pack_into("<Q", content, root + 32, root)
        self.refused(bytes(content), tmp_path, r"expected a tree, found its node at byte \d.* twice")

    def test_texts_that_overlap_until_they_fill_the_memory_are_refused(self, tmp_path: Path) -> None:
        """One text of a megabyte in the file, and 4,000 attribute values that are all this one."""

        def fill(file: h5py.File) -> None:
            file.attrs["texts"] = np.array(["x" * 1_234_567] + ["y"] * 3999, h5py.string_dtype())

        content = bytearray(write(tmp_path / "x.h5", fill).read_bytes())
        first = content.index(struct.pack("<I", 1_234_567), content.index(b"texts\0"))
        content[first : first + 16 * 4000] = content[first : first + 16] * 4000
        (tmp_path / "x.h5").write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(DamagedError, match="expected texts shorter than the file"):
                open_hdf5(tmp_path / "x.h5").attributes["texts"].texts()
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()

    def test_a_header_that_continues_in_itself_is_refused(self, tmp_path: Path) -> None:
        def fill(file: h5py.File) -> None:
            file["x"] = KERNEL
            for i in range(3):
                file["x"].attrs[f"long{i}"] = np.zeros(100)

        with h5py.File(write(tmp_path / "x.h5", fill, libver="latest")) as file:
            header = h5py.h5o.get_info(file["x"].id).addr
        content = bytearray((tmp_path / "x.h5").read_bytes())
        at = content.index(b"\x10\x10\x00\x00", header) + 4  # a continuation message: its kind, 16 bytes, no flags
        (block,) = struct.unpack_from("<Q", content, at)
        assert content[block : block + 4] == b"OCHK"
        itself = struct.pack("<QQ", block, 28)  # mark, this one message, check sum
        content[at : at + 16] = itself
        content[block + 4 : block + 24] = b"\x10\x10\x00\x00" + itself
        self.refused(bytes(content), tmp_path, "found one without end")

    def test_any_byte_changed_gives_a_result_or_a_one_line_error(self, tmp_path: Path) -> None:
        path = tiny.detector_file(tmp_path)
        content = path.read_bytes()
        places, refused = range(0, len(content), 5), 0
        for at in places:
            damaged = bytearray(content)
            damaged[at] ^= 0xFF if at % 2 else 1 << at % 8
            path.write_bytes(damaged)
            refused += _refused(path)
        assert refused > 0.08 * len(places)


def _refused(path: Path) -> bool:
    try:
        _read_all(open_hdf5(path))
    except InputError as error:
        return str(error).isprintable()
    return False


def _read_all(item: Item) -> None:
    for attribute in item.attributes.values():
        value_of(attribute)
    for _, dataset in datasets(item) if isinstance(item, Group) else []:
        dataset.read()


def _places(content: bytes | bytearray, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found
