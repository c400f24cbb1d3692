"""Darknet's `.weights`: where each value goes. The files are made here byte by byte, not by our writer."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from pure_detect.models.darknet import read_cfg
from tests import tiny_networks as tiny
from tests.real_models import DETECTORS, TINY_DARKNET, RealModel
from weights_convert.cli import main as weights_convert
from weights_convert.readers.darknet import read_darknet, write_darknet

VALUES = tiny.EVERY_LAYER_VALUES

# The order of the values in the file, as `load_weights_upto` reads them (AlexeyAB/darknet 59596d7, `parser.c`).
ORDER = {
    "layer000.batch_norm.bias": (3,),
    "layer000.batch_norm.scale": (3,),
    "layer000.batch_norm.mean": (3,),
    "layer000.batch_norm.variance": (3,),
    "layer000.conv.weight": (3, 2, 1, 1),
    "layer001.conv.bias": (3,),
    "layer001.conv.weight": (3, 1, 3, 3),
    "layer002.shortcut.weight": (2, 1),
    "layer003.implicit.value": (3, 1, 1),
    "layer005.shortcut.weight": (2, 3),
    "layer006.batch_norm.bias": (3,),
    "layer006.batch_norm.scale": (3,),
    "layer006.batch_norm.mean": (3,),
    "layer006.batch_norm.variance": (3,),
    "layer007.batch_norm.bias": (4,),
    "layer007.connected.weight": (4, 12),
    "layer007.batch_norm.scale": (4,),
    "layer007.batch_norm.mean": (4,),
    "layer007.batch_norm.variance": (4,),
    "layer008.connected.bias": (2,),
    "layer008.connected.weight": (2, 4),
}


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "every-layer.cfg"
    path.write_text(tiny.EVERY_LAYER)
    return path


def weights_file(folder: Path, content: bytes) -> Path:
    path = folder / "source.weights"
    path.write_bytes(content)
    return path


def convert(source: Path, cfg: Path) -> Path:
    out = source.with_suffix(".h5")
    assert weights_convert([str(source), "--model", str(cfg), "--out", str(out)]) == 0
    return out


def test_each_value_goes_where_darknet_puts_it(cfg: Path, tmp_path: Path) -> None:
    read = read_darknet(weights_file(tmp_path, tiny.darknet_file(VALUES)), read_cfg(cfg).build())
    assert set(read.parameters) == set(ORDER)
    position = 0
    for name, shape in ORDER.items():
        size = int(np.prod(shape))
        np.testing.assert_array_equal(read.parameters[name], VALUES[position : position + size].reshape(shape), name)
        assert read.parameters[name].dtype == np.float32
        position += size
    assert position == len(VALUES)


@pytest.mark.parametrize("version", [(1001, 0, 0), (0, 1001, 0)])
@pytest.mark.parametrize("seen", ["<I", "<Q"])
def test_version_numbers_over_1000_say_that_connected_layers_are_transposed(
    version: tuple[int, int, int], seen: str, cfg: Path, tmp_path: Path
) -> None:
    """pjreddie's code has the short header then, AlexeyAB's the long one: the length that leaves no rest is right."""
    content = struct.pack("<3i", *version) + struct.pack(seen, 5) + VALUES.tobytes()
    path = weights_file(tmp_path, content)
    transposed = read_darknet(path, read_cfg(cfg).build()).parameters
    plain = read_darknet(weights_file(tmp_path, tiny.darknet_file(VALUES)), read_cfg(cfg).build()).parameters
    for name, values in plain.items():
        if name.endswith("connected.weight"):
            expected = values.reshape(values.shape[::-1]).T
            assert not np.array_equal(expected, values)
        else:
            expected = values
        np.testing.assert_array_equal(transposed[name], expected, name)
        assert transposed[name].flags.c_contiguous


@pytest.mark.parametrize(
    ("version", "size"),
    [
        ((0, 1, 0), 16), ((0, 0, 9), 16), ((0, 2, 0), 20), ((0, 2, 5), 20), ((1, 0, 0), 20), ((0, 1000, 0), 20),
        ((999, 0, 0), 20),
    ],
)  # fmt: skip
def test_seen_has_64_bits_from_version_0_2_on(
    version: tuple[int, int, int], size: int, cfg: Path, tmp_path: Path
) -> None:
    seen = 0x0102030405060708 if size == 20 else 0xFEDCBA98
    content = struct.pack("<3i", *version) + struct.pack("<Q" if size == 20 else "<I", seen) + VALUES.tobytes()
    read = read_darknet(weights_file(tmp_path, content), read_cfg(cfg).build())
    assert (read.header.major, read.header.minor, read.header.revision) == version
    assert (read.header.seen, read.header.bytes) == (seen, size)
    assert read.parameters["layer000.batch_norm.bias"].tolist() == [1, 2, 3]
    assert read.sha256 == hashlib.sha256(content).hexdigest()


HEADERS = {
    "0.2.5": struct.pack("<3iQ", 0, 2, 5, 2**40 + 3),
    "0.1.0": struct.pack("<3iI", 0, 1, 0, 2**32 - 1),
    "transposed, long": struct.pack("<3iQ", 1001, 2, 3, 4),
    "transposed, short": struct.pack("<3iI", 0, 2000, 3, 4),
    "largest": struct.pack("<3iQ", 100, 900, 2**31 - 1, 2**64 - 1),
    "negative revision": struct.pack("<3iQ", 0, 2, -1, 7),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_round_trip_through_hdf5_gives_the_same_bytes(header: str, cfg: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(3).standard_normal(len(VALUES)).astype("<f4")
    values[:4] = [-0.0, 1e-45, 3.4e38, 1e-39]  # a sign of zero, denormal values, nearly the largest
    source = weights_file(tmp_path, HEADERS[header] + values.tobytes())
    out = tmp_path / "back.weights"
    assert weights_convert([str(convert(source, cfg)), "--out", str(out)]) == 0
    assert out.read_bytes() == source.read_bytes()


def test_writing_is_the_inverse_of_reading(cfg: Path, tmp_path: Path) -> None:
    source = weights_file(tmp_path, HEADERS["transposed, short"] + VALUES.tobytes())
    graph = read_cfg(cfg).build()
    read = read_darknet(source, graph)
    write_darknet(tmp_path / "back.weights", graph, read.parameters, read.header)
    assert (tmp_path / "back.weights").read_bytes() == source.read_bytes()


@pytest.mark.shared_data
@pytest.mark.parametrize("name", [*DETECTORS, "tiny-darknet"])
def test_a_real_file_goes_through_hdf5_and_back_unchanged(name: str, data: Path, tmp_path: Path) -> None:
    model: RealModel = {**DETECTORS, "tiny-darknet": TINY_DARKNET}[name]
    source = data / "weights" / model.weights
    h5, back = tmp_path / "model.h5", tmp_path / "back.weights"
    assert weights_convert([str(source), "--model", str(data / "weights" / model.cfg), "--out", str(h5)]) == 0
    assert weights_convert([str(h5), "--out", str(back)]) == 0
    assert back.read_bytes() == source.read_bytes()
    with h5py.File(h5) as file:
        assert file.attrs["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_file_of_a_network_that_never_was_darknets_gets_darknets_newest_header(tmp_path: Path) -> None:
    h5 = tiny.detector_file(tmp_path)
    with h5py.File(h5, "r+") as file:
        file.attrs["source_header"] = json.dumps({})
    assert weights_convert([str(h5), "--out", str(tmp_path / "back.weights")]) == 0
    assert (tmp_path / "back.weights").read_bytes() == tiny.darknet_file(tiny.DETECTOR_VALUES, seen=0)
