"""Detections beside the truth of a scene: which one is which object, and the table and the picture of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pure_detect.demo.comparison import compare, comparison_table
from pure_detect.demo.panels import GAP, PAPER, Panel, draw_panels
from pure_detect.demo.scenes import LABELS, Scene, draw_scene
from pure_detect.detections import Detections

SIZE = 100
STAR, HEART = LABELS.index("star"), LABELS.index("heart")


def scene(*objects: tuple[int, Sequence[float]], size: int = SIZE) -> Scene:
    boxes = np.array([box for _, box in objects], np.float64).reshape(-1, 4)
    return Scene(np.zeros((size, size, 3), np.uint8), boxes, np.array([c for c, _ in objects], np.int64))


def found(*rows: tuple[float, int, Sequence[float]], size: int = SIZE) -> Detections:
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    class_ids = [class_id for _, class_id, _ in rows]
    return Detections(boxes, [s for s, _, _ in rows], class_ids, tuple(LABELS[c] for c in class_ids), size, size)


def test_a_detection_belongs_to_the_object_of_its_class_that_it_overlaps_most() -> None:
    truth = scene((STAR, (0, 0, 40, 40)), (STAR, (10, 0, 50, 40)), (HEART, (8, 0, 48, 40)))
    comparison = compare(truth, found((0.9, STAR, (9, 0, 49, 40))))
    assert [match is not None for match in comparison.matches] == [False, True, False]
    assert comparison.matches[1] is not None
    assert comparison.matches[1].iou == pytest.approx(39 / 41)
    assert (comparison.found, comparison.false) == (1, [])


def test_an_object_goes_to_the_better_score_and_the_other_is_false() -> None:
    truth = scene((STAR, (0, 0, 40, 40)))
    comparison = compare(truth, found((0.6, STAR, (0, 0, 40, 40)), (0.9, STAR, (0, 0, 40, 30))))
    (match,) = comparison.matches
    assert match is not None
    assert match.detection.score == pytest.approx(0.9)
    assert [detection.score for detection in comparison.false] == pytest.approx([0.6])


def test_a_second_object_is_left_to_a_second_detection() -> None:
    truth = scene((STAR, (0, 0, 40, 40)), (STAR, (0, 10, 40, 50)))
    both = found((0.9, STAR, (0, 2, 40, 42)), (0.8, STAR, (0, 3, 40, 43)))
    assert compare(truth, both).found == 2


@pytest.mark.parametrize(
    ("class_id", "box", "count"),
    [(STAR, (0, 0, 20, 40), 1), (STAR, (0, 0, 19.9, 40), 0), (HEART, (0, 0, 40, 40), 0)],
    ids=["half-is-enough", "less-is-not", "another-class"],
)
def test_half_an_overlap_of_the_right_class_counts(class_id: int, box: Sequence[float], count: int) -> None:
    comparison = compare(scene((STAR, (0, 0, 40, 40))), found((0.9, class_id, box)))
    assert (comparison.found, len(comparison.false)) == (count, 1 - count)


def test_nothing_in_the_scene_and_nothing_found_are_no_trouble() -> None:
    assert compare(scene(), found()) == ([], [])
    assert compare(scene((STAR, (0, 0, 9, 9))), found()) == ([None], [])
    assert len(compare(scene(), found((0.9, STAR, (0, 0, 9, 9)))).false) == 1


def test_the_table_has_a_line_an_object_and_a_line_a_false_detection() -> None:
    truth = scene((STAR, (0, 0, 40, 40)), (HEART, (50, 50, 90, 90)))
    one = compare(truth, found((0.91, STAR, (0, 0, 40, 40)), (0.6, HEART, (0, 60, 20, 80))))
    two = compare(truth, found((0.82, HEART, (50, 50, 90, 80))))
    lines = [line.split() for line in comparison_table(truth, {"one": one, "two": two}).splitlines()]
    assert lines == [
        ["one", "two"],
        ["the", "truth", "x1", "y1", "x2", "y2", "score", "IoU", "score", "IoU"],
        ["star", "0", "0", "40", "40", "0.91", "1.00", "missed"],
        ["heart", "50", "50", "90", "90", "missed", "0.82", "0.75"],
        ["no", "object", "of", "the", "truth:"],
        ["heart", "0", "60", "20", "80", "0.60", "-"],
    ]


@pytest.mark.parametrize("size", [1, 256, 9999])
def test_the_table_of_three_networks_fits_80_columns_and_stays_aligned(size: int) -> None:
    box = (size / 2, size / 2, size, size)
    truth = scene(*((class_id, box) for class_id in range(len(LABELS))), size=size)
    detections = found(*((0.5, class_id, box) for class_id in range(len(LABELS))), size=size)
    names = ("yolo", "ssdlite", "efficientdet")
    lines = comparison_table(truth, dict.fromkeys(names, compare(truth, detections))).splitlines()
    assert max(map(len, lines)) <= 80
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(("width", "height", "scale"), [(256, 256, 2), (640, 480, 1), (90, 30, 14)])
def test_results_stand_side_by_side_under_their_titles(width: int, height: int, scale: int) -> None:
    drawn = draw_scene(0, width, height)
    nothing = Detections([], [], [], (), height, width)
    one = Detections([[0, 0, width, height]], [0.9], [0], ("ellipse",), height, width)
    sheet = np.asarray(draw_panels(drawn, [Panel("left", nothing), Panel("right", one)]))
    assert sheet.shape[1] == 2 * scale * width + 3 * GAP
    top = sheet.shape[0] - GAP - scale * height
    left = sheet[top:-GAP, GAP : GAP + scale * width]
    right = sheet[top:-GAP, 2 * GAP + scale * width : -GAP]
    assert np.array_equal(left[::scale, ::scale], drawn.pixels)
    assert np.array_equal(left, left[::scale, ::scale].repeat(scale, axis=0).repeat(scale, axis=1))
    assert (right != left).any()
    for title in (sheet[:top, : GAP + scale * width], sheet[:top, 2 * GAP + scale * width :]):
        assert (title != PAPER).any()
