"""VOC's protocol: cases worked out by hand, and a recording of py-faster-rcnn's own evaluation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pure_detect import InputError
from pure_detect.evaluate import Category, GroundTruth, Image, Results, evaluate_voc, xywh_from_pixels
from pure_detect.evaluate.voc import average_precision

BOX, FAR = (10.0, 10.0, 20.0, 20.0), (200.0, 200.0, 20.0, 20.0)


def one_class(boxes: list, scores: list, truth: list, *, difficult: list | None = None, **options):
    results = Results([1] * len(boxes), [1] * len(boxes), boxes, scores)
    tables = {"images": [Image(1)], "categories": [Category(1)]}
    truth = GroundTruth([1] * len(truth), [1] * len(truth), truth, difficult=difficult, **tables)
    return evaluate_voc(results, truth, **options)


@pytest.mark.parametrize(
    ("recall", "precision", "area", "eleven"),
    [
        ([], [], 0, 0),
        ([1], [1], 1, 1),
        ([0.5], [1], 0.5, 6 / 11),
        ([0, 1], [0, 0.5], 0.5, 0.5),
        ([0.5, 0.5, 1], [1, 0.5, 2 / 3], 0.5 + 0.5 * 2 / 3, (6 + 5 * 2 / 3) / 11),
        # 3 of 10 does not reach the fourth of the eleven points, which is 0.30000000000000004
        ([3 / 10], [1], 0.3, 3 / 11),
        ([0.4], [1], 0.4, 5 / 11),
    ],
)
def test_average_precision_of_curves_worked_out_by_hand(recall, precision, area, eleven) -> None:
    assert average_precision(recall, precision, "area") == pytest.approx(area, abs=1e-15)
    assert average_precision(recall, precision, "11-point") == pytest.approx(eleven, abs=1e-15)


def test_an_iou_equal_to_the_threshold_is_no_match() -> None:
    half = (10.0, 10.0, 10.0, 20.0)
    assert one_class([half], [0.9], [BOX]).mean() == 0
    assert one_class([half], [0.9], [BOX], iou_threshold=0.4999).mean() == 1
    assert one_class([(10.0, 10.0, 10.001, 20.0)], [0.9], [BOX]).mean() == 1


def test_a_second_hit_is_a_false_alarm_even_where_another_object_would_do() -> None:
    """COCO would give the second detection to the other object; VOC looks at the best one only."""
    beside = (12.0, 10.0, 20.0, 20.0)
    curve = one_class([BOX, BOX], [0.9, 0.8], [BOX, beside]).curves[0]
    np.testing.assert_array_equal(curve.recall, [0.5, 0.5])
    np.testing.assert_array_equal(curve.precision, [1, 0.5])


def test_of_equal_ious_the_first_object_is_taken() -> None:
    both = [(0.0, 0.0, 10.0, 10.0), (2.0, 0.0, 10.0, 10.0)]
    boxes = [(1.0, 0.0, 10.0, 10.0), both[1]]
    np.testing.assert_array_equal(one_class(boxes, [0.9, 0.8], both).curves[0].recall, [0.5, 1])
    np.testing.assert_array_equal(one_class(boxes, [0.9, 0.8], both[::-1]).curves[0].recall, [0.5, 0.5])


def test_difficult_objects_are_neither_wanted_nor_wrong() -> None:
    curve = one_class([FAR, FAR, BOX], [0.9, 0.8, 0.7], [BOX, FAR], difficult=[0, 1]).curves[0]
    np.testing.assert_array_equal(curve.recall, [0, 0, 1])
    np.testing.assert_array_equal(curve.precision, [0, 0, 1])
    np.testing.assert_array_equal(curve.scores, [0.9, 0.8, 0.7])


def test_a_class_with_difficult_objects_only_is_left_out_of_the_mean() -> None:
    truth = GroundTruth([1, 1], [1, 2], [BOX, BOX], difficult=[0, 1], categories=[Category(i) for i in (1, 2, 3)])
    evaluation = evaluate_voc(Results([1, 1], [1, 2], [BOX, BOX], [0.5, 0.5]), truth)
    np.testing.assert_array_equal(evaluation.average_precisions, [1, -1, -1])
    assert evaluation.mean() == 1
    assert one_class([], [], []).mean() == -1


def test_nothing_found_is_zero() -> None:
    assert one_class([], [], [BOX]).mean() == 0


def test_images_and_classes_are_kept_apart() -> None:
    truth = GroundTruth([1, 2], [1, 2], [BOX, BOX])
    swapped = Results([2, 1], [1, 2], [BOX, BOX], [0.5, 0.5])
    assert evaluate_voc(swapped, truth).mean() == 0


def test_pixels_numbered_from_1_become_edges_from_0() -> None:
    np.testing.assert_array_equal(xywh_from_pixels([(1, 1, 1, 1), (3, 2, 10, 5)]), [(0, 0, 1, 1), (2, 1, 8, 4)])


def test_pixel_boxes_count_the_last_pixel_of_a_result() -> None:
    """As VOC's tools: the object is pixels 1 to 3, the result x = 0 to 1, which is written as pixels 1 to 2."""
    truth = xywh_from_pixels([(1, 1, 3, 1)]).tolist()
    edges = [(0.0, 0.0, 1.0, 0.5)]
    assert one_class(edges, [0.5], truth, pixel_boxes=False).mean() == 0
    assert one_class([(0.0, 0.0, 1.0, 1e-9)], [0.5], truth, pixel_boxes=True).mean() == 1


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "golden" / "voc_eval.npz") as file:
        return dict(file)


