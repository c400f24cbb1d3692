"""Keras's .h5 in its layouts, made with h5py; files that Keras writes are in `parity/test_readers_frameworks.py`."""

from __future__ import annotations

import struct
import tracemalloc

import h5py
import numpy as np
import pytest

from tests.mutations import assert_independent, assert_refused, assert_survives, mutations, one_line_error
from weights_convert.readers.keras import matches, read

KERNEL = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4) - 7
GAMMA = np.array([1.0, -2.0], np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.bin"


def add_layer(group, layer, weights):
    """Write a layer as Keras does: weights by their stored paths."""
    member = group.require_group(layer)
    member.attrs["weight_names"] = [name.encode() for name in weights]
    for name, values in weights.items():
        member.create_dataset(name, data=values)


def write(path, layers, inside="/"):
    """Write a file of layers: {layer: {stored path: values}}."""
    with h5py.File(path, "w") as file:
        group = file.require_group(inside)
        group.attrs["layer_names"] = [layer.encode() for layer in layers]
        group.attrs["keras_version"] = b"2.15.0"
        for layer, weights in layers.items():
            add_layer(group, layer, weights)
    return path


LAYERS = {
    "input": {},
    "conv": {"conv/kernel:0": KERNEL, "conv/bias:0": KERNEL[0, 0, 0]},
    "Conv/BatchNorm": {"Conv/BatchNorm/gamma:0": GAMMA},
}


@pytest.mark.parametrize("inside", ["/", "model_weights"], ids=["weights", "model"])
def test_weights_are_read_by_layer_and_name_in_order(path, inside):
    found = read(write(path, LAYERS, inside))
    assert list(found) == ["conv/kernel:0", "conv/bias:0", "Conv/BatchNorm/gamma:0"]
    np.testing.assert_array_equal(found["conv/kernel:0"], KERNEL, strict=True)
    np.testing.assert_array_equal(found["conv/bias:0"], KERNEL[0, 0, 0], strict=True)
    np.testing.assert_array_equal(found["Conv/BatchNorm/gamma:0"], GAMMA, strict=True)
    assert_independent(found)


@pytest.mark.parametrize(
    ("layer", "stored", "name"),
    [
        ("conv", "conv/kernel:0", "conv/kernel:0"),  # Keras 2
        ("conv", "conv/kernel", "conv/kernel:0"),  # Keras 3
        ("conv", "kernel:0", "conv/kernel:0"),
        ("conv", "conv_1/kernel:0", "conv/conv_1/kernel:0"),
        ("inner", "Conv/BatchNorm/gamma:0", "inner/Conv/BatchNorm/gamma:0"),  # Keras 2's model in a model
        ("inner", "inner/d1/kernel", "inner/d1/kernel:0"),  # Keras 3's
        ("top_level_model_weights", "scale:0", "scale:0"),
    ],
)
def test_a_name_is_layer_slash_weight_whichever_way_it_is_stored(path, layer, stored, name):
    assert list(read(write(path, {layer: {stored: GAMMA}}))) == [name]


def test_weights_of_no_layer_are_read_though_no_layer_is_named_so(path):
    write(path, LAYERS)
    with h5py.File(path, "a") as file:
        add_layer(file, "top_level_model_weights", {"scale": GAMMA})
    assert list(read(path))[-1] == "scale:0"


def test_a_list_of_names_split_into_parts_is_put_together(path):
    names = [f"layer{i}" for i in range(5)]
    with h5py.File(path, "w") as file:
        for i, part in enumerate((names[:2], names[2:4], names[4:])):
            file.attrs[f"layer_names{i}"] = [name.encode() for name in part]
        for name in names:
            member = file.create_group(name)
            member.attrs["weight_names0"] = [f"{name}/a:0".encode()]
            member.attrs["weight_names1"] = [f"{name}/b:0".encode()]
            member[f"{name}/a:0"] = member[f"{name}/b:0"] = GAMMA
    assert list(read(path)) == [f"{name}/{weight}:0" for name in names for weight in "ab"]
    with open(path, "rb") as file:
        assert matches(path, file.read(512))


def test_names_of_any_length_are_read_as_names_of_fixed_length(path):
    write(path, LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = np.array(["input", "conv"], h5py.string_dtype())
    assert list(read(path)) == ["conv/kernel:0", "conv/bias:0"]


@pytest.mark.parametrize(
    ("number", "length"), [(0, 0), (1, 2**64 - 1), (1, 2**64 - 24)], ids=["of no length", "endless", "that leads back"]
)
def test_a_heap_of_names_that_hdf5s_library_would_follow_for_ever_is_refused(path, number, length):
    write(path, LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = np.array(["input", "conv"], h5py.string_dtype())
    content = path.read_bytes()
    at = content.index(b"GCOL") + 16
    damaged = content[:at] + struct.pack("<HHIQ", number, 0, 0, length) + content[at + 16 :]
    assert_refused(read, damaged, path, "expected an object of a global heap")
    beyond = content[: at - 8] + struct.pack("<Q", 1 << 40) + content[at:]
    assert_refused(read, beyond, path, "expected a global heap of 1,099,511,627,776 bytes")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GAMMA.astype("f2"), GAMMA),
        (GAMMA.astype("f8"), GAMMA),
        (GAMMA.astype(">f4"), GAMMA),
        (np.array(7, "i8"), np.array(7, np.int64)),
        (np.array([1, -2], ">i4"), np.array([1, -2], np.int32)),
        (np.array([True, False]), np.array([True, False])),
        (np.float32(3), np.array(3, np.float32)),
        (np.zeros((0, 3), "f4"), np.zeros((0, 3), np.float32)),
    ],
    ids="float16 float64 big-endian int64 int32 bool scalar empty".split(),
)
def test_floats_become_float32_and_integers_stay(path, stored, expected):
    found = read(write(path, {"layer": {"x:0": stored}}))
    np.testing.assert_array_equal(found["layer/x:0"], expected, strict=True)
    assert_independent(found)


