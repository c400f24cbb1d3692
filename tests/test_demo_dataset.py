"""Scenes as a data set on disk: what is written reads back exactly, and nothing half-written stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_detect.demo import dataset
from pure_detect.demo.dataset import write_dataset
from pure_detect.demo.scenes import LABELS, draw_scene
from pure_detect.errors import InputError
from pure_detect.evaluate import Results, evaluate, read_ground_truth
from tests.commands import Run


def test_images_and_boxes_read_back_as_they_were_drawn(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", seed=7, scenes=4, width=70, height=50)
    truth = read_ground_truth(tmp_path / "scenes" / "annotations.json", tmp_path / "scenes" / "images")
    assert [(image.id, image.file_name) for image in truth.images] == [(i, f"{i:06d}.png") for i in range(7, 11)]
    assert [category.name for category in truth.categories] == list(LABELS)
    for image in truth.images:
        scene = draw_scene(image.id, 70, 50)
        pixels = np.asarray(Image.open(tmp_path / "scenes" / "images" / image.file_name))
        assert np.array_equal(pixels, scene.pixels)
        own = truth.image_ids == image.id
        boxes = truth.boxes_xywh[own]
        assert np.array_equal(boxes[:, :2], scene.boxes_xyxy[:, :2])
        assert np.array_equal(boxes[:, :2] + boxes[:, 2:], scene.boxes_xyxy[:, 2:])
        assert np.array_equal(truth.category_ids[own], scene.class_ids + 1)


def test_annotations_have_what_cocos_own_tools_ask_for(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", seed=0, scenes=3)
    instances = json.loads((tmp_path / "scenes" / "annotations.json").read_text())
    assert [row["id"] for row in instances["annotations"]] == list(range(1, len(instances["annotations"]) + 1))
    for row in instances["annotations"]:
        assert set(row) == {"id", "image_id", "category_id", "bbox", "area", "iscrowd"}
        assert row["area"] == row["bbox"][2] * row["bbox"][3] > 0
    assert all((image["width"], image["height"]) == (256, 256) for image in instances["images"])


def test_the_truth_given_as_results_is_perfect(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", seed=0, scenes=60, width=128, height=128)
    truth = read_ground_truth(tmp_path / "scenes" / "annotations.json", tmp_path / "scenes" / "images")
    scores = np.ones(len(truth.image_ids))
    figures = evaluate(Results(truth.image_ids, truth.category_ids, truth.boxes_xywh, scores), truth).figures()
    assert figures["AP"] == figures["AP50"] == figures["AR100"] == 1


def test_a_scene_is_the_same_in_every_data_set(tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", seed=5, scenes=1)
    write_dataset(tmp_path / "many", seed=3, scenes=4)
    few, many = (tmp_path / name / "images" / "000005.png" for name in ("few", "many"))
    assert few.read_bytes() == many.read_bytes()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_already_is_refused_and_stays(kind: str, tmp_path: Path, run: Run) -> None:
    target = tmp_path / "scenes"
    kept = target / "kept.txt" if kind == "folder" else target
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    result = run("demo", "--dataset", target, "--scenes", 2)
    (error,) = result.errors
    assert (result.status, result.out) == (1, "")
    assert error == f"error: {target}: expected a folder that is new or empty, found one that holds something"
    assert kept.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_an_empty_folder_and_a_new_one_below_new_ones_are_taken(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "new" / "newer"):
        assert run("demo", "--dataset", target, "--scenes", 1, "--size", "40x30").status == 0
        assert sorted(path.name for path in target.iterdir()) == ["annotations.json", "images"]
        assert Image.open(target / "images" / "000000.png").size == (40, 30)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError("big")])
def test_a_run_that_fails_midway_leaves_nothing(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def draw(seed: int, width: int, height: int) -> object:
        if seed == 2:
            raise failure
        return draw_scene(seed, width, height)

    monkeypatch.setattr(dataset, "draw_scene", draw)
    result = run("demo", "--dataset", tmp_path / "scenes", "--scenes", 5, "--size", 30)
    assert result.status != 0
    assert result.out == ""
    assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/scenes: cannot be written"):
        write_dataset(tmp_path / "file" / "scenes", seed=0, scenes=1)


def test_the_command_counts_on_standard_error_and_says_how_to_measure(tmp_path: Path, run: Run) -> None:
    result = run("demo", "--dataset", tmp_path / "scenes", "--scenes", 3, "--seed", 9, "--size", 40)
    assert result.status == 0
    assert "3 of 3 scenes" in result.err
    assert f"{tmp_path / 'scenes'}: written" in result.err
    assert f"--annotations {tmp_path / 'scenes' / 'annotations.json'}" in result.out
    assert len(list((tmp_path / "scenes" / "images").iterdir())) == 3
