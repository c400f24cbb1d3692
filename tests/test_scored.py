"""The choice of pairs of box and class by their score."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.scored import ScoredBoxes, select

NAN, INF = np.nan, np.inf
BOXES = np.array([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], np.float32)


def test_every_pair_over_the_threshold_comes_by_box_then_by_class():
    scores = np.array([[0.9, 0.1, 0.8], [0.1, 0.1, 0.1], [0.2, 0.95, 0.7]], np.float32)
    chosen = select(ScoredBoxes(BOXES, scores), 0.5)
    np.testing.assert_array_equal(chosen.boxes_xyxy, BOXES[[0, 0, 2, 2]])
    np.testing.assert_array_equal(chosen.scores, np.array([0.9, 0.8, 0.95, 0.7], np.float32))
    np.testing.assert_array_equal(chosen.class_ids, [0, 2, 1, 2])


def test_a_score_equal_to_the_threshold_is_not_over_it():
    scores = np.array([[0.25], [0.5], [np.nextafter(0.5, 1)]])
    chosen = select(ScoredBoxes(BOXES, scores), 0.5)
    np.testing.assert_array_equal(chosen.boxes_xyxy, BOXES[[2]])


def test_threshold_zero_drops_zeros_and_threshold_one_drops_all():
    scored = ScoredBoxes(BOXES, np.array([[0.0], [1e-30], [1.0]]))
    assert len(select(scored, 0).scores) == 2
    assert len(select(scored, 1).scores) == 0


def test_nan_scores_are_dropped():
    scored = ScoredBoxes(BOXES[:1], np.array([[NAN, 0.5]]))
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(select(scored, 0.1).class_ids, [1])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("coordinate", range(4))
def test_boxes_that_are_not_finite_are_dropped(bad, coordinate):
    boxes = BOXES.copy()
    boxes[1, coordinate] = bad
    chosen = select(ScoredBoxes(boxes, np.ones((3, 2), np.float32)), 0.5)
    np.testing.assert_array_equal(chosen.boxes_xyxy, BOXES[[0, 0, 2, 2]])
    np.testing.assert_array_equal(chosen.class_ids, [0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept_and_class_ids_are_int64(dtype):
    chosen = select(ScoredBoxes(BOXES.astype(dtype), np.ones((3, 1), dtype)), 0.5)
    assert (chosen.boxes_xyxy.dtype, chosen.scores.dtype, chosen.class_ids.dtype) == (dtype, dtype, np.int64)


def test_no_boxes_and_none_over_the_threshold_give_empty_arrays():
    for scored in (
        ScoredBoxes(np.zeros((0, 4)), np.zeros((0, 7))),
        ScoredBoxes(np.zeros((3, 4)), np.zeros((3, 7))),
    ):
        chosen = select(scored, 0.5)
        assert (chosen.boxes_xyxy.shape, chosen.scores.shape, chosen.class_ids.shape) == ((0, 4), (0,), (0,))
        assert chosen.class_ids.dtype == np.int64


@pytest.mark.parametrize(("boxes", "scores"), [((3, 5), (3, 2)), ((4,), (1, 2)), ((3, 4), (2, 2)), ((3, 4), (3,))])
def test_shapes_that_do_not_belong_together_are_refused(boxes, scores):
    with pytest.raises(ValueError, match=r"expected boxes \(M, 4\) and scores \(M, C\)"):
        select(ScoredBoxes(np.zeros(boxes), np.zeros(scores)), 0.5)


def test_a_nan_threshold_is_refused():
    with pytest.raises(ValueError, match="score_threshold"):
        select(ScoredBoxes(BOXES, np.ones((3, 1))), NAN)
