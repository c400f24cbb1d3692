"""Soft non-maximum suppression by cases that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pure_detect.boxes.scored import Candidates, ScoredBoxes, select
from pure_detect.boxes.soft_nms import soft_nms
from pure_detect.boxes.suppression import suppress

# The second covers half of the first (IoU 1/2), the third nothing of either.
BOXES = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [5, 5, 6, 6]], np.float64)
HALF = math.exp(-0.25 / 0.5)


def test_an_overlapped_box_keeps_a_lower_score() -> None:
    kept, scores = soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 0, 0])
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.7, 0.8 * HALF])


def test_other_classes_do_not_act_unless_asked_to() -> None:
    assert soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 1, 0])[1].tolist() == [0.9, 0.8, 0.7]
    kept, scores = soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 1, 0], class_agnostic=True)
    assert kept.tolist() == [0, 2, 1]
    assert scores[2] == pytest.approx(0.8 * HALF)


def test_a_box_whose_score_sinks_to_the_threshold_is_dropped() -> None:
    assert soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 0, 0], score_threshold=0.5)[0].tolist() == [0, 2]
    assert soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 0, 0], score_threshold=0.7)[0].tolist() == [0]


def test_of_equal_scores_the_lower_index_acts_first() -> None:
    kept, scores = soft_nms(BOXES[[0, 0, 2]], [0.5, 0.5, 0.5], [0, 0, 0])
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.5, 0.5, 0.5 * math.exp(-2)])


def test_a_larger_sigma_is_milder() -> None:
    scores = [soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 0, 0], sigma=sigma)[1].min() for sigma in (0.1, 0.5, 5.0)]
    assert scores == sorted(scores)


def test_the_limit_counts_over_all_classes() -> None:
    assert soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 1, 2], limit=2)[0].tolist() == [0, 1]


def test_nan_scores_and_empty_input_give_nothing() -> None:
    assert soft_nms(BOXES, [np.nan] * 3, [0, 0, 0])[0].size == 0
    assert soft_nms(np.empty((0, 4)), [], np.empty(0, np.int64))[0].size == 0


@pytest.mark.parametrize("options", [{"sigma": 0}, {"sigma": np.nan}, {"limit": -1}, {"score_threshold": np.nan}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        soft_nms(BOXES, [0.9, 0.8, 0.7], [0, 0, 0], **options)  # type: ignore[arg-type]


def test_suppress_refuses_an_unknown_rule_by_name() -> None:
    candidates = Candidates(BOXES, np.array([0.9, 0.8, 0.7]), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="rule must be one of iou, darknet-greedy, diou, gaussian, got 'soft'"):
        suppress(candidates, "soft", iou=0.5, score=0.1, limit=None)


def test_the_best_pairs_over_all_classes_go_on_and_ties_fall_to_the_lower_box_then_class() -> None:
    scores = np.array([[0.5, 0.9], [0.5, 0.5], [0.1, 0.5]])
    chosen = select(ScoredBoxes(BOXES, scores), 0.05, total=3)
    assert chosen.scores.tolist() == [0.5, 0.9, 0.5]
    assert chosen.class_ids.tolist() == [0, 1, 0]
    assert chosen.boxes_xyxy.tolist() == BOXES[[0, 0, 1]].tolist()
