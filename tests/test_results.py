"""Detections from arrays and files, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pure_detect import InputError
from pure_detect.evaluate import Results, read_results

GOOD = {"image_id": 3, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 0.5}


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)[len(f"{path}: ") :]


def test_a_file_is_read_in_its_order_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    other = GOOD | {"image_id": 1, "score": 1, "segmentation": [], "bbox": [-4, 0.1, 1e-3, 5]}
    results = read_results(write(tmp_path / "r.json", [GOOD, other]))
    np.testing.assert_array_equal(results.image_ids, [3, 1])
    np.testing.assert_array_equal(results.category_ids, [1, 1])
    np.testing.assert_array_equal(results.boxes_xywh, [[1.5, 2, 3, 4], [-4, 0.1, 1e-3, 5]])
    np.testing.assert_array_equal(results.scores, [0.5, 1])
    assert [results.image_ids.dtype, results.boxes_xywh.dtype, results.scores.dtype] == [np.int64, float, float]


def test_an_empty_list_is_a_detector_that_found_nothing(tmp_path: Path) -> None:
    results = read_results(write(tmp_path / "r.json", []))
    assert results.boxes_xywh.shape == (0, 4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("score", float("nan"), "score: expected a finite number, found nan"),
        ("score", float("-inf"), "score: expected a finite number, found -inf"),
        ("score", "0.5", "score: expected a number, found '0.5'"),
        ("score", None, "score: expected a number, found None"),
        ("score", True, "score: expected a number, found True"),
        ("score", 10**400, "score: expected a number, found 1000"),
        ("score", ..., "score: expected a number, found nothing"),
        ("image_id", "3", "image_id: expected an integer, found '3'"),
        ("image_id", 3.0, "image_id: expected an integer, found 3.0"),
        ("image_id", 2**63, "image_id: expected an integer, found 9223372036854775808"),
        ("category_id", [1], "category_id: expected an integer, found [1]"),
        ("category_id", ..., "category_id: expected an integer, found nothing"),
        ("bbox", [1, 2, 3], "bbox: expected a list of four numbers, found [1, 2, 3]"),
        ("bbox", {"x": 1}, "bbox: expected a list of four numbers, found {'x': 1}"),
        ("bbox", [1, 2, 3, "4"], "bbox: expected a list of four numbers, found [1, 2, 3, '4']"),
        ("bbox", [1, 2, 3, [4]], "bbox: expected a list of four numbers, found [1, 2, 3, [4]]"),
        ("bbox", [1, float("inf"), 3, 4], "bbox: expected finite numbers, found [1.0, inf, 3.0, 4.0]"),
        ("bbox", [1, 2, 0, 4], "bbox: expected [x, y, width, height] with a width and height greater than 0, found "),
        ("bbox", [1, 2, 3, -4], "bbox: expected [x, y, width, height] with a width and height greater than 0, found "),
    ],
)
def test_the_first_offending_entry_is_named_with_its_field_and_value(tmp_path, field, value, message) -> None:
    entries = [GOOD | {"image_id": i} for i in range(6)]
    for i in (2, 4):
        entries[i] = {k: v for k, v in (entries[i] | {field: value}).items() if v is not ...}
    assert refusal(write(tmp_path / "r.json", entries)).startswith(f"detections[2].{message}")


def test_of_several_defects_the_earliest_entry_is_named_whatever_their_kind(tmp_path: Path) -> None:
    entries = [
        GOOD,
        GOOD | {"bbox": [1, 2, 0, 4]},
        GOOD | {"score": "high"},
        GOOD | {"image_id": None},
        GOOD | {"score": float("nan")},
    ]
    for first, field in ((1, "bbox"), (2, "score"), (3, "image_id"), (4, "score")):
        del entries[1:first]
        entries[1:1] = [GOOD] * (first - 1)
        assert refusal(write(tmp_path / "r.json", entries)).startswith(f"detections[{first}].{field}:")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found malformed JSON at line 1 column 1: Expecting value"),
        ('[{"image_id": 1,\n  oops}]', "found malformed JSON at line 2 column 3: "),
        ('{"annotations": []}', "detections: expected a list of objects, found {'annotations': []}"),
        ("[1, 2]", "detections[0]: expected an object, found 1"),
        ('[{"image_id": 1}, []]', "detections[0].category_id: expected an integer, found nothing"),
        ("[" * 100_000, "found JSON that cannot be read: "),
        ("null", "detections: expected a list of objects, found None"),
    ],
)
def test_what_is_no_results_file_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(write(tmp_path / "r.json", content))


def test_bytes_that_are_no_text_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"[\xff\xfe]")
    assert "expected COCO results, a JSON list of detections in UTF-8, found" in refusal(tmp_path / "binary.json")
    assert "found: Is a directory" in refusal(tmp_path)
    assert "found: No such file or directory" in refusal(tmp_path / "none.json")


def test_arrays_are_checked_like_files() -> None:
    with pytest.raises(
        InputError, match=re.escape("results: detections[1].score: expected a finite number, found nan")
    ):
        Results([1, 1], [1, 1], [[0, 0, 1, 1]] * 2, [0.5, np.nan])
    with pytest.raises(InputError, match=re.escape("results: image_ids: expected integers, found float64")):
        Results([1.5], [1], [[0, 0, 1, 1]], [0.5])
    with pytest.raises(
        InputError, match=re.escape("results: boxes_xywh: expected an array of shape (1, 4), found (4,)")
    ):
        Results([1], [1], [0, 0, 1, 1], [0.5])
    with pytest.raises(InputError, match=re.escape("results: scores: expected an array of shape (2,), found (1,)")):
        Results([1, 1], [1, 1], [[0, 0, 1, 1]] * 2, [0.5])