def recorded_truth(recorded: dict[str, np.ndarray]) -> GroundTruth:
    return GroundTruth(
        recorded["truth_image"],
        recorded["truth_class"],
        xywh_from_pixels(recorded["truth_boxes"]),
        difficult=recorded["truth_difficult"],
        images=[Image(i) for i in range(12)],
        categories=[Category(i) for i in range(3)],
    )


@pytest.mark.parametrize("edges", [False, True], ids=["pixels", "edges-and-pixel_boxes"])
def test_curves_and_both_averages_equal_py_faster_rcnn(recorded: dict[str, np.ndarray], edges: bool) -> None:
    boxes = xywh_from_pixels(recorded["boxes"]) - np.array([0, 0, edges, edges])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1e-9)  # a box of one pixel has edges without any width between them
    results = Results(recorded["image"], recorded["class_"], boxes, recorded["scores"])
    truth = recorded_truth(recorded)
    evaluation = evaluate_voc(results, truth, pixel_boxes=edges)
    for c, curve in enumerate(evaluation.curves):
        np.testing.assert_allclose(curve.recall, recorded[f"recall_{c}"], rtol=0, atol=1e-15)
        np.testing.assert_allclose(curve.precision, recorded[f"precision_{c}"], rtol=0, atol=1e-15)
    eleven = evaluate_voc(results, truth, method="11-point", pixel_boxes=edges).average_precisions
    np.testing.assert_allclose(evaluation.average_precisions, recorded["area"], rtol=0, atol=1e-15)
    np.testing.assert_allclose(eleven, recorded["eleven"], rtol=0, atol=1e-15)


def test_the_recording_tells_pixels_from_edges(recorded: dict[str, np.ndarray]) -> None:
    boxes = xywh_from_pixels(recorded["boxes"]) - np.array([0, 0, 1, 1]) * 0.9
    results = Results(recorded["image"], recorded["class_"], boxes, recorded["scores"])
    assert not np.allclose(evaluate_voc(results, recorded_truth(recorded)).average_precisions, recorded["area"])


def test_options_out_of_range_and_unknown_ids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"iou_threshold must lie from 0 to 1, got 1\.5"):
        one_class([BOX], [0.5], [BOX], iou_threshold=1.5)
    with pytest.raises(ValueError, match="method must be one of area, 11-point, got '12'"):
        one_class([BOX], [0.5], [BOX], method="12")
    expected = "results: detections[0].category_id: expected the id of one of the 1 categories of ground truth, found 9"
    with pytest.raises(InputError, match=re.escape(expected)):
        evaluate_voc(Results([1], [9], [BOX], [0.5]), GroundTruth([1], [1], [BOX]))
