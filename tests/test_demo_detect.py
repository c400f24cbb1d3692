"""`pure-detect detect` on drawn scenes with the networks that were trained on them: every format tells the truth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_detect.demo.scenes import LABELS, draw_scene
from tests import demo
from tests.commands import Run

# Labels, scores and boxes (left, top, right, bottom) of one image.
Found = list[tuple[str, float, Sequence[float]]]
SIZE = 250, 230


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the scenes as `images/SEED.png`, with a cache without weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path / "home"))
    (tmp_path / "images").mkdir()
    for seed in demo.SEEDS:
        demo.scene_file(tmp_path / "images", seed, *SIZE)
    return tmp_path


def assert_true(found: Iterable[Found]) -> None:
    scenes = [draw_scene(seed, *SIZE) for seed in demo.SEEDS]
    demo.assert_finds_the_truth([(s, demo.detections(s, rows)) for s, rows in zip(scenes, found, strict=True)])


def detect(run: Run, *options: object) -> str:
    result = run("detect", "images", "--model", "demo-yolo", "--score", demo.SCORE, *options)
    assert result.status == 0
    return result.out


def from_json(out: str) -> list[Found]:
    return [[(d["label"], d["score"], d["box_xyxy"]) for d in image["detections"]] for image in json.loads(out)]


@pytest.mark.parametrize("name", demo.NAMES)
def test_json(name: str, run: Run) -> None:
    result = run("detect", "images", "--model", name, "--score", demo.SCORE, "--format", "json")
    assert result.status == 0
    assert {image["model"] for image in json.loads(result.out)} == {name}
    assert_true(from_json(result.out))


def test_table(run: Run) -> None:
    found: list[Found] = []
    for line in detect(run).splitlines():
        cells = line.split()
        if cells and cells[0].endswith(".png"):
            found.append([])
        elif cells and cells[0] != "score":
            score, *box = map(float, cells[:5])
            found[-1].append((cells[5], score, box))
    assert_true(found)


def test_coco(run: Run) -> None:
    found: dict[int, Found] = {seed: [] for seed in demo.SEEDS}
    for row in json.loads(detect(run, "--format", "coco")):
        x, y, width, height = row["bbox"]
        found[row["image_id"]].append((LABELS[row["category_id"] - 1], row["score"], [x, y, x + width, y + height]))
    assert_true(found.values())


def test_csv(run: Run) -> None:
    found: dict[str, Found] = {f"{seed:06d}.png": [] for seed in demo.SEEDS}
    for row in csv.DictReader(io.StringIO(detect(run, "--format", "csv"))):
        box = [float(row[side]) for side in ("x1", "y1", "x2", "y2")]
        found[Path(row["image"]).name].append((row["label"], float(row["score"]), box))
    assert_true(found.values())


def test_yolo(run: Run, folder: Path) -> None:
    detect(run, "--format", "yolo", "--out", "labels/")
    found = []
    for seed in demo.SEEDS:
        rows = np.loadtxt(folder / "labels" / f"{seed:06d}.txt", ndmin=2).reshape(-1, 5)
        centres, sizes = rows[:, 1:3] * SIZE, rows[:, 3:5] * SIZE
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
        found.append([(LABELS[int(class_id)], 1.0, box) for class_id, box in zip(rows[:, 0], boxes.tolist())])
    assert_true(found)


def test_what_the_formats_say_is_the_same(run: Run) -> None:
    in_json = [row for rows in from_json(detect(run, "--format", "json")) for row in rows]
    in_csv = list(csv.DictReader(io.StringIO(detect(run, "--format", "csv"))))
    assert [(label, score) for label, score, _ in in_json] == [(r["label"], float(r["score"])) for r in in_csv]


def test_drawings_mark_the_objects_in_their_places(run: Run, folder: Path) -> None:
    rows = from_json(detect(run, "--format", "json", "--out", "drawn/"))
    for seed, found in zip(demo.SEEDS, rows):
        drawn = np.asarray(Image.open(folder / "drawn" / f"{seed:06d}.png")).astype(int)
        changed = np.abs(drawn - draw_scene(seed, *SIZE).pixels).max(axis=2) > 40
        for _, _, (x1, y1, x2, y2) in found:
            left, top, right, bottom = (round(side) for side in (x1, y1, x2 - 1, y2 - 1))
            sides = (changed[top, left:right], changed[bottom, left:right], changed[top:bottom, left])
            assert all(side.mean() > 0.5 for side in sides)


def test_a_score_is_worth_something(run: Run) -> None:
    """Of sure detections more are right than of unsure ones."""
    scenes = [draw_scene(seed, *SIZE) for seed in demo.SEEDS]
    result = run("detect", "images", "--model", "demo-yolo", "--score", 0.02, "--format", "json")
    right = {True: [0, 0], False: [0, 0]}
    for scene, rows in zip(scenes, from_json(result.out)):
        comparison = demo.compare(scene, demo.detections(scene, rows))
        for match in comparison.matches:
            if match is not None:
                right[match.detection.score > demo.SCORE][0] += 1
        for detection in comparison.false:
            right[detection.score > demo.SCORE][1] += 1
    sure, unsure = (good / (good + bad) for good, bad in (right[True], right[False]))
    assert sure > 0.85
    assert unsure < 0.5
