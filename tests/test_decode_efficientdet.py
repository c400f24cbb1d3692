"""Decoding EfficientDet: leaving out hopeless boxes early changes nothing that is found."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS, octave_anchors
from pure_detect.boxes.decode_efficientdet import EfficientDetHead, decode_efficientdet
from pure_detect.boxes.scored import select

ANCHORS = octave_anchors(4.0, EFFICIENTDET_ASPECTS)
A, CLASSES = len(ANCHORS.sizes_wh), 5
HEAD = EfficientDetHead(("classes0", "classes1"), ("boxes0", "boxes1"), ANCHORS, CLASSES)


def random_outputs(dtype: type = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    outputs = {}
    for level, shape in enumerate(((7, 5), (4, 3))):
        outputs[f"classes{level}"] = rng.normal(-2, 3, (A * CLASSES, *shape)).astype(dtype)
        outputs[f"boxes{level}"] = rng.normal(0, 1, (A * 4, *shape)).astype(dtype)
    return outputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1e-9, 1e-6, 0.005, 0.3, 0.5, 0.999999, 1.0, 2.0, np.inf])
def test_boxes_left_out_for_a_threshold_are_never_candidates(threshold: float, dtype: type) -> None:
    outputs = random_outputs(dtype)
    outputs["classes0"][:, 0, 0] = np.nan
    outputs["classes0"][3, 1, 1] = np.nan  # beside good scores of the same box
    outputs["classes0"][4, 1, 1] = 50
    outputs["classes1"][:, 1, 1] = np.inf
    outputs["classes1"][:, 2, 1] = -np.inf
    everything = select(decode_efficientdet(outputs, HEAD), threshold)
    early = select(decode_efficientdet(outputs, HEAD, threshold), threshold)
    for expected, found in zip(everything, early):
        np.testing.assert_array_equal(found, expected)


def test_a_score_that_float32_rounds_above_the_threshold_stays() -> None:
    outputs = random_outputs()
    for threshold in np.random.default_rng(1).uniform(0.001, 0.999, 50).astype(np.float32):
        logit = np.log(np.float64(threshold) / (1 - np.float64(threshold)))
        outputs["classes0"].flat[:] = np.float32(logit) * np.linspace(1 - 1e-6, 1 + 1e-6, outputs["classes0"].size)
        everything = select(decode_efficientdet(outputs, HEAD), float(threshold))
        early = select(decode_efficientdet(outputs, HEAD, float(threshold)), float(threshold))
        np.testing.assert_array_equal(early.scores, everything.scores)
        assert len(early.boxes_xyxy) > 0


def test_nearly_all_boxes_of_an_empty_picture_are_left_out() -> None:
    outputs = random_outputs()
    for level in (0, 1):
        outputs[f"classes{level}"] -= 20
    outputs["classes0"][0, 2, 3] = 3
    boxes, scores = decode_efficientdet(outputs, HEAD, 0.3)
    assert boxes.shape == (1, 4)
    assert scores.shape == (1, CLASSES)
    assert len(decode_efficientdet(outputs, HEAD).boxes_xyxy) == A * (7 * 5 + 4 * 3)
