"""The command `evaluate` on 80 photographs of COCO: the figures of real networks, and pycocotools on their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from pure_detect.cli import main as pure_detect
from pure_detect.evaluate import evaluate, read_coco, read_results
from tests import real_models
from tests.parity.test_coco_pycocotools import assert_equal_to_pycocotools
from tests.tolerances import AVERAGE_PRECISION

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]


class Expected(NamedTuple):
    """AP and AP50 of the same weights in OpenCV 4.14 under the same protocol."""

    ap: float
    ap50: float


EXPECTED = {
    "yolo-fastest-1.1-xl": Expected(0.214, 0.399),
    "yolov3-nano": Expected(0.166, 0.338),
    "yolo-lite": Expected(0.057, 0.151),
    # Dequantised weights, half-pixel bilinear in place of the network's own rule, NMS at 0.6: an independent NumPy run.
    "ssdlite-small": Expected(0.229, 0.376),
}
MODELS = {**real_models.DETECTORS, "ssdlite-small": real_models.SSDLITE_SMALL}


@pytest.mark.parametrize("name", EXPECTED)
def test_average_precision_of_a_real_network_is_opencvs_and_its_arrays_are_pycocotools(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = real_models.convert(data, MODELS[name], tmp_path / f"{name}.h5")
    annotations, results = data / "coco_val80" / "instances_val2017.json", tmp_path / "results.json"
    files = ["--images", str(annotations.parent / "images"), "--annotations", str(annotations), "--out", str(results)]
    assert pure_detect(["evaluate", str(model), *files, "--resize", "stretch", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP"] == pytest.approx(EXPECTED[name].ap, abs=AVERAGE_PRECISION)
    assert figures["AP50"] == pytest.approx(EXPECTED[name].ap50, abs=AVERAGE_PRECISION)
    ours = evaluate(read_results(results), read_coco(annotations))
    assert_equal_to_pycocotools(ours, json.loads(annotations.read_text()), json.loads(results.read_text()))
