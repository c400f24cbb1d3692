"""Weight files made to do harm: each refused in one line by what is wrong, before anything is read or opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pure_detect.errors import InputError
from pure_detect.loading import read_header_network
from pure_detect.weights import read_header, read_parameters
from tests import tiny_networks as tiny

WEIGHT = "parameters/layer001/conv/weight"
SHAPE = (6, 4, 1, 1)
SECRET = np.full(SHAPE, 7, np.float32)


@pytest.fixture
def h5(tmp_path: Path) -> Path:
    return tiny.model_file(tmp_path, tiny.NORMED, tiny.NORMED_VALUES)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a file beside it, whose values must not come out."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = SECRET
        file.create_group("parameters")
    SECRET.tofile(tmp_path / "raw.bin")
    return path


def external_link(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file[WEIGHT] = h5py.ExternalLink(str(other), "/secret")


def external_parameters(file: h5py.File, other: Path) -> None:
    del file["parameters"]
    file["parameters"] = h5py.ExternalLink(str(other), "/parameters")


def soft_link(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file[WEIGHT] = h5py.SoftLink("/parameters/layer000/conv/weight")


def external_storage(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    raw = str(other.with_name("raw.bin"))
    file.create_dataset(WEIGHT, SHAPE, np.float32, external=[(raw, 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[...] = h5py.VirtualSource(str(other), "secret", SHAPE)
    file.create_virtual_dataset(WEIGHT, layout)


def compressed(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, data=SECRET, compression="gzip")


def larger_than_the_file(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (1 << 40,), np.float32)


def in_chunks(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (1 << 40,), np.float32, chunks=(1 << 20,))


def type_of_its_own(file: h5py.File, other: Path) -> None:
    file["type"] = np.dtype("f4")
    del file[WEIGHT]
    file.create_dataset(WEIGHT, SHAPE, file["type"], data=SECRET)


def many_links_elsewhere(file: h5py.File, other: Path) -> None:
    """More than eight, and HDF5 gives the group an index."""
    for i in range(9):
        file[f"parameters/link{i}"] = h5py.ExternalLink(str(other), "/secret")


def named_type(file: h5py.File, other: Path) -> None:
    file["parameters/type"] = np.dtype("f8")


def compound(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file[WEIGHT] = np.zeros(SHAPE, [("a", "f4"), ("b", "i4")])


def references(file: h5py.File, other: Path) -> None:
    del file[WEIGHT]
    file.create_dataset(WEIGHT, (6,), h5py.ref_dtype)


def circle(file: h5py.File, other: Path) -> None:
    file["parameters/again"] = file["parameters"]


def deep(file: h5py.File, other: Path) -> None:
    file.create_group("parameters" + "/again" * 20)


Change = Callable[[h5py.File, Path], None]
PARAMETER_CASES: list[tuple[Change, str]] = [
    (external_link, r"found a link elsewhere \(ExternalLink\)"),
    (external_parameters, r"found a link elsewhere \(ExternalLink\)"),
    (soft_link, r"found a link elsewhere \(SoftLink\)"),
    (external_storage, "found them stored outside"),
    (virtual, "found them stored outside"),
    (compressed, "found it compressed"),
    (larger_than_the_file, r"expected 4,398,046,511,104 bytes of values of .*, found 0"),
    (in_chunks, "in one piece, found chunks"),
    (type_of_its_own, "expected the type of '/parameters/layer001/conv/weight' with it, found it shared"),
    (many_links_elsewhere, "found one with an index of HDF5 1.8"),
    (named_type, "as a Group or Dataset, found a Datatype"),
    (compound, "expected numbers in "),
    (references, "expected numbers in "),
    (circle, "expected every group under one name, found another one"),
    (deep, "expected groups at most 16 deep"),
]


@pytest.mark.parametrize(("change", "message"), PARAMETER_CASES, ids=lambda case: getattr(case, "__name__", None))
def test_parameters_from_elsewhere_or_of_another_kind_are_refused(
    change: Change, message: str, h5: Path, other: Path
) -> None:
    graph = read_header_network(h5).build()
    with h5py.File(h5, "r+") as file:
        change(file, other)
    with pytest.raises(InputError, match=message) as caught:
        read_parameters(h5, graph)
    assert str(caught.value).startswith(f"{h5}: ")
    assert "\n" not in str(caught.value)


ATTRIBUTES = {
    "model": np.zeros(1 << 12),
    "labels": np.zeros((3, 3), "S4"),
    "cfg": np.zeros((), [("a", "f4")]),
    "layout_version": np.ones(1 << 12, np.int64),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_that_is_not_one_text_or_number_is_refused(name: str, h5: Path) -> None:
    with h5py.File(h5, "r+") as file:
        del file.attrs[name]
        file.attrs[name] = ATTRIBUTES[name]
    with pytest.raises(InputError, match=f"found .*'{name}' with .* not one text or number"):
        read_header(h5)


def test_a_file_with_something_in_front_is_refused_unopened(h5: Path) -> None:
    h5.write_bytes(bytes(512) + h5.read_bytes())
    with pytest.raises(InputError, match="found another format"):
        read_header(h5)
