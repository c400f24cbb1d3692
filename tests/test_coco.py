"""COCO's protocol on cases small enough to work out by hand; pycocotools itself stands in parity/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pure_detect import InputError, jit
from pure_detect.evaluate import Category, GroundTruth, Image, Results, evaluate
from pure_detect.evaluate.coco_figures import FIGURES
from tests.coco_sets import adversarial_sets, arrays, random_set

BOX = (10.0, 10.0, 40.0, 40.0)
NO_RESULTS = Results([], [], [], [])


def shares(*shares: float) -> list[tuple[float, float, float, float]]:
    """Boxes whose IoU with BOX is the given share."""
    return [(10.0, 10.0, 40.0 * share, 40.0) for share in shares]


def one_class(boxes: list, scores: list, truth: list, **options) -> dict[str, float]:
    """Figures for one image and one class."""
    results = Results([1] * len(boxes), [1] * len(boxes), boxes, scores)
    options = {"images": [Image(1)], "categories": [Category(1)]} | options
    return evaluate(results, GroundTruth([1] * len(truth), [1] * len(truth), truth, **options)).figures()


def test_an_exact_detection_gives_one_everywhere_its_area_counts() -> None:
    figures = one_class([BOX], [0.3], [BOX])
    assert list(figures) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    absent = {"APs", "APl", "ARs", "ARl"}
    for name, value in figures.items():
        assert value == (-1 if name in absent else pytest.approx(1, abs=1e-15)), name


def test_without_any_detection_figures_are_zero_and_minus_one_where_nothing_counts() -> None:
    figures = one_class([], [], [BOX])
    assert figures["AP"] == figures["AP50"] == figures["APm"] == figures["AR100"] == figures["ARm"] == 0
    assert figures["APs"] == figures["APl"] == figures["ARs"] == -1


def test_without_any_object_every_figure_is_minus_one() -> None:
    assert set(one_class([BOX], [0.5], []).values()) == {-1}
    assert set(one_class([], [], []).values()) == {-1}


def test_a_data_set_without_images_or_classes_has_no_figures() -> None:
    assert set(evaluate(NO_RESULTS, GroundTruth([], [], [])).figures().values()) == {-1}


@pytest.mark.parametrize(("share", "thresholds_passed"), [(0.5, 1), (0.75, 6), (0.95, 10), (0.499999, 0), (0.9, 9)])
def test_an_iou_equal_to_the_threshold_is_a_match(share: float, thresholds_passed: int) -> None:
    assert one_class(shares(share), [0.9], [BOX])["AR100"] == pytest.approx(thresholds_passed / 10)


def test_a_false_alarm_before_the_hit_halves_precision() -> None:
    far = (500.0, 10.0, 40.0, 40.0)
    assert one_class([far, BOX], [0.9, 0.8], [BOX])["AP50"] == pytest.approx(0.5)
    assert one_class([far, BOX], [0.7, 0.8], [BOX])["AP50"] == pytest.approx(1)


def test_equal_scores_keep_the_given_order() -> None:
    far = (500.0, 10.0, 40.0, 40.0)
    assert one_class([far, BOX], [0.8, 0.8], [BOX])["AP50"] == pytest.approx(0.5)
    assert one_class([BOX, far], [0.8, 0.8], [BOX])["AP50"] == pytest.approx(1)


def test_equal_scores_of_two_images_go_by_image_id_whatever_the_order_of_rows() -> None:
    far = (500.0, 10.0, 40.0, 40.0)
    truth = GroundTruth([5], [1], [BOX], images=[Image(9), Image(5)])
    for rows in ([5, 9], [9, 5]):
        results = Results(rows, [1, 1], [BOX if row == 5 else far for row in rows], [0.5, 0.5])
        assert evaluate(results, truth).figures()["AP50"] == pytest.approx(1)
    truth = GroundTruth([9], [1], [BOX], images=[Image(9), Image(5)])
    results = Results([9, 5], [1, 1], [BOX, far], [0.5, 0.5])
    assert evaluate(results, truth).figures()["AP50"] == pytest.approx(0.5)


def test_one_of_three_objects_found_reaches_the_first_34_recall_points() -> None:
    other = [(200.0, 0.0, 40.0, 40.0), (300.0, 0.0, 40.0, 40.0)]
    figures = one_class([BOX], [0.9], [BOX, *other])
    assert figures["AP50"] == pytest.approx(34 / 101)
    assert figures["AR1"] == pytest.approx(1 / 3)


def test_a_second_detection_of_an_object_is_a_false_alarm_but_a_crowd_absorbs_all() -> None:
    second = (300.0, 300.0, 40.0, 40.0)
    boxes, scores = [BOX, BOX, second], [0.9, 0.8, 0.7]
    two_of_three = (51 * 1 + 50 * 2 / 3) / 101
    assert one_class(boxes, scores, [BOX, second])["AP50"] == pytest.approx(two_of_three)
    assert one_class(boxes, scores, [BOX, second], iscrowd=[1, 0])["AP50"] == pytest.approx(1)


def test_iou_with_a_crowd_is_the_share_of_the_detection_inside() -> None:
    inside = (20.0, 20.0, 2.0, 2.0)
    crowd_and_one = [(0.0, 0.0, 200.0, 200.0), (300.0, 300.0, 40.0, 40.0)]
    boxes, scores = [inside, crowd_and_one[1]], [0.9, 0.8]
    assert one_class(boxes, scores, crowd_and_one, iscrowd=[1, 0])["AP50"] == pytest.approx(1)
    assert one_class(boxes, scores, crowd_and_one)["AP50"] == pytest.approx(51 / 101 * 0.5)


@pytest.mark.parametrize(
    ("area", "ranges"), [(1024, "sm"), (1024.5, "m"), (9216, "ml"), (9216.5, "l"), (0, "s"), (1e10, "l"), (1.1e10, "")]
)
def test_both_ends_of_an_area_range_lie_within(area: float, ranges: str) -> None:
    figures = one_class([BOX], [0.9], [BOX], areas=[area])
    assert "".join(name for name in "sml" if figures[f"AP{name}"] > 0) == ranges


@pytest.mark.parametrize(("side", "counted"), [(32, True), (31.99, False), (96, True), (96.01, False)])
def test_a_detection_that_hits_nothing_counts_in_the_ranges_of_its_own_area(side: float, counted: bool) -> None:
    missed = (300.0, 300.0, side, side)
    assert one_class([missed, BOX], [0.9, 0.8], [BOX])["APm"] == pytest.approx(0.5 if counted else 1)


def test_a_detection_of_an_object_outside_the_range_is_left_out() -> None:
    """Both boxes are medium, but the mask of the first object is small."""
    second = (300.0, 300.0, 40.0, 40.0)
    figures = one_class([BOX, second], [0.9, 0.8], [BOX, second], areas=[900, 1500])
    assert figures["APm"] == pytest.approx(1)
    assert one_class([BOX, second], [0.9, 0.8], [second], areas=[1500])["APm"] == pytest.approx(0.5)


def test_an_object_that_counts_goes_before_one_that_does_not_whatever_their_ious() -> None:
    near, exact = (10.0, 10.0, 40.0, 30.0), BOX
    figures = one_class([BOX], [0.9], [exact, near], areas=[900, 1200])
    assert figures["APm"] == pytest.approx(0.6)  # an IoU of 0.75 passes six thresholds; beyond, the small one takes it
    assert figures["APs"] == pytest.approx(1)


def test_the_precision_of_one_hit_is_pycocotools_to_the_last_bit() -> None:
    evaluation = evaluate(Results([1], [1], [BOX], [0.9]), GroundTruth([1], [1], [BOX]))
    assert evaluation.precision[0, 0, 0, 0, 2] == 0.9999999999999998
    assert evaluation.scores[0, :, 0, 0, 2].tolist() == [0.9] * 101


def test_recall_zero_is_reached_at_the_first_detections_score_hit_or_not() -> None:
    far = (500.0, 10.0, 40.0, 40.0)
    scores = evaluate(Results([1, 1], [1, 1], [far, BOX], [0.9, 0.6]), GroundTruth([1], [1], [BOX])).scores
    assert scores[0, :2, 0, 0, 2].tolist() == [0.9, 0.6]


def test_only_the_best_100_of_an_image_and_class_count() -> None:
    boxes = [(500.0, 10.0 * i, 5.0, 5.0) for i in range(100)] + [BOX]
    scores = [1 - i / 1000 for i in range(101)]
    assert one_class(boxes, scores, [BOX])["AR100"] == 0
    assert one_class(boxes[1:], scores[1:], [BOX])["AR100"] == pytest.approx(1)
    assert one_class(boxes[91:], scores[91:], [BOX])["AR10"] == pytest.approx(1)
    assert one_class(boxes[90:], scores[90:], [BOX])["AR10"] == 0


def test_figures_are_means_over_classes_that_have_objects() -> None:
    truth = GroundTruth([1, 1], [1, 2], [BOX, BOX], categories=[Category(2, "b"), Category(1, "a"), Category(3, "c")])
    evaluation = evaluate(Results([1, 1], [1, 3], [BOX, BOX], [0.5, 0.5]), truth)
    assert evaluation.figures()["AP"] == pytest.approx(0.5)
    rows = [(row.category.id, row.category.name, row.ap, row.ap50, row.ap75) for row in evaluation.per_category()]
    assert rows == [(1, "a", *[pytest.approx(1)] * 3), (2, "b", 0, 0, 0), (3, "c", -1, -1, -1)]
    np.testing.assert_allclose(evaluation.curve(0.5), np.full(101, 0.5))


def test_figures_are_the_means_of_the_arrays_they_name() -> None:
    evaluation = evaluate(*arrays(random_set(4)))
    figures = evaluation.figures()
    assert figures["AP"] == pytest.approx(evaluation.precision[..., 0, 2].mean(), abs=1e-15)
    assert figures["AP75"] == pytest.approx(evaluation.precision[5, ..., 0, 2].mean(), abs=1e-15)
    assert figures["AR10"] == pytest.approx(evaluation.recall[..., 0, 1].mean(), abs=1e-15)
    assert figures["APl"] == pytest.approx(evaluation.precision[..., 3, 2].mean(), abs=1e-15)
    assert [figure.name for figure in FIGURES] == list(figures)


@pytest.mark.parametrize("case", adversarial_sets(), ids=lambda case: case.name)
def test_the_number_of_threads_changes_nothing(case) -> None:
    many = evaluate(*arrays(case))
    try:
        jit.set_threads(1)
        one = evaluate(*arrays(case))
    finally:
        jit.set_threads(None)
    np.testing.assert_array_equal(one.precision, many.precision)
    np.testing.assert_array_equal(one.recall, many.recall)


def test_the_plain_python_of_the_kernels_gives_the_same() -> None:
    """Without Numba's compiler an index outside of an array is an error, and division is Python's."""
    program = (
        "from pure_detect.evaluate import evaluate; from tests.coco_sets import arrays, random_set;"
        "print(evaluate(*arrays(random_set(1, images=4))).figures())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(evaluate(*arrays(random_set(1, images=4))).figures())


def test_an_unknown_image_or_category_is_named() -> None:
    truth = GroundTruth([1, 2], [1, 3], [BOX, BOX])
    results = Results([1, 2, 7, 8], [1, 3, 1, 2], [BOX] * 4, [0.5] * 4, source="mine.json")
    expected = "mine.json: detections[2].image_id: expected the id of one of the 2 images of ground truth, found 7"
    with pytest.raises(InputError, match=re.escape(expected)):
        evaluate(results, truth)
    results = Results([1, 2], [3, 2], [BOX] * 2, [0.5] * 2)
    expected = "results: detections[1].category_id: expected the id of one of the 2 categories of ground truth, found 2"
    with pytest.raises(InputError, match=re.escape(expected)):
        evaluate(results, truth)
