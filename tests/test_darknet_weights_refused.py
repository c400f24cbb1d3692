"""What is said of a `.weights` file that does not fit, and that nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pure_detect.errors import InputError
from pure_detect.models.darknet import read_cfg
from tests import tiny_networks as tiny
from weights_convert.cli import main as weights_convert
from weights_convert.readers.darknet import read_darknet

VALUES = tiny.EVERY_LAYER_VALUES
COUNT = len(VALUES)


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "every-layer.cfg"
    path.write_text(tiny.EVERY_LAYER)
    return path


def weights_file(folder: Path, content: bytes) -> Path:
    path = folder / "source.weights"
    path.write_bytes(content)
    return path


def refused(content: bytes, cfg: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Convert what cannot be; return the one line said, after checking that nothing was left behind."""
    source = weights_file(cfg.parent, content)
    before = sorted(cfg.parent.iterdir())
    assert weights_convert([str(source), "--model", str(cfg), "--out", str(cfg.parent / "out.h5")]) == 1
    assert sorted(cfg.parent.iterdir()) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {source}: ")
    assert captured.err.count("\n") == 1
    return captured.err


LONG, SHORT = tiny.darknet_file([]), tiny.darknet_file([], version=(0, 1, 0))


@pytest.mark.parametrize("header", [LONG, SHORT], ids=["20 bytes", "16 bytes"])
@pytest.mark.parametrize(
    ("values", "rest", "found", "verdict"),
    [
        (COUNT - 1, b"", "144", "too few"),
        (COUNT + 1, b"", "146", "too many"),
        (COUNT - 1, b"\0", "144.25", "too few"),
        (COUNT, b"\0", "145.25", "too many"),
        (COUNT - 1, b"\0\0\0", "144.75", "too few"),
        (0, b"", "0", "too few"),
        (1, b"", "1", "too few"),
        (2000, b"", "2,000", "too many"),
    ],
)
def test_a_file_of_another_length_is_refused_with_both_counts(
    header: bytes, values: int, rest: bytes, found: str, verdict: str, cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = header + np.resize(VALUES, values).tobytes() + rest
    message = refused(content, cfg, capsys)
    assert f"expected 145 values for this network, found {found}, {verdict}" in message


@pytest.mark.parametrize("size", [1, 4, 12, 15])
def test_less_than_a_header_is_refused(size: int, cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"header of 16 or 20 bytes, found {size} bytes in all" in refused(LONG[:size], cfg, capsys)


@pytest.mark.parametrize("size", [16, 17, 19])
def test_part_of_a_long_header_holds_no_values(size: int, cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected 145 values for this network, found 0, too few" in refused(LONG[:size], cfg, capsys)


def test_an_empty_file_is_refused(cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "found an empty file" in refused(b"", cfg, capsys)


def test_the_weights_of_another_cfg_are_refused_with_both_counts(cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(tiny.darknet_file(tiny.DETECTOR_VALUES), cfg, capsys)
    assert "expected 145 values for this network, found 28" in message
    assert "another cfg" in message


@pytest.mark.parametrize(("value", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize(
    ("position", "parameter"),
    [(0, "layer000.batch_norm.bias"), (14, "layer000.conv.weight"), (144, "layer008.connected.weight")],
)
def test_what_is_no_finite_number_is_refused_with_its_place(
    value: float, name: str, position: int, parameter: str, cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = VALUES.copy()
    values[position] = value
    message = refused(tiny.darknet_file(values), cfg, capsys)
    assert f"expected finite values, found {name} in {parameter} (value {position + 1} of 145)" in message


OTHER_FORMATS = {
    "zip": (b"PK\x03\x04\x14\0\0\0", "zip"),
    "pickle of protocol 2": (b"\x80\x02}q\0(", "pickle"),
    "pickle of protocol 4": (b"\x80\x04\x95\x10\0\0", "pickle"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
    "png": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "html": (b"<!DOCTYPE html><html>", "HTML"),
    "html in small letters": (b"<!doctype html>\n<html lang=en>", "HTML"),
    "html after a line": (b"\n  <HTML><head>", "HTML"),
    "cfg": (b"[net]\nwidth=416\n", "cfg"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "LFS"),
}


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_other_formats_are_called_by_their_names(kind: str, cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, word = OTHER_FORMATS[kind]
    message = refused(start + b"x" * 200, cfg, capsys)
    assert word in message
    assert "expected Darknet .weights or a .h5 weight file" in message


def test_hdf5_that_is_not_ours_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "keras.h5"
    with h5py.File(source, "w") as file:
        file["model_weights/kernel"] = np.ones(3)
    assert weights_convert([str(source), "--out", str(tmp_path / "out.weights")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {source}: expected layout version 1, found an HDF5 file without one")
    assert [path.name for path in tmp_path.iterdir()] == ["keras.h5"]


HEADER = {"major": 0, "minor": 2, "revision": 5, "seen": 0, "bytes": 20}


@pytest.mark.parametrize(
    "header",
    [
        5,
        [1, 2],
        {"major": "a"},
        {**HEADER, "seen": "many"},
        {**HEADER, "major": 2**40},
        {**HEADER, "seen": -1},
    ],
)
def test_a_malformed_source_header_is_no_traceback(
    header: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h5 = tiny.detector_file(tmp_path)
    with h5py.File(h5, "r+") as file:
        file.attrs["source_header"] = json.dumps(header)
    assert weights_convert([str(h5), "--out", str(tmp_path / "back.weights")]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_read_darknet_itself_raises_input_errors(cfg: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.weights: cannot be read: No such file"):
        read_darknet(tmp_path / "none.weights", read_cfg(cfg).build())
