"""PyTorch's files, made by hand; those that PyTorch writes itself are in `parity/test_readers_frameworks.py`."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from tests.mutations import assert_independent, assert_refused, assert_survives, mutations
from tests.torch_files import (
    MAGIC,
    ORDERED_DICT,
    Raw,
    called,
    legacy_file,
    named,
    opcodes,
    parameter,
    pickled,
    storage,
    tensor,
    zip_file,
)
from weights_convert.readers.pytorch import matches, read

FLOATS = np.array([1.5, -2.25, 3.0, 4.0, -0.0, 6.0], "<f4")
TWO_BY_THREE = tensor(storage("0", "Float", 6), 0, (2, 3), (3, 1))
HONEST = pickled({"conv.weight": TWO_BY_THREE})


@pytest.fixture(params=["zip", "legacy"])
def write(request, tmp_path):
    """Return a function that writes {name: opcodes} and its storages in one of the two formats."""

    def write_file(value, storages, name="weights.bin"):
        path = tmp_path / name
        content = pickled(value)
        used = {key: array for key, array in storages.items() if opcodes(key) in content}
        if request.param == "zip":
            path.write_bytes(zip_file(content, {key: array.tobytes() for key, array in used.items()}))
        else:
            data = {key: (array.size, array.tobytes()) for key, array in used.items()}
            path.write_bytes(legacy_file(content, data))
        return path

    return write_file


def test_a_state_dict_is_read_by_name_in_order(write):
    found = read(write({"b": TWO_BY_THREE, "a": parameter(TWO_BY_THREE)}, {"0": FLOATS}))
    assert list(found) == ["b", "a"]
    for array in found.values():
        np.testing.assert_array_equal(array, FLOATS.reshape(2, 3))
        assert np.signbit(array[1, 1])
    assert_independent(found)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (3, 2), (1, 3)),  # a transpose
        (1, (2, 2), (3, 1)),  # a part
        (2, (), ()),
        (5, (1, 1), (7, 9)),  # strides of axes of length 1 mean nothing
        (0, (2, 3), (0, 1)),  # an expanded axis
        (0, (0, 3), (3, 1)),
        (6, (2, 0), (1, 1)),
    ],
    ids=["transpose", "part", "no axes", "odd strides", "expanded", "empty", "empty at the end"],
)
def test_a_view_of_a_storage_is_numpys_view(write, offset, shape, strides):
    found = read(write({"x": tensor(storage("0", "Float", 6), offset, shape, strides)}, {"0": FLOATS}))
    expected = np.lib.stride_tricks.as_strided(FLOATS[offset:], shape, [4 * s for s in strides])
    np.testing.assert_array_equal(found["x"], expected, strict=True)
    assert_independent(found)


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("Half", np.array([1, -0.5, 65504], "<f2"), np.array([1, -0.5, 65504], np.float32)),
        ("Double", np.array([1, -0.1, 3e38], "<f8"), np.array([1, -0.1, 3e38], np.float32)),
        ("BFloat16", np.array([0x3F80, 0xBF00, 0x7F80], "<u2"), np.array([1, -0.5, np.inf], np.float32)),
        ("Long", np.array([1, -(2**60), 3], "<i8"), np.array([1, -(2**60), 3], np.int64)),
        ("Int", np.array([1, -2, 3], "<i4"), np.array([1, -2, 3], np.int32)),
        ("Short", np.array([1, -2, 3], "<i2"), np.array([1, -2, 3], np.int16)),
        ("Char", np.array([1, -2, 3], "i1"), np.array([1, -2, 3], np.int8)),
        ("Byte", np.array([1, 255, 3], "u1"), np.array([1, 255, 3], np.uint8)),
        ("Bool", np.array([1, 0, 1], "u1"), np.array([True, False, True])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_floats_become_float32_and_integers_stay(write, kind, stored, expected):
    views = {"all": tensor(storage("0", kind, 3), 0, (3,), (1,)), "one": tensor(storage("0", kind, 3), 1, (), ())}
    found = read(write(views, {"0": stored}))
    np.testing.assert_array_equal(found["all"], expected, strict=True)
    np.testing.assert_array_equal(found["one"], expected[1], strict=True)
    assert_independent(found)


def test_a_double_outside_float32_is_refused(write):
    path = write({"x": tensor(storage("0", "Double", 1), 0, (1,), (1,))}, {"0": np.array([1e300])})
    assert_refused(read, path.read_bytes(), path, "expected values within float32, found 1e+300 in 'x'")


def test_big_endian_records_are_swapped(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(zip_file(HONEST, {"0": FLOATS.astype(">f4").tobytes()}, {"byteorder": b"big"}))
    np.testing.assert_array_equal(read(path)["conv.weight"], FLOATS.reshape(2, 3))
    wrong = zip_file(HONEST, {"0": FLOATS.tobytes()}, {"byteorder": b"middle"})
    assert_refused(read, wrong, path, "expected the byte order little or big, found 'middle'")


def test_a_storage_view_of_the_old_legacy_format_is_read(tmp_path):
    path = tmp_path / "weights.pth"
    view = storage("0", "Float", 6, ("1", 2, 3))
    path.write_bytes(legacy_file(pickled({"x": tensor(view, 1, (2,), (1,))}), {"0": (6, FLOATS.tobytes())}))
    np.testing.assert_array_equal(read(path)["x"], FLOATS[3:5])
    beyond = legacy_file(pickled({"x": tensor(view, 2, (2,), (1,))}), {"0": (6, FLOATS.tobytes())})
    assert_refused(read, beyond, path, "expected a tensor within its storage of 5 elements, found element 5")


def test_the_metadata_of_a_state_dict_is_left_out(write):
    filled = Raw(ORDERED_DICT.opcodes + opcodes("w") + TWO_BY_THREE.opcodes + b"s")
    with_state = Raw(filled.opcodes + opcodes({"_metadata": {"": {"version": 1}}}) + b"b")
    assert list(read(write(with_state, {"0": FLOATS}))) == ["w"]


ONES = tensor(storage("1", "Float", 1), 0, (1,), (1,))
ONES_AS_INTEGERS = tensor(storage("1", "Int", 1), 0, (1,), (1,))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"state_dict": {"w": ONES}, "optimizer": {"state": {0: {"step": 3}}}, "epoch": 7, "lr": 0.1}, "w"),
        ({"model": {"w": ONES}, "best": TWO_BY_THREE}, "w"),
        ({"state_dict": {"w": TWO_BY_THREE}, "state_dict_ema": {"w": ONES}}, "w"),
        ({"model": {"w": TWO_BY_THREE}, "ema": {"module": {"w": ONES}, "updates": 9}}, "w"),
        ({"model": {"w": TWO_BY_THREE}, "model_ema": {"n_averaged": TWO_BY_THREE, "module.w": ONES}}, "w"),
        ({"model": {"w": ONES}, "ema": {}}, "w"),
        ({"module.w": ONES}, "w"),
        ({"module.w": ONES, "head.module.w": TWO_BY_THREE}, "module.w"),
        ({"module.module.w": ONES}, "module.w"),
    ],
    ids="state_dict model ema ema-module averaged empty-ema parallel mixed twice".split(),
)
def test_a_checkpoint_is_unwrapped_the_averaged_weights_first(write, value, name):
    found = read(write(value, {"0": FLOATS, "1": FLOATS[:1]}))
    np.testing.assert_array_equal(found[name], FLOATS[:1])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([TWO_BY_THREE], "expected a state dict, tensors by name, found a list"),
        (TWO_BY_THREE, "found a Tensor"),
        ({}, "found nothing in it"),
        ({"net": {"w": TWO_BY_THREE}, "epoch": 3}, "found 2 other entries: 'net' (dict), 'epoch' (int)"),
        ({3: TWO_BY_THREE}, "found 1 other entries: 3 (Tensor)"),
        ({"a\nb": TWO_BY_THREE}, "expected printable names of tensors, found 'a\\nb'"),
        ({"": TWO_BY_THREE}, "expected printable names"),
        (
            called(named("torch.nn.modules.container", "Sequential"), TWO_BY_THREE),
            "'torch.nn.modules.container.Sequential'; of a model that you trust, save model.state_dict()",
        ),
        ({(1, 2): TWO_BY_THREE}, "expected text or numbers as keys, found tuple"),
    ],
    ids="list tensor empty unknown number newline nameless module tuple".split(),
)
def test_what_is_no_state_dict_is_refused_by_what_it_is(write, value, expected):
    path = write(value, {"0": FLOATS})
    assert_refused(read, path.read_bytes(), path, expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a PyTorch file (.pth, .pt), found an empty file"),
        (b"\x80", "found other bytes"),
        (b"\x80\x04\x95" + bytes(30), "found a pickle of protocol 4"),
        (MAGIC + pickled(1002), "expected version 1001"),
        (MAGIC + pickled(True), "expected version 1001"),
        (MAGIC, "expected more of a pickle, found its end"),
        (b"storages" + bytes(249) + b"ustar\x0000" + bytes(300), "found the tar archive of versions before"),
        (zip_file(HONEST)[:200], "found none: a truncated download?"),
        (zip_file(HONEST), "expected 24 bytes in record 'archive/data/0', found none"),
        (zip_file(HONEST, {"0": bytes(20)}), "expected 24 bytes in record 'archive/data/0', found 20"),
        (zip_file(HONEST, {"0": bytes(28)}), "expected 24 bytes in record 'archive/data/0', found 28"),
        (
            zip_file(b"\x80\x03" + HONEST[2:], {"0": bytes(24)}),
            "expected pickle protocol 2, torch.save's default, found 3",
        ),
        (zip_file(HONEST, {"0": bytes(24)}, {"constants.pkl": b""}), "found a TorchScript program"),
        (zip_file(HONEST, compression=8), "expected record 'archive/data.pkl' stored as it is, found compression"),
        (zip_file(HONEST, {"0": bytes(24)}).replace(b"data.pkl", b"data.txt"), "expected one data.pkl"),
        (legacy_file(pickled({"a": ONES, "b": ONES_AS_INTEGERS}), {"1": (1, bytes(4))}), "found it with two"),
        (legacy_file(HONEST, {"0": (5, bytes(24))}), "expected 6 elements of a storage"),
        (legacy_file(HONEST, {"0": (6, bytes(20))}), "expected 6 elements of a storage"),
        (legacy_file(HONEST, {"0": (6, bytes(24))}, keys=pickled(["1"])), "expected the keys of the 1 storages"),
        (legacy_file(HONEST, {"0": (6, bytes(24))}, keys=pickled([["0"]])), "expected the keys of the 1 storages"),
        (legacy_file(HONEST, {"0": (6, bytes(24))}, keys=pickled(["0", "0"])), "expected the keys of the 1 storages"),
    ],
    # A zip file holds the time at which it was made: the name of a test must not.
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_a_damaged_file_is_refused_by_what_is_wrong(tmp_path, content, expected):
    assert_refused(read, content, tmp_path / "weights.pth", expected)


def test_a_changed_byte_of_a_storage_is_found_by_its_crc(tmp_path):
    content = zip_file(HONEST, {"0": FLOATS.tobytes()}).replace(FLOATS.tobytes(), FLOATS.tobytes()[:-1] + b"\x01")
    assert_refused(read, content, tmp_path / "weights.pth", "expected record 'archive/data/0' with CRC")


@pytest.mark.parametrize("missing", ["missing.pth", ""], ids=["nothing", "folder"])
def test_a_path_that_is_no_file_is_refused(tmp_path, missing):
    with pytest.raises(ValueError, match="expected a PyTorch file"):
        read(tmp_path / missing)


def test_an_archive_of_zip64_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # as if 4 GB were 10 bytes: every number goes to the extra fields
    content = zip_file(HONEST, {"0": FLOATS.tobytes()})
    assert b"PK\x06\x07" in content
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path)["conv.weight"], FLOATS.reshape(2, 3))


def test_the_content_tells_the_format_not_the_name(write, tmp_path):
    path = write({"w": TWO_BY_THREE}, {"0": FLOATS}, name="weights.h5")
    content = path.read_bytes()
    assert matches(path, content[:512])
    path.write_bytes(content[:120])  # truncated, and PyTorch's all the same
    assert matches(path, content[:120])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (zip_file(HONEST).replace(b"data.pkl", b"data.txt"), False),
        (b"storages" + bytes(249) + b"ustar\x0000" + bytes(300), True),
        (b"holidays" + bytes(249) + b"ustar\x0000" + bytes(300), False),
        (pickled({"a": 1}), False),
        (b"\x80\x04\x95\r\0\0\0\0\0\0\0" + MAGIC[2:], True),  # the legacy format, in protocol 4
        (b"\x89HDF\r\n\x1a\n" + bytes(600), False),
        (struct.pack("<3iq", 0, 2, 5, 0), False),
        (b"PK\x03\x04", False),
        (b"", False),
    ],
    ids="zip tar other-tar pickle protocol4 hdf5 darknet stub empty".split(),
)
def test_other_contents_do_not_match(tmp_path, content, expected):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert matches(path, content[:512]) is expected


def test_data_pkl_may_be_any_record_of_the_archive(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/data.pkl", HONEST)
    assert matches(path, path.read_bytes()[:512])


FUZZED = {
    "model": {"module.a.weight": TWO_BY_THREE, "module.b": parameter(tensor(storage("1", "Half", 3), 0, (3,), (1,)))},
    "epoch": 3,
}


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_give_a_result_or_a_one_line_error(write, seed):
    path = write(FUZZED, {"0": FLOATS, "1": np.ones(3, "<f2")})
    assert_survives(read, mutations(path.read_bytes(), 300, seed), path)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_pickles_under_a_right_crc_give_a_result_or_a_one_line_error(tmp_path, seed):
    storages = {"0": FLOATS.tobytes(), "1": bytes(6)}
    damaged = (zip_file(content, storages) for content in mutations(pickled(FUZZED), 300, seed))
    refused = assert_survives(read, damaged, tmp_path / "weights.pth")
    assert 150 < refused < 300
