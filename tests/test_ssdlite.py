"""SSDLite: published counts, anchors worked by hand, and TensorFlow's small network on its real weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pure_detect.boxes.anchors import anchors_cxcywh, tensorflow_anchors, torchvision_anchors
from pure_detect.boxes.decode_ssd import SsdHead, decode_ssd
from pure_detect.cli import main as pure_detect
from pure_detect.models.ssdlite import widened_extras
from pure_detect.registry import NETWORKS
from tests import real_models

MAPS_320, MAPS_256 = (20, 10, 5, 3, 2, 1), (32, 16, 8, 4, 2, 1)


@pytest.mark.parametrize(
    ("name", "learnable", "statistics", "tensors", "maps", "anchors"),
    [
        ("ssdlite-mobilenetv3-large", 3_248_255, 32_944, 406, MAPS_320, 2034),
        ("ssdlite-mobilenetv3-small", 1_785_743, 20_464, 350, MAPS_320, 2034),
        ("ssdlite320-mobilenetv3-large", 3_440_060, 32_944, 406, MAPS_320, 3234),
        ("demo-ssdlite", 261_616, 8_560, 312, MAPS_256, 5460),
    ],
)
def test_counts_are_the_published_ones_and_torchvisions(
    name: str, learnable: int, statistics: int, tensors: int, maps: tuple[int, ...], anchors: int
) -> None:
    graph = NETWORKS[name].build()
    assert (graph.learnable_count, graph.statistics_count, len(graph.parameters)) == (learnable, statistics, tensors)
    shapes = dict(zip(graph.outputs, graph.output_shapes, strict=True))
    boxes = [shapes[tensor] for tensor in graph.heads[0].box_tensors]
    assert [shape[1:] for shape in boxes] == [(size, size) for size in maps]
    assert sum(channels // 4 * height * width for channels, height, width in boxes) == anchors


def test_tensorflows_anchors_have_the_sizes_of_the_published_graph() -> None:
    """In pixels of 320: the PriorBox sizes of `ssd_mobilenet_v3_large_coco_2020_01_14`."""
    lowest, second, *_, last = (np.array(row.sizes_wh) * 320 for row in tensorflow_anchors())
    np.testing.assert_allclose(lowest, [[32, 32], [90.5097, 45.2548], [45.2548, 90.5097]], atol=1e-4)
    np.testing.assert_allclose(second[[0, 1, 3, 5], 0], [112, 158.392, 193.99, 133.866], atol=1e-3)
    np.testing.assert_allclose(last[[0, 1, 3, 5], 0], [304, 429.921, 526.543, 311.897], atol=1e-3)
    assert last[3, 0] / last[3, 1] == pytest.approx(3)
    assert last[4, 0] / last[4, 1] == pytest.approx(0.3333, abs=1e-9)  # not a third


def test_torchvisions_first_and_last_cells_are_those_that_torchvision_prints() -> None:
    first = anchors_cxcywh(torchvision_anchors()[0], 20, 20)[:4] * 320
    corners = np.concatenate([first[:, :2] - first[:, 2:] / 2, first[:, :2] + first[:, 2:] / 2], axis=1)
    expected = [
        [-24, -24, 40, 40],
        [-34.332, -34.332, 50.332, 50.332],
        [-37.2548, -14.6274, 53.2548, 30.6274],
        [-14.6274, -37.2548, 30.6274, 53.2548],
    ]
    np.testing.assert_allclose(corners, expected, atol=1e-3)
    last = anchors_cxcywh(torchvision_anchors()[5], 1, 1)[-1] * 320
    np.testing.assert_allclose([last[0] - last[2] / 2, last[0] + last[2] / 2], [72.24, 247.76], atol=1e-2)
    assert last[3] == 320  # clamped


def test_torchvisions_anchors_follow_other_scales_and_ratios_and_stay_within_the_input() -> None:
    first, last = torchvision_anchors((0.1, 0.4, 0.9), (2.25,))
    np.testing.assert_allclose(first.sizes_wh, [[0.1, 0.1], [0.2, 0.2], [0.15, 0.1 / 1.5], [0.1 / 1.5, 0.15]])
    np.testing.assert_allclose(last.sizes_wh, [[0.4, 0.4], [0.6, 0.6], [0.6, 0.4 / 1.5], [0.4 / 1.5, 0.6]])
    wide = torchvision_anchors((0.8, 1.0), (4.0,))[0]
    assert wide.sizes_wh[2] == (1.0, 0.4)


def test_extra_layers_of_a_narrow_network_keep_16_channels() -> None:
    assert widened_extras(1) == (512, 256, 256, 128)
    assert widened_extras(0.1) == (51, 25, 25, 16)


def one_anchor_head(**changes: object) -> SsdHead:
    settings: dict[str, object] = {
        "box_tensors": ("boxes",),
        "class_tensors": ("classes",),
        "anchors": (tensorflow_anchors()[0]._replace(sizes_wh=((0.5, 0.25),)),),
        "classes": 2,
        "coder": (10.0, 10.0, 5.0, 5.0),
        "score_function": "sigmoid",
        "box_order": "yxhw",
    }
    return SsdHead(**{**settings, **changes})  # type: ignore[arg-type]


def test_a_code_moves_and_scales_its_anchor() -> None:
    """Two cells side by side; in the second the anchor's centre (3/4, 1/2) moves by (1/10 * 1/2, 2/10 * 1/4)."""
    boxes, classes = np.zeros((4, 1, 2)), np.zeros((3, 1, 2))
    boxes[:, 0, 1] = [2, 1, 5 * np.log(2), 5 * np.log(1.5)]  # y, x, height, width
    classes[:, 0, 1] = [9, 0, np.log(3)]
    found = decode_ssd({"boxes": boxes, "classes": classes}, one_anchor_head())
    np.testing.assert_allclose(found.boxes_xyxy[0], [0, 0.375, 0.5, 0.625])
    np.testing.assert_allclose(found.boxes_xyxy[1], [0.8 - 0.375, 0.55 - 0.25, 0.8 + 0.375, 0.55 + 0.25])
    np.testing.assert_allclose(found.scores[1], [0.5, 0.75])


def test_the_background_takes_part_in_a_softmax_and_is_dropped() -> None:
    classes = np.log(np.array([2.0, 1.0, 5.0])).reshape(3, 1, 1)
    head = one_anchor_head(score_function="softmax")
    found = decode_ssd({"boxes": np.zeros((4, 1, 1)), "classes": classes}, head)
    np.testing.assert_allclose(found.scores, [[1 / 8, 5 / 8]])


def test_a_wrong_number_of_channels_is_an_error_that_names_the_tensor() -> None:
    with pytest.raises(ValueError, match=r"^boxes: expected 1 anchors of 4 channels, got \(5, 1, 1\)$"):
        decode_ssd({"boxes": np.zeros((5, 1, 1)), "classes": np.zeros((3, 1, 1))}, one_anchor_head())


@pytest.mark.shared_data
def test_the_small_network_finds_bicycle_dog_and_car_on_its_real_weights(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = real_models.convert(data, real_models.SSDLITE_SMALL, tmp_path / "small.h5")
    picture = str(data / "images" / "dog.jpg")
    options = ["--resize", "stretch", "--score", "0.6", "--format", "json"]
    assert pure_detect(["detect", picture, "--model", str(model), *options]) == 0
    found = json.loads(capsys.readouterr().out)[0]["detections"]
    assert [(d["label"], round(d["score"], 2)) for d in found] == [("bicycle", 0.75), ("dog", 0.72), ("car", 0.68)]
