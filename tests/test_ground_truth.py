"""Ground truth from arrays and COCO's JSON, and what is refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect import InputError
from pure_detect.evaluate import Category, GroundTruth, Image, read_coco

INSTANCES: dict[str, Any] = {
    "images": [{"id": 9, "file_name": "b.jpg", "width": 640, "height": 480}, {"id": 4}],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1}],
    "annotations": [
        {"id": 7, "image_id": 9, "category_id": 90, "bbox": [1, 2.5, 3, 4], "area": 5.5, "iscrowd": 0},
        {"id": 3, "image_id": 4, "category_id": 1, "bbox": [-5, 0, 1, 1], "area": 0, "iscrowd": 1},
        {"id": 5, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0},
    ],
}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refusal(read: Callable[[], GroundTruth]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_coco_is_read_in_the_files_order_with_tables_by_id(tmp_path: Path) -> None:
    truth = read_coco(write(tmp_path / "i.json", INSTANCES))
    np.testing.assert_array_equal(truth.image_ids, [9, 4, 9])
    np.testing.assert_array_equal(truth.category_ids, [90, 1, 1])
    np.testing.assert_array_equal(truth.boxes_xywh, [[1, 2.5, 3, 4], [-5, 0, 1, 1], [0, 0, 9, 9]])
    np.testing.assert_array_equal(truth.areas, [5.5, 0, 81])
    np.testing.assert_array_equal(truth.iscrowd, [False, True, False])
    np.testing.assert_array_equal(truth.difficult, [False, True, False])
    assert truth.images == (Image(4), Image(9, "b.jpg", 640, 480))
    assert truth.categories == (Category(1), Category(90, "toothbrush"))
    assert truth.source == str(tmp_path / "i.json")


def test_a_coco_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(json.dumps(INSTANCES), encoding="utf-8-sig")
    assert len(read_coco(tmp_path / "i.json").image_ids) == 3


@pytest.mark.parametrize(
    ("table", "index", "field", "value", "message"),
    [
        ("annotations", 1, "id", 7, "expected a number that no earlier entry has, found 7"),
        (
            "annotations",
            1,
            "id",
            0,
            "expected a number other than 0 (COCO's tools take a match with 0 for none), found 0",
        ),
        ("annotations", 1, "id", ..., "expected an integer, found nothing"),
        ("annotations", 2, "image_id", 5, "expected the id of one of the 2 images, found 5"),
        ("annotations", 2, "image_id", "9", "expected an integer, found '9'"),
        ("annotations", 0, "category_id", 2, "expected the id of one of the 2 categories, found 2"),
        (
            "annotations",
            0,
            "bbox",
            [1, 2, 0, 4],
            "expected [x, y, width, height] with a width and height greater than 0",
        ),
        (
            "annotations",
            0,
            "bbox",
            [1, 2, 3, -1],
            "expected [x, y, width, height] with a width and height greater than 0",
        ),
        ("annotations", 0, "bbox", [1, 2, 3, float("nan")], "expected finite numbers, found [1.0, 2.0, 3.0, nan]"),
        ("annotations", 0, "bbox", [1, 2, 3], "expected a list of four numbers, found [1, 2, 3]"),
        ("annotations", 2, "area", -1, "expected a finite number of at least 0, found -1.0"),
        ("annotations", 2, "area", float("inf"), "expected a finite number of at least 0, found inf"),
        ("annotations", 2, "area", ..., "expected a number, found nothing"),
        ("annotations", 1, "iscrowd", 2, "expected 0 or 1, found 2"),
        ("annotations", 1, "iscrowd", "no", "expected 0 or 1, found 'no'"),
        ("annotations", 1, "iscrowd", ..., "expected 0 or 1, found nothing"),
        ("images", 1, "id", 9, "expected a number that no earlier entry has, found 9"),
        ("images", 1, "id", None, "expected an integer, found None"),
        ("images", 0, "width", -640, "expected an integer of at least 0, found -640"),
        ("images", 0, "height", "480", "expected an integer of at least 0, found '480'"),
        ("images", 0, "file_name", 5, "expected a string, found 5"),
        ("categories", 1, "id", 90, "expected a number that no earlier entry has, found 90"),
        ("categories", 1, "name", ["x"], "expected a string, found ['x']"),
    ],
)
def test_the_first_offending_entry_of_a_coco_file_is_named(tmp_path, table, index, field, value, message) -> None:
    content = copy.deepcopy(INSTANCES)
    content[table][index][field] = value
    if value is ...:
        del content[table][index][field]
    path = write(tmp_path / "i.json", content)
    assert refusal(lambda: read_coco(path)).startswith(f"{path}: {table}[{index}].{field}: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "images, annotations and categories, found []"),
        ({"images": [], "annotations": []}, "found no categories"),
        (INSTANCES | {"annotations": {}}, "annotations: expected a list of objects, found {}"),
        (INSTANCES | {"images": [9, 4]}, "images[0]: expected an object, found 9"),
        ('{"images": ', "found malformed JSON at line 1 column 12: Expecting value"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "i.json", content)
    assert refusal(lambda: read_coco(path)).startswith(f"{path}: ")
    assert message in refusal(lambda: read_coco(path))


def test_of_several_defects_the_earliest_annotation_is_named(tmp_path: Path) -> None:
    content = copy.deepcopy(INSTANCES)
    content["annotations"][2]["id"] = "x"
    content["annotations"][1]["bbox"][2] = 0
    path = write(tmp_path / "i.json", content)
    assert "annotations[1].bbox" in refusal(lambda: read_coco(path))


def test_arrays_have_defaults_for_everything_but_the_boxes() -> None:
    truth = GroundTruth([4, 2], [1, 1], [[0, 0, 2, 3], [0, 0, 1, 1]])
    np.testing.assert_array_equal(truth.areas, [6, 1])
    assert not truth.iscrowd.any()
    assert not truth.difficult.any()
    assert truth.images == (Image(2), Image(4))
    assert truth.categories == (Category(1),)


def test_arrays_are_checked_like_files() -> None:
    one = ([1], [1], [[0, 0, 1, 1]])
    assert "ground truth: annotations[0].area: expected a finite" in refusal(lambda: GroundTruth(*one, [np.nan]))
    assert "ground truth: iscrowd: expected 0 or 1" in refusal(lambda: GroundTruth(*one, iscrowd=[2]))
    assert "annotations[0].image_id: expected the id of one of the 1 images, found 1" in refusal(
        lambda: GroundTruth(*one, images=[Image(2)])
    )
    assert "categories[1].id: expected a number that no earlier entry has, found 1" in refusal(
        lambda: GroundTruth(*one, categories=[Category(1), Category(1)])
    )
    assert "boxes_xywh: expected numbers, found <U1" in refusal(lambda: GroundTruth([1], [1], [["a"] * 4]))


@pytest.mark.shared_data
def test_the_official_sample_is_read_whole(data: Path) -> None:
    truth = read_coco(data / "coco_val80" / "instances_val2017.json")
    assert (len(truth.images), len(truth.categories), len(truth.image_ids), truth.iscrowd.sum()) == (80, 80, 815, 11)
    assert truth.categories[0] == Category(1, "person")
    assert re.fullmatch(r"\d{12}\.jpg", truth.images[0].file_name)
