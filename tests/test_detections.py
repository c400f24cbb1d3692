"""Detections: what is refused, their order, picking from them, and each format on literal boxes."""

from __future__ import annotations

import builtins
import csv
import io
import json
import pickle
from typing import Any

import numpy as np
import pytest

from pure_detect.category_ids import coco_category_ids
from pure_detect.detections import Detection, Detections
from pure_detect.errors import InputError
from pure_detect.labels import COCO_80, COCO_80_CATEGORY_IDS, COCO_91

GOOD: dict[str, Any] = {
    "boxes_xyxy": np.array([[10, 20, 30, 60], [0, 0, 100, 50], [5.5, 6.25, 7, 8]], np.float32),
    "scores": np.array([0.25, 0.875, 0.5], np.float32),
    "class_ids": np.array([16, 0, 79], np.int64),
    "labels": ("dog", "person", "toothbrush"),
    "height": 100,
    "width": 200,
}
NONE: dict[str, Any] = {**GOOD, "boxes_xyxy": [], "scores": [], "class_ids": [], "labels": ()}


def made(**changes: Any) -> Detections:
    return Detections(**{**GOOD, **changes})


class TestChecks:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"boxes_xyxy": np.zeros((3, 5))}, r"boxes_xyxy: expected shape \(3, 4\), got \(3, 5\)"),
            ({"boxes_xyxy": np.zeros((2, 4))}, r"boxes_xyxy: expected shape \(3, 4\), got \(2, 4\)"),
            ({"boxes_xyxy": np.zeros(12)}, r"boxes_xyxy: expected shape \(3, 4\)"),
            ({"boxes_xyxy": [["1"] * 4] * 3}, "boxes_xyxy: expected numbers, got <U1"),
            ({"boxes_xyxy": np.zeros((3, 4), bool)}, "boxes_xyxy: expected numbers, got bool"),
            ({"scores": np.zeros((3, 1))}, r"scores: expected shape \(3,\), got \(3, 1\)"),
            ({"scores": np.zeros(2)}, r"boxes_xyxy: expected shape \(2, 4\), got \(3, 4\)"),
            ({"scores": [1j, 0, 0]}, "scores: expected numbers, got complex128"),
            ({"class_ids": [0.0, 1.0, 2.0]}, "class_ids: expected integers, got float64"),
            ({"class_ids": [0, 1]}, r"class_ids: expected shape \(3,\), got \(2,\)"),
            ({"class_ids": [0, -1, 2]}, "class_ids: expected classes from 0, found -1 in row 1"),
            ({"labels": ("a", "b")}, "labels: expected 3 strings"),
            ({"labels": "dog"}, "labels: expected 3 strings, one a box, got 'dog'"),
            ({"labels": ("a", "b", 3)}, "labels: expected 3 strings"),
            ({"height": 0}, "height: expected a whole number of pixels, at least 1, got 0"),
            ({"width": 20.0}, "width: expected a whole number of pixels, at least 1, got 20.0"),
            ({"scores": [0.5, np.nan, 0.5]}, "scores: expected finite numbers, found nan in row 1"),
            ({"scores": [0.5, 0.5, np.inf]}, "scores: expected finite numbers, found inf in row 2"),
            ({"boxes_xyxy": [[0, 0, 1, 1], [0, 0, 1e39, 1], [0, 0, 1, 1]]}, "boxes_xyxy: expected finite .* in row 1"),
            ({"boxes_xyxy": [[0, 0, 1, 1], [0, 0, 1, 1], [2, 0, 1, 1]]}, "left, top, right, bottom, found .* in row 2"),
            ({"boxes_xyxy": [[0, 5, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]}, "left, top, right, bottom, found .* in row 0"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_name(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            made(**changes)

    def test_numbers_that_a_damaged_network_gives_are_an_input_error(self) -> None:
        with pytest.raises(InputError):
            made(boxes_xyxy=np.full((3, 4), np.nan))

    def test_dtypes_become_the_documented_ones_and_the_callers_arrays_stay(self) -> None:
        scores = np.array([0.25, 0.875, 0.5])
        found = made(boxes_xyxy=np.zeros((3, 4), np.int32), scores=scores, class_ids=np.zeros(3, np.uint8))
        dtypes = (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype)
        assert dtypes == (np.float32, np.float32, np.int64)
        assert isinstance(made(height=np.int64(7)).height, int)
        np.testing.assert_array_equal(scores, [0.25, 0.875, 0.5])
        found.scores[:] = 0
        assert scores[0] == 0.25

    def test_no_box_is_fine_and_keeps_its_shapes(self) -> None:
        found = Detections(**NONE)
        assert (found.boxes_xyxy.shape, found.scores.shape, found.class_ids.shape) == ((0, 4), (0,), (0,))
        assert len(found) == 0
        assert list(found) == []


class TestPicking:
    def test_the_best_score_comes_first_with_all_that_belongs_to_it(self) -> None:
        found = made()
        assert found.labels == ("person", "toothbrush", "dog")
        assert found.scores.tolist() == [0.875, 0.5, 0.25]
        assert found.class_ids.tolist() == [0, 79, 16]
        assert found.boxes_xyxy[:, 0].tolist() == [0, 5.5, 10]

    def test_of_equal_scores_the_one_given_earlier_comes_first_however_many(self) -> None:
        count = 3000
        rng = np.random.default_rng(3)
        scores = rng.integers(0, 3, count) / 4
        found = Detections(np.zeros((count, 4)), scores, np.arange(count), ("x",) * count, 10, 10)
        for score in (0.5, 0.25, 0.0):
            of_score = found.class_ids[found.scores == score]
            np.testing.assert_array_equal(of_score, np.flatnonzero(scores == score))

    def test_iterating_gives_plain_python_values(self) -> None:
        best = next(iter(made()))
        assert best == Detection((0.0, 0.0, 100.0, 50.0), 0.875, 0, "person")
        assert [type(value) for value in best] == [tuple, float, int, str]
        assert [detection.label for detection in made()] == ["person", "toothbrush", "dog"]

    def test_an_integer_gives_one_box_also_from_the_end(self) -> None:
        assert made()[1].label == "toothbrush"
        assert made()[-1].label == made()[np.int64(2)].label == "dog"
        with pytest.raises(IndexError):
            made()[3]

    @pytest.mark.parametrize(
        ("index", "labels"),
        [
            (slice(1, None), ("toothbrush", "dog")),
            (slice(0, 0), ()),
            (slice(None, None, -1), ("person", "toothbrush", "dog")),
            (np.array([True, False, True]), ("person", "dog")),
            ([False, False, True], ("dog",)),
            (np.array([2, 0]), ("person", "dog")),
            ([-1], ("dog",)),
            ([], ()),
            (np.zeros(0, np.int64), ()),
        ],
        ids=str,
    )
    def test_slices_masks_and_indices_give_detections_best_first(self, index: Any, labels: tuple[str, ...]) -> None:
        chosen = made()[index]
        assert chosen.labels == labels
        assert (chosen.height, chosen.width) == (100, 200)
        by_label = {detection.label: detection for detection in made()}
        assert list(chosen) == [by_label[label] for label in labels]

    @pytest.mark.parametrize("index", [np.array([True, False]), [3], [0.5], "dog"])
    def test_what_is_no_index_is_refused(self, index: Any) -> None:
        with pytest.raises(IndexError):
            made()[index]

    def test_they_survive_pickling(self) -> None:
        assert list(pickle.loads(pickle.dumps(made()))) == list(made())


class TestJson:
    def test_the_entries_are_those_of_the_command_line(self) -> None:
        assert made()[1:2].to_json() == [
            {"label": "toothbrush", "class_id": 79, "score": 0.5, "box_xyxy": [5.5, 6.25, 7.0, 8.0]}
        ]
        assert Detections(**NONE).to_json() == []

    def test_nothing_but_json_types_is_inside(self) -> None:
        assert json.loads(json.dumps(made().to_json())) == made().to_json()


class TestCoco:
    def test_an_entry_has_the_corner_and_the_size_and_cocos_category(self) -> None:
        assert made().to_coco(139) == [
            {"image_id": 139, "category_id": 1, "bbox": [0, 0, 100, 50], "score": 0.875},
            {"image_id": 139, "category_id": 90, "bbox": [5.5, 6.25, 1.5, 1.75], "score": 0.5},
            {"image_id": 139, "category_id": 18, "bbox": [10, 20, 20, 40], "score": 0.25},
        ]

    def test_category_ids_are_taken_by_class(self) -> None:
        numbers = [1000 + i for i in range(80)]
        assert [entry["category_id"] for entry in made().to_coco(1, numbers)] == [1000, 1079, 1016]

    def test_a_class_without_a_category_is_refused(self) -> None:
        with pytest.raises(ValueError, match="category_ids: expected 80 or more, got 79"):
            made().to_coco(1, list(range(79)))
        assert Detections(**NONE).to_coco(1, []) == []

    def test_boxes_of_no_area_are_left_out(self) -> None:
        flat = made(boxes_xyxy=[[0, 0, 0, 9], [3, 3, 8, 3], [1, 1, 2, 2]])
        assert [entry["bbox"] for entry in flat.to_coco(1)] == [[1, 1, 1, 1]]

    def test_scores_are_exact_to_the_last_bit_of_float32(self) -> None:
        scores = np.random.default_rng(0).random(50, np.float32)
        found = Detections(np.tile([0, 0, 1, 1], (50, 1)), scores, np.zeros(50, int), ("a",) * 50, 9, 9)
        written = json.loads(json.dumps(found.to_coco(1)))
        np.testing.assert_array_equal(np.float32([entry["score"] for entry in written]), np.sort(scores)[::-1])

    def test_all_of_cocos_classes_map_to_its_91_numbers_under_both_names(self) -> None:
        assert coco_category_ids(range(80), COCO_80) == list(COCO_80_CATEGORY_IDS)
        own_names = [COCO_91[number - 1] for number in COCO_80_CATEGORY_IDS]
        assert coco_category_ids(range(80), own_names) == list(COCO_80_CATEGORY_IDS)
        assert own_names != list(COCO_80)

    def test_classes_that_keep_cocos_gaps_are_numbered_from_1(self) -> None:
        assert coco_category_ids(range(90), COCO_91) == list(range(1, 91))

    def test_other_classes_are_numbered_from_1(self) -> None:
        assert coco_category_ids([0, 79], ["person", "comb"]) == [1, 80]
        assert coco_category_ids([100], ["person"]) == [101]


class TestYolo:
    def test_a_line_has_class_centre_and_size_as_shares(self) -> None:
        assert (
            made()[[0, 2]].to_yolo()
            == "0 0.250000 0.250000 0.500000 0.500000\n16 0.100000 0.400000 0.100000 0.400000\n"
        )

    def test_the_score_can_follow(self) -> None:
        assert made()[:1].to_yolo(scores=True) == "0 0.250000 0.250000 0.500000 0.500000 0.875000\n"

    def test_boxes_are_clipped_to_the_picture_and_what_is_outside_is_left_out(self) -> None:
        boxes = [[-50, -10, 50, 50], [-9, 5, 0, 9], [150, 90, 9999, 200]]
        found = made(boxes_xyxy=boxes, scores=[0.9, 0.8, 0.7])
        assert found.to_yolo() == "16 0.125000 0.250000 0.250000 0.500000\n79 0.875000 0.950000 0.250000 0.100000\n"

    def test_no_box_is_an_empty_text(self) -> None:
        assert Detections(**NONE).to_yolo() == ""


class TestCsv:
    def test_the_first_line_names_the_columns(self) -> None:
        text = made()[:1].to_csv("a.jpg")
        expected = "image,label,class_id,score,x1,y1,x2,y2\r\na.jpg,person,0,0.875,0.0,0.0,100.0,50.0\r\n"
        assert text == expected

    def test_names_with_commas_quotes_and_line_ends_survive(self) -> None:
        labels = ('a "quoted", dog', "two\nlines", "Katze, grün")
        rows = list(csv.DictReader(io.StringIO(made(labels=labels).to_csv("x,y.jpg"), newline="")))
        assert [row["label"] for row in rows] == ["two\nlines", "Katze, grün", 'a "quoted", dog']
        assert {row["image"] for row in rows} == {"x,y.jpg"}


def test_to_supervision_says_what_to_install_if_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_supervision(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "supervision":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_supervision)
    with pytest.raises(ImportError, match="pip install supervision"):
        made().to_supervision()
