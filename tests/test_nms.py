"""Non-maximum suppression by hand, by a plain loop, and by recordings of Darknet's C code."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.coordinates import cxcywh_to_xyxy, pairwise_iou
from pure_detect.boxes.nms import RULES, nms
from tests.golden.record_darknet_boxes import COMMAND, load

NAN, INF = np.nan, np.inf


def kept(boxes, scores, class_ids=None, iou_threshold=0.45, **options):
    """Return what nms keeps as a list; all boxes of one class unless `class_ids` says otherwise."""
    boxes = np.array(boxes, np.float64)
    class_ids = np.zeros(len(boxes), np.int64) if class_ids is None else np.array(class_ids)
    result = nms(boxes, np.array(scores), class_ids, iou_threshold, **options)
    assert result.dtype == np.int64
    return result.tolist()


def random_boxes(seed, count, classes, side=0.4):
    """Return boxes in the unit square, scores with many ties (a multiple of 1/16) and class ids."""
    random = np.random.default_rng(seed)
    centres, sizes = random.random((count, 2)), random.random((count, 2)) * side
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    return boxes, random.integers(1, 17, count) / 16, random.integers(0, classes, count)


def plain_nms(boxes, scores, class_ids, overlap, threshold):
    """Return the kept indices by the definition, one box after another; `overlap` is the (K, K) table."""
    keep: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if not any(class_ids[j] == class_ids[i] and overlap[j, i] > threshold for j in keep):
            keep.append(i)
    return keep


def overlap_table(boxes, rule, beta):
    """Return IoU, lowered by (d² / c²)^power unless the rule is plain IoU, for every pair of boxes."""
    iou = pairwise_iou(boxes, boxes)
    if rule == "iou":
        return iou
    a, b = boxes[:, None], boxes[None]
    distance = ((((a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])) / 2) ** 2).sum(axis=-1)
    around = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    return iou - (distance / (around**2).sum(axis=-1)) ** (0.6 if rule == "darknet-greedy" else beta)


def test_the_best_of_overlapping_boxes_is_kept():
    boxes = [[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]]  # IoU of the first two: 0.81
    assert kept(boxes, [0.6, 0.9, 0.7]) == [1, 2]


def test_indices_come_by_score_the_best_first():
    boxes = [[10 * i, 0, 10 * i + 1, 1] for i in range(4)]
    assert kept(boxes, [0.2, 0.9, 0.4, 0.7]) == [1, 3, 2, 0]
    assert kept(boxes, [0.2, 0.9, 0.4, 0.7], [0, 5, 1, 2]) == [1, 3, 2, 0]


def test_an_iou_equal_to_the_threshold_does_not_suppress():
    boxes = [[0, 0, 4, 4], [0, 0, 4, 2]]  # IoU exactly 1/2
    assert kept(boxes, [0.9, 0.8], iou_threshold=0.5) == [0, 1]
    assert kept(boxes, [0.9, 0.8], iou_threshold=np.nextafter(0.5, 0)) == [0]


def test_a_suppressed_box_suppresses_nothing():
    boxes = [[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]]  # neighbours: 6/14, first and last: 2/18
    assert kept(boxes, [0.9, 0.8, 0.7], iou_threshold=0.4) == [0, 2]


def test_boxes_of_different_classes_suppress_each_other_only_when_class_agnostic():
    boxes = [[0, 0, 10, 10]] * 3
    assert kept(boxes, [0.7, 0.9, 0.8], [3, 1, 3]) == [1, 2]
    assert kept(boxes, [0.7, 0.9, 0.8], [3, 1, 3], class_agnostic=True) == [1]


def test_of_equal_scores_the_lower_index_wins_and_comes_first():
    boxes = [[0, 0, 10, 10]] * 3 + [[50, 50, 60, 60]] * 2
    assert kept(boxes, [0.5] * 5) == [0, 3]
    assert kept(boxes, [0.5] * 5, [9, 4, 9, 4, 0]) == [0, 1, 3, 4]


def test_two_thousand_equal_scores_stay_in_order():
    boxes = [[2 * i, 0, 2 * i + 1, 1] for i in range(2000)]
    assert kept(boxes, np.full(2000, 0.5, np.float32)) == list(range(2000))


def test_threshold_zero_suppresses_any_shared_area_and_threshold_one_nothing():
    boxes = [[0, 0, 10, 10], [9.99, 9.99, 20, 20], [20, 0, 30, 10], [0, 0, 10, 10]]
    assert kept(boxes, [0.9, 0.8, 0.7, 0.6], iou_threshold=0) == [0, 2]
    assert kept(boxes, [0.9, 0.8, 0.7, 0.6], iou_threshold=1) == [0, 1, 2, 3]


def test_limit_cuts_the_worst_over_all_classes():
    boxes = [[10 * i, 0, 10 * i + 1, 1] for i in range(4)]
    arguments = (boxes, [0.2, 0.9, 0.4, 0.7], [0, 1, 0, 1])
    assert kept(*arguments, limit=2) == [1, 3]
    assert kept(*arguments, limit=0) == []
    assert kept(*arguments, limit=9) == [1, 3, 2, 0]
    assert kept(*arguments, limit=None) == [1, 3, 2, 0]


def test_rules_lower_the_overlap_by_the_distance_of_the_centres():
    # IoU 6/10 = 0.6. Centres 2 apart, box around both 10 by 6: d²/c² = 4/136; ^0.6: 0.1206, ^0.3: 0.3472.
    boxes, scores = [[0, 0, 8, 6], [2, 0, 10, 6]], [0.9, 0.8]
    overlaps = {"iou": 0.6, "darknet-greedy": 0.6 - 0.12056, "diou": 0.6 - 0.34722}
    for rule, overlap in overlaps.items():
        assert kept(boxes, scores, iou_threshold=overlap + 1e-4, rule=rule, beta=0.3) == [0, 1], rule
        assert kept(boxes, scores, iou_threshold=overlap - 1e-4, rule=rule, beta=0.3) == [0], rule


def test_greedy_is_diou_with_the_power_six_tenths_whatever_beta_says():
    boxes, scores, class_ids = random_boxes(5, 300, 2)
    greedy = nms(boxes, scores, class_ids, 0.2, rule="darknet-greedy", beta=2.0)
    np.testing.assert_array_equal(greedy, nms(boxes, scores, class_ids, 0.2, rule="diou", beta=0.6))
    assert len(greedy) != len(nms(boxes, scores, class_ids, 0.2, rule="diou", beta=2.0))


@pytest.mark.parametrize("class_agnostic", [False, True], ids=["per class", "class-agnostic"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.45, 0.6])
def test_the_kernel_equals_a_plain_loop_over_the_definition(rule, threshold, class_agnostic):
    boxes, scores, class_ids = random_boxes(17, 250, 3)
    classes = np.zeros_like(class_ids) if class_agnostic else class_ids
    expected = plain_nms(boxes, scores, classes, overlap_table(boxes, rule, 0.9), threshold)
    options = {"class_agnostic": class_agnostic, "rule": rule, "beta": 0.9}
    np.testing.assert_array_equal(nms(boxes, scores, class_ids, threshold, **options), expected)
    assert len(expected) < 250


def test_nan_scores_are_never_kept():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [50, 0, 60, 10]]
    assert kept(boxes, [NAN, 0.3, NAN]) == [1]
    assert kept(boxes, [NAN] * 3) == []


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, where NUMBA_DISABLE_JIT=1
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("coordinate", range(4))
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_box_that_is_not_finite_suppresses_nothing_and_is_not_suppressed(bad, coordinate, rule):
    boxes = np.array([[0, 0, 10, 10]] * 4, np.float64)
    boxes[[0, 2], coordinate] = bad
    assert kept(boxes, [0.9, 0.8, 0.7, 0.6], iou_threshold=0, rule=rule) == [0, 1, 2]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("flat", [[5, 5, 5, 5], [0, 5, 10, 5], [5, 0, 5, 10], [10, 10, 0, 0]])
def test_boxes_without_area_are_all_kept(flat, rule):
    boxes = [flat, flat, [0, 0, 10, 10]]
    assert kept(boxes, [0.9, 0.8, 0.7], iou_threshold=0, rule=rule) == [0, 1, 2]


def test_infinite_scores_come_first_and_last():
    boxes = [[10 * i, 0, 10 * i + 1, 1] for i in range(3)]
    assert kept(boxes, [-INF, 0.5, INF]) == [2, 1, 0]


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("class_ids", [np.zeros(0, np.int64), []], ids=["int64", "list"])
def test_no_boxes_keep_no_boxes(class_agnostic, class_ids):
    result = nms(np.zeros((0, 4)), [], class_ids, class_agnostic=class_agnostic)
    assert (result.shape, result.dtype) == ((0,), np.int64)


def test_overlap_is_computed_in_float64_for_float32_boxes():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 3]], np.float32)  # in float32, 1/3 comes out larger
    np.testing.assert_array_equal(nms(boxes, [0.9, 0.8], [0, 0], 1 / 3), [0, 1])


def test_float64_boxes_and_scores_are_not_rounded():
    boxes = [[0, 0, 1, 1], [1 - 1e-9, 0, 2, 1]]
    assert kept(boxes, [0.5, 0.5 + 1e-9], iou_threshold=0) == [1]


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids", "message"),
    [
        (np.zeros((2, 5)), [1, 1], [0, 0], r"boxes_xyxy must have shape \(K, 4\), got \(2, 5\)"),
        (np.zeros(4), [1], [0], r"boxes_xyxy must have shape \(K, 4\), got \(4,\)"),
        (np.zeros((2, 4)), [1], [0, 0], r"scores must have shape \(2,\), one a box, got \(1,\)"),
        (np.zeros((2, 4)), [[1], [1]], [0, 0], r"scores must have shape \(2,\), one a box, got \(2, 1\)"),
        (np.zeros((2, 4)), [1, 1], [0], r"class_ids must have shape \(2,\), one a box, got \(1,\)"),
        (np.zeros((2, 4)), [1, 1], [0.0, 1.5], "class_ids must be integers, got float64"),
    ],
)
def test_arguments_that_do_not_belong_together_are_refused(boxes, scores, class_ids, message):
    with pytest.raises(ValueError, match=message):
        nms(boxes, scores, class_ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou_threshold": -0.1}, "iou_threshold must lie from 0 to 1, got -0.1"),
        ({"iou_threshold": 45}, "iou_threshold must lie from 0 to 1, got 45"),
        ({"iou_threshold": NAN}, "iou_threshold must lie from 0 to 1, got nan"),
        ({"rule": "soft"}, "rule must be one of iou, darknet-greedy, diou, got 'soft'"),
        ({"rule": "diou", "beta": 0}, "beta must be a number greater than 0, got 0"),
        ({"rule": "diou", "beta": NAN}, "beta must be a number greater than 0, got nan"),
        ({"limit": -1}, "limit must be None or at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nms(np.zeros((1, 4)), [1.0], [0], **options)


# nms_kind and beta_nms of each recording, as its case in tests/golden/record_darknet_boxes.py has them.
RECORDED_RULES = {
    "pjreddie_yolo": ("iou", 0.6),
    "pjreddie_region": ("iou", 0.6),
    "pjreddie_region_logistic": ("iou", 0.6),
    "alexeyab_region": ("iou", 0.6),
    "alexeyab_gaussian": ("iou", 0.6),
    "alexeyab_gaussian_left_top": ("iou", 0.6),
    "alexeyab_gaussian_right_bottom": ("iou", 0.6),
    "alexeyab_yolo_scaled": ("darknet-greedy", 0.6),
    "alexeyab_yolo_new_coords": ("diou", 0.8),
}


@pytest.mark.parametrize("name", RECORDED_RULES)
def test_darknet_keeps_the_same_boxes(name):
    recorded, (rule, beta) = load(name), RECORDED_RULES[name]
    boxes, class_ids = np.nonzero(recorded["scores"])
    corners = cxcywh_to_xyxy(recorded["boxes_cxcywh"])[boxes]
    threshold = float(recorded["nms_threshold"])
    keep = nms(corners, recorded["scores"][boxes, class_ids], class_ids, threshold, rule=rule, beta=beta)
    ours = set(zip(boxes[keep].tolist(), class_ids[keep].tolist()))
    darknets = set(map(tuple, np.argwhere(recorded["kept"]).tolist()))
    assert ours == darknets, f"Darknet disagrees; to record anew: {COMMAND}"
    assert 0 < len(darknets) < len(boxes)
