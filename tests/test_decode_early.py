"""Every decoder: leaving out hopeless boxes before they are decoded changes nothing that is found."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS, octave_anchors
from pure_detect.boxes.decode import Head, decode
from pure_detect.boxes.decode_efficientdet import EfficientDetHead
from pure_detect.boxes.decode_ssd import SsdHead
from pure_detect.boxes.decode_yolo import GaussianYoloHead, RegionHead, YoloHead
from pure_detect.boxes.scored import ScoredBoxes, select

ANCHORS = octave_anchors(4.0, EFFICIENTDET_ASPECTS)
A, CLASSES = len(ANCHORS.sizes_wh), 5
SIZES = ((7, 5), (4, 3))
CODER = (10.0, 10.0, 5.0, 5.0)
PAIRS = tuple((10.0 + i, 20.0 + i) for i in range(A))
HEADS: dict[str, Head] = {
    "efficientdet": EfficientDetHead(("scores0", "scores1"), ("boxes0", "boxes1"), ANCHORS, CLASSES),
    "ssd sigmoid": SsdHead(
        ("boxes0", "boxes1"), ("scores0", "scores1"), (ANCHORS, ANCHORS), CLASSES, CODER, "sigmoid", "yxhw"
    ),
    "ssd softmax": SsdHead(
        ("boxes0", "boxes1"), ("scores0", "scores1"), (ANCHORS, ANCHORS), CLASSES, CODER, "softmax", "xywh"
    ),
    "yolo": YoloHead("scores0", PAIRS, CLASSES),
    "yolo, new coordinates": YoloHead("scores0", PAIRS, CLASSES, new_coords=True),
    "gaussian yolo": GaussianYoloHead("scores0", PAIRS, CLASSES),
    "region, softmax": RegionHead("scores0", PAIRS, CLASSES),
    "region, sigmoid": RegionHead("scores0", PAIRS, CLASSES, softmax=False),
}
# Planes an anchor, beside the boxes of SSD and EfficientDet, and one of them that says how good a box can be at best.
PLANES = {
    EfficientDetHead: CLASSES,
    SsdHead: 1 + CLASSES,
    YoloHead: 5 + CLASSES,
    GaussianYoloHead: 9 + CLASSES,
    RegionHead: 5 + CLASSES,
}
EVIDENCE = {EfficientDetHead: 2, SsdHead: 2, YoloHead: 4, GaussianYoloHead: 8, RegionHead: 4}
each_head = pytest.mark.parametrize("name", HEADS)


def random_outputs(head: Head, dtype: type = np.float32) -> dict[str, NDArray[np.floating]]:
    rng = np.random.default_rng(0)
    outputs = {}
    for level, shape in enumerate(SIZES):
        planes = PLANES[type(head)]
        outputs[f"scores{level}"] = rng.normal(-1, 3, (A * planes, *shape)).astype(dtype)
        outputs[f"boxes{level}"] = rng.normal(0, 1, (A * 4, *shape)).astype(dtype)
    return outputs


def decoded(outputs: dict[str, NDArray[np.floating]], head: Head, threshold: float | None = None) -> ScoredBoxes:
    return decode(outputs, head, 224, 160, threshold)


@each_head
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1e-9, 1e-6, 0.005, 0.3, 0.5, 0.999999, 1.0, 2.0, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_boxes_left_out_for_a_threshold_are_never_candidates(name: str, threshold: float, dtype: type) -> None:
    head = HEADS[name]
    outputs = random_outputs(head, dtype)
    scores = outputs["scores0"]
    scores[:, 0, 0] = np.nan
    scores[3, 1, 1] = np.nan  # beside good scores of the same box
    scores[4:9, 1, 1] = 50
    scores[:, 2, 1] = -np.inf
    scores[5, 3, 1] = np.inf
    everything = select(decoded(outputs, head), threshold)
    early = select(decoded(outputs, head, threshold), threshold)
    for expected, found in zip(everything, early):
        np.testing.assert_array_equal(found, expected)


@each_head
def test_scores_that_rounding_puts_on_either_side_of_the_threshold_are_found_alike(name: str) -> None:
    head = HEADS[name]
    outputs = random_outputs(head)
    planes = PLANES[type(head)]
    some = 0
    for threshold in np.random.default_rng(1).uniform(0.001, 0.999, 30):
        logit = np.log(threshold / (1 - threshold))
        for values in (outputs["scores0"], outputs["scores1"]):
            apart = values.reshape(A, planes, -1)
            near = logit + np.linspace(-1e-6, 1e-6, apart[:, 0].size).reshape(A, -1) * max(1, abs(logit))
            apart[:] = -30 if isinstance(head, SsdHead | EfficientDetHead) else 30  # certain of every class
            evidence = EVIDENCE[type(head)]
            apart[:, evidence] = near
            if name == "ssd softmax":
                apart[:, 0] = 0
            if name == "gaussian yolo":
                apart[:, 1:8:2] = -30  # and of every coordinate
            if name == "region, softmax":
                apart[:, 6:] = -30
        everything = select(decoded(outputs, head), threshold)
        early = select(decoded(outputs, head, threshold), threshold)
        np.testing.assert_array_equal(early.scores, everything.scores)
        some += len(everything.scores)
    assert some > 0


@pytest.mark.parametrize("name", [name for name in HEADS if name != "yolo, new coordinates"])
def test_nearly_all_boxes_of_an_empty_picture_are_left_out(name: str) -> None:
    head = HEADS[name]
    outputs = random_outputs(head)
    planes = PLANES[type(head)]
    for level in (0, 1):
        apart = outputs[f"scores{level}"].reshape(A, planes, -1)
        apart[:] = -20
        if name == "ssd softmax":
            apart[:, 0] = 5
    evidence = EVIDENCE[type(head)]
    outputs["scores0"].reshape(A, planes, -1)[4, evidence, 11] = 20
    boxes, scores = decoded(outputs, head, 0.3)
    assert boxes.shape == (1, 4)
    assert scores.shape == (1, CLASSES)
    everything = decoded(outputs, head).boxes_xyxy
    np.testing.assert_array_equal(boxes[0], everything[11 * A + 4])
    with_every_box = sum(h * w for h, w in SIZES) if isinstance(head, SsdHead | EfficientDetHead) else 7 * 5
    assert len(everything) == A * with_every_box
