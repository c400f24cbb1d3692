"""Injects faults into one side of the parity tests' own comparisons: every one of them must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.boxes.nms import nms
from pure_detect.graph import BatchNormRule
from pure_detect.models.darknet import read_cfg
from pure_detect.models.yolov3 import YOLOV3_TINY
from pure_detect.network import Network
from pure_detect.random_weights import random_parameters
from pure_detect.reference import ReferenceExecutor
from tests import real_models
from tests.comparisons import assert_detections_agree, assert_outputs_agree
from weights_convert.readers.darknet import read_darknet

Array = NDArray[Any]

HEIGHT, WIDTH = 64, 64  # square, so that swapped axes are a matter of values, not of shapes


@pytest.fixture(scope="module")
def parameters() -> dict[str, Array]:
    return random_parameters(YOLOV3_TINY, seed=3)


@pytest.fixture(scope="module")
def picture() -> Array:
    return np.random.default_rng(4).random((1, 3, HEIGHT, WIDTH), np.float32)


def outputs(network: Network, parameters: dict[str, Array], x: Array, dtype: type = np.float32) -> dict[str, Array]:
    return ReferenceExecutor(network.build(HEIGHT, WIDTH), parameters, dtype)(x)


@pytest.fixture(scope="module")
def oracle(parameters: dict[str, Array], picture: Array) -> dict[str, Array]:
    return outputs(YOLOV3_TINY, parameters, picture, np.float64)


def test_the_true_outputs_agree(parameters: dict[str, Array], picture: Array, oracle: dict[str, Array]) -> None:
    assert_outputs_agree(outputs(YOLOV3_TINY, parameters, picture), oracle)


@pytest.mark.parametrize("rule", [BatchNormRule(1e-3), BatchNormRule(1e-3, inside=False)], ids=["inside", "outside"])
def test_another_frameworks_epsilon_is_noticed(
    rule: BatchNormRule, parameters: dict[str, Array], picture: Array, oracle: dict[str, Array]
) -> None:
    wrong = replace(YOLOV3_TINY, batch_norm_rule=rule)
    with pytest.raises(AssertionError):
        assert_outputs_agree(outputs(wrong, parameters, picture), oracle)


@pytest.mark.shared_data
def test_opencvs_epsilon_in_place_of_darknets_is_noticed_on_real_weights(data: Path) -> None:
    model = real_models.FASTEST
    network = read_cfg(data / "weights" / model.cfg)
    x = np.random.default_rng(5).random((1, 3, HEIGHT, WIDTH), np.float32)
    stored = read_darknet(data / "weights" / model.weights, network.build()).parameters
    right = outputs(network, stored, x)
    with pytest.raises(AssertionError):
        assert_outputs_agree(outputs(replace(network, batch_norm_rule=real_models.OPENCV_RULE), stored, x), right)


def dead_pixel(x: Array) -> Array:
    x = x.copy()
    x[0, 1, HEIGHT // 2, WIDTH // 2] = 0
    return x


@pytest.mark.parametrize(
    "fault",
    [
        dead_pixel,
        lambda x: x.transpose(0, 1, 3, 2),
        lambda x: x[:, ::-1],
        lambda x: np.roll(x, 1, axis=3),
        lambda x: np.round(x * 255).clip(1, 254) / 255,
    ],
    ids=["dead pixel", "height and width swapped", "BGR for RGB", "shifted by one pixel", "clipped levels"],
)
def test_a_faulty_input_is_noticed(
    fault: Callable[[Array], Array], parameters: dict[str, Array], picture: Array, oracle: dict[str, Array]
) -> None:
    with pytest.raises(AssertionError):
        assert_outputs_agree(outputs(YOLOV3_TINY, parameters, fault(picture)), oracle)


def test_one_dead_element_of_an_output_is_noticed(oracle: dict[str, Array]) -> None:
    name = YOLOV3_TINY.build().outputs[0]
    faulty = {key: value.copy() for key, value in oracle.items()}
    typical = np.argsort(np.abs(faulty[name]).ravel())[faulty[name].size // 2]
    faulty[name].ravel()[typical] = 0
    with pytest.raises(AssertionError):
        assert_outputs_agree(faulty, oracle)


def test_a_kernel_turned_around_is_noticed(
    parameters: dict[str, Array], picture: Array, oracle: dict[str, Array]
) -> None:
    name = "backbone.conv3.conv.weight"
    turned = {**parameters, name: parameters[name][:, :, ::-1, ::-1]}
    with pytest.raises(AssertionError):
        assert_outputs_agree(outputs(YOLOV3_TINY, turned, picture), oracle)


def found(keep: Array, boxes: Array, scores: Array, class_ids: Array) -> list[dict[str, Any]]:
    """Return kept boxes as `Detections.to_json` does."""
    return [{"class_id": int(class_ids[i]), "score": float(scores[i]), "box_xyxy": boxes[i].tolist()} for i in keep]


@pytest.fixture(scope="module")
def candidates() -> tuple[Array, Array, Array]:
    """Return two objects with three overlapping boxes each, and one of another class on top of the first."""
    boxes = np.array(
        [[10, 20, 110, 80], [14, 20, 114, 80], [10, 24, 110, 84], [200, 50, 260, 190], [204, 50, 264, 190],
         [200, 56, 260, 196], [12, 22, 108, 82]], np.float32,
    )  # fmt: skip
    return boxes, np.array([0.6, 0.9, 0.7, 0.5, 0.4, 0.8, 0.3], np.float32), np.array([0, 0, 0, 0, 0, 0, 1])


def test_the_true_detections_agree(candidates: tuple[Array, Array, Array]) -> None:
    kept = nms(*candidates)
    theirs = [(int(candidates[2][i]), float(candidates[1][i]), candidates[0][i]) for i in kept]
    assert len(theirs) == 3
    assert_detections_agree(found(kept, *candidates), theirs)


def reversed_nms(boxes: Array, scores: Array, class_ids: Array) -> Array:
    """Keep the worse box of each pair, as an ascending sort does."""
    return nms(boxes, -scores, class_ids)


@pytest.mark.parametrize(
    "faulty",
    [
        reversed_nms,
        lambda *c: nms(*c)[::-1],
        lambda *c: nms(*c, class_agnostic=True),
        lambda *c: nms(*c, 0.95),
        lambda *c: nms(*c)[:-1],
    ],
    ids=["worse box kept", "ascending order", "classes ignored", "nothing suppressed", "last one lost"],
)
def test_a_faulty_nms_is_noticed(faulty: Callable[..., Array], candidates: tuple[Array, Array, Array]) -> None:
    theirs = [(int(candidates[2][i]), float(candidates[1][i]), candidates[0][i]) for i in nms(*candidates)]
    with pytest.raises(AssertionError):
        assert_detections_agree(found(faulty(*candidates), *candidates), theirs)


@pytest.mark.parametrize(
    "fault",
    [lambda b: b[:, [1, 0, 3, 2]], lambda b: b + 2.5, lambda b: b * 1.05],
    ids=["axes swapped", "shifted", "scaled"],
)
def test_faulty_boxes_are_noticed(fault: Callable[[Array], Array], candidates: tuple[Array, Array, Array]) -> None:
    boxes, scores, class_ids = candidates
    kept = nms(*candidates)
    theirs = [(int(class_ids[i]), float(scores[i]), boxes[i]) for i in kept]
    with pytest.raises(AssertionError):
        assert_detections_agree(found(kept, fault(boxes), scores, class_ids), theirs)


def test_squared_objectness_is_noticed(candidates: tuple[Array, Array, Array]) -> None:
    boxes, scores, class_ids = candidates
    kept = nms(*candidates)
    theirs = [(int(class_ids[i]), float(scores[i]), boxes[i]) for i in kept]
    with pytest.raises(AssertionError):
        assert_detections_agree(found(kept, boxes, scores**2, class_ids), theirs)