def with_dataset(path, make):
    """Write a file whose only weight `layer/x:0` is made by `make(group, name)`."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"layer"]
        file.create_group("layer").attrs["weight_names"] = [b"x:0"]
        make(file["layer"], "x:0")
    return path.read_bytes()


def external(group, name):
    group.create_dataset(name, (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(group, name):
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    group.create_virtual_dataset(name, layout)


def set_link(link):
    return lambda group, name: group.__setitem__(name, link)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (external, "expected the values of 'layer/x:0' in this file, found them stored outside"),
        (virtual, "expected the values of 'layer/x:0' in this file, found them stored outside"),
        (set_link(h5py.ExternalLink("/etc/passwd", "x")), "found a link elsewhere (ExternalLink)"),
        (set_link(h5py.SoftLink("/layer/y")), "found a link elsewhere (SoftLink)"),
        (lambda group, name: None, "expected 'x:0' in '/layer', found nothing"),
        (lambda group, name: group.create_group(name), "as a Dataset, found a Group"),
        (lambda group, name: group.create_dataset(name, data="text"), "expected numbers in 'layer/x:0', found texts"),
        (lambda group, name: group.create_dataset(name, data=np.ones(2, "c8")), "expected numbers in 'layer/x:0'"),
        (lambda group, name: group.create_dataset(name, dtype="f4", data=h5py.Empty("f4")), "expected numbers in"),
        (
            lambda group, name: group.create_dataset(name, data=np.zeros(1 << 20), compression="gzip"),
            "stored as it is, found it compressed",
        ),
        (
            lambda group, name: group.create_dataset(name, (1 << 40,), "f4", chunks=(1 << 20,)),
            "expected 'layer/x:0' in one piece, found chunks",
        ),
        (
            lambda group, name: group.create_dataset(name, (1 << 40,), "f4"),
            "expected 4,398,046,511,104 bytes of values of 'layer/x:0', found 0",
        ),
        (lambda group, name: group.create_dataset(name, (0, 1 << 60), "f4"), "bytes of tensors in"),
        (lambda group, name: group.create_dataset(name, data=[1e300]), "expected values within float32"),
    ],
    ids=[
        *"external virtual external-link soft-link nothing group text complex null gzip".split(),
        "chunks",
        "unwritten",
        "empty",
        "double",
    ],
)
def test_values_that_are_not_numbers_in_this_file_are_refused_without_taking_memory(path, make, expected):
    content = with_dataset(path, make)
    tracemalloc.start()
    try:
        assert_refused(read, content, path, expected)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_group_behind_an_external_link_is_refused(path, tmp_path):
    write(tmp_path / "other.h5", LAYERS, "model_weights")
    with h5py.File(path, "w") as file:
        file["model_weights"] = h5py.ExternalLink("other.h5", "model_weights")
    assert "found a link elsewhere (ExternalLink)" in one_line_error(read, path)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file["conv"] = h5py.ExternalLink("other.h5", "model_weights/conv")
    assert "found a link elsewhere (ExternalLink)" in one_line_error(read, path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([b"absent"], "expected 'absent' in '/', found nothing"),
        ([b"."], "found nothing"),
        ([b"/conv"], "found nothing"),
        ([b"a\nb"], "expected printable names"),
        ([b"\xff"], "expected printable names"),
        ([b"conv", b"conv"], "expected every weight once, found 'conv/kernel:0' twice"),
        ([1, 2], "expected layer_names as a list of names"),
        (3, "expected layer_names as a list of at most 65,536 names, found shape ()"),
        ([[b"conv"]], "found shape (1, 1)"),
    ],
    ids=str,
)
def test_names_that_lead_nowhere_are_refused(path, names, expected):
    write(path, LAYERS)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = names
    assert expected in one_line_error(read, path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected an HDF5 file, found an empty file"),
        (b"PK\x03\x04" + bytes(100), "found a damaged or other file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(1000), "found a damaged or other file"),
    ],
    ids=["empty", "zip", "magic"],
)
def test_another_file_is_refused(path, content, expected):
    assert_refused(read, content, path, expected)


def test_a_truncated_file_is_refused(path):
    content = write(path, LAYERS).read_bytes()
    assert_refused(read, content[:-200], path, "found a damaged or other file")


@pytest.mark.parametrize("missing", ["missing.h5", ""], ids=["nothing", "folder"])
def test_a_path_that_is_no_file_is_refused(tmp_path, missing):
    assert "expected Keras weights" in one_line_error(read, tmp_path / missing)


def test_keras_3s_own_format_is_refused_by_name(path):
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = KERNEL
    assert matches(path, path.read_bytes()[:512])
    assert "found Keras 3's .weights.h5, which names no weights" in one_line_error(read, path)


def test_the_content_tells_the_format_not_the_name(path):
    for inside in ("/", "model_weights"):
        assert matches(write(path, LAYERS, inside), path.read_bytes()[:512])
    with h5py.File(path, "w") as file:  # a weight file of ours, which a layer of that name does not change
        file.attrs["layout_version"] = 1
        file.attrs["layer_names"] = [b"a"]
    assert not matches(path, path.read_bytes()[:512])
    with h5py.File(path, "w") as file:
        file["x"] = KERNEL
    assert not matches(path, path.read_bytes()[:512])
    assert "found another HDF5 file" in one_line_error(read, path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    assert not matches(path, path.read_bytes()[:512])
    assert not matches(path, b"PK\x03\x04")


def test_a_list_of_names_of_an_unknown_kind_is_refused(path):
    """HDF5's library 1.14 reads them from nowhere, and crashes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(["conv"], h5py.string_dtype())
        file.create_group("conv").attrs["weight_names"] = np.array(["kernel:0"], h5py.string_dtype())
    content = path.read_bytes()
    variable_length = b"weight_names\0\0\0\0\x19\x01"  # the list's name, then its type: class 9, of kind 1, text
    assert content.count(variable_length) == 1
    assert_refused(
        read, content.replace(variable_length, variable_length[:-1] + b"\x0a"), path, "a list of names, found lists"
    )


@pytest.mark.parametrize("inside", ["/", "model_weights"], ids=["weights", "model"])
def test_damaged_files_give_a_result_or_a_one_line_error(path, inside):
    content = write(path, LAYERS, inside).read_bytes()
    assert assert_survives(read, mutations(content, 300, 0), path) > 60
