"""Whole detections of the real networks on real photographs against OpenCV's own, photograph to boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pure_detect.cli import main as pure_detect
from tests import real_models
from tests.comparisons import assert_detections_agree
from tests.conftest import DATA
from tests.parity import opencv

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]

IMAGES = sorted(path.name for path in (DATA / "images").glob("*.jpg"))


@pytest.fixture(scope="module", params=real_models.DETECTORS)
def converted(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    model = real_models.DETECTORS[request.param]
    return request.param, real_models.convert(data, model, tmp_path_factory.mktemp("models") / f"{request.param}.h5")


@pytest.mark.parametrize("image", IMAGES)
def test_the_command_line_finds_what_opencv_finds(
    image: str, converted: tuple[str, Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, model_file = converted
    model = real_models.DETECTORS[name]
    picture = data / "images" / image
    arguments = ["--resize", "stretch", "--score", "0.3", "--iou", str(model.iou), "--format", "json"]
    assert pure_detect(["detect", str(picture), "--model", str(model_file), *arguments]) == 0
    ours = json.loads(capsys.readouterr().out)[0]["detections"]
    weights = data / "weights"
    cfg = (weights / model.cfg).read_text()
    theirs = opencv.detect(cfg, weights / model.weights, picture, model.size, model.size, 0.3, model.iou)
    assert_detections_agree(ours, theirs)
