"""torchvision's own weight files, saved by `torch.save` and as safetensors, through `weights-convert` to detections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pure_detect
from tests.parity.torchvision_cpu import import_torchvision
from weights_convert.cli import main

torch = pytest.importorskip("torch", reason="needs the extra parity")
torchvision = import_torchvision()
pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    torch.manual_seed(1)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    return model.state_dict()


def convert(source: Path, out: Path) -> int:
    return main([str(source), "--model", "ssdlite320-mobilenetv3-large", "--out", str(out)])


def save(state: dict[str, Any], path: Path, kind: str) -> Path:
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_format_gives_the_same_parameters(kind: str, state: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "model.h5"
    assert convert(save(state, tmp_path / "weights", kind), out) == 0
    detector = pure_detect.load(out)
    stem = detector._parameters["backbone.stem.conv.weight"]
    np.testing.assert_array_equal(stem, state["backbone.features.0.0.0.weight"].numpy())
    assert len(detector(np.zeros((20, 30, 3), np.uint8), score=0)) == 300


def test_a_tensor_too_few_and_one_too_many_are_listed_together(
    state: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {name: value for name, value in state.items() if name != "backbone.features.0.0.0.weight"}
    changed["backbone.surprise"] = torch.zeros(2)
    assert convert(save(changed, tmp_path / "weights", "zip"), tmp_path / "model.h5") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "2 tensors do not fit the network" in error
    assert "backbone.stem.conv.weight: expected backbone.features.0.0.0.weight, found none" in error
    assert "backbone.surprise (2,): unknown" in error
    assert not (tmp_path / "model.h5").exists()


def test_weights_of_another_framework_are_refused_by_name(
    state: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(state, tmp_path / "weights", "zip")
    assert main([str(source), "--model", "yolov3", "--out", str(tmp_path / "model.h5")]) == 1
    assert "expected a file of Darknet for yolov3, found pytorch" in capsys.readouterr().err
