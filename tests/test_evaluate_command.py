"""The commands `evaluate` and `anchors`, on a few drawn scenes with the network that was trained for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pure_detect import load
from pure_detect.cli import main
from pure_detect.demo.scenes import LABELS, draw_scene
from pure_detect.detector import Detector
from tests.tiny_models import write_tiny_detector

WIDTH, HEIGHT = 200, 160
CATEGORY_IDS = range(17, 17 + 3 * len(LABELS), 3)

FIGURES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


class DataSet:
    """Five scenes in COCO's layout, under ids with gaps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        self.annotations = folder / "instances.json"
        self.model = "demo-yolo"
        self.out = folder / "results.json"
        images = [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (3, 5, 8, 13, 21)]
        annotations = []
        for image in images:
            scene = draw_scene(image["id"], WIDTH, HEIGHT)
            Image.fromarray(scene.pixels).save(self.images / image["file_name"])
            for class_id, (x1, y1, x2, y2) in zip(scene.class_ids.tolist(), scene.boxes_xyxy.tolist()):
                row = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": CATEGORY_IDS[class_id]}
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                annotations.append({**row, **box, "iscrowd": 0})
        categories = [{"id": number, "name": label} for number, label in zip(CATEGORY_IDS, LABELS)]
        self.annotations.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )

    def command(self, *options: str) -> list[str]:
        files = ["--images", str(self.images), "--annotations", str(self.annotations), "--out", str(self.out)]
        return ["evaluate", self.model, *files, *options]


@pytest.fixture
def dataset(tmp_path: Path) -> DataSet:
    return DataSet(tmp_path)


def test_json_is_one_flat_object_of_the_twelve_figures(dataset: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(dataset.command("--json")) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures) == FIGURES
    assert all(isinstance(value, float) for value in figures.values())
    assert figures["AP50"] > 0.8
    assert figures["AP50"] > figures["AP"] > 0.5


def test_confused_categories_cost_the_precision(dataset: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    """Categories are matched by name: the same boxes under shuffled names find next to nothing."""
    instances = json.loads(dataset.annotations.read_text())
    names = [category["name"] for category in instances["categories"]]
    for category, name in zip(instances["categories"], [*names[1:], names[0]]):
        category["name"] = name
    dataset.annotations.write_text(json.dumps(instances))
    assert main(dataset.command("--json")) == 0
    assert json.loads(capsys.readouterr().out)["AP50"] < 0.2


def test_the_results_file_holds_what_the_detector_finds(dataset: DataSet) -> None:
    assert main(dataset.command()) == 0
    rows = json.loads(dataset.out.read_text())
    found = load(dataset.model)(dataset.images / "3.png", score=0.005, limit=100)
    mine = [row for row in rows if row["image_id"] == 3]
    assert [row["score"] for row in mine] == [float(score) for score in found.scores]
    assert {row["category_id"] for row in rows} <= set(CATEGORY_IDS)
    x1, y1, x2, y2 = (float(value) for value in found.boxes_xyxy[0])
    assert mine[0]["bbox"] == [x1, y1, x2 - x1, y2 - y1]


def test_results_scored_again_give_the_same_figures(dataset: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(dataset.command("--json")) == 0
    first = capsys.readouterr().out
    command = ["evaluate", "--results", str(dataset.out), "--annotations", str(dataset.annotations), "--json"]
    assert main(command) == 0
    assert capsys.readouterr().out == first


def count_runs(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[Path]:
    """Note every picture that a detector sees; press Ctrl-C at the given one."""
    seen: list[Path] = []
    real = Detector.__call__

    def counted(self: Detector, image: Any, **options: Any) -> Any:
        if isinstance(image, list):  # the call for one picture calls itself with a list of one
            return real(self, image, **options)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        seen.append(image)
        return real(self, image, **options)

    monkeypatch.setattr(Detector, "__call__", counted)
    return seen


def test_an_interrupted_run_goes_on_where_it_stopped(
    dataset: DataSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = dataset.command()
    assert main(whole) == 0
    expected = dataset.out.read_text()
    dataset.out.unlink()
    with monkeypatch.context() as patch:
        first = count_runs(patch, stop_at=2)
        assert main(whole) == 130
    assert not dataset.out.exists()
    second = count_runs(monkeypatch)
    assert main(whole) == 0
    assert [path.name for path in first + second] == ["3.png", "5.png", "8.png", "13.png", "21.png"]
    assert dataset.out.read_text() == expected
    assert "going on after 2 images" in capsys.readouterr().err


def test_an_unfinished_run_with_other_settings_is_not_mixed_in(
    dataset: DataSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        count_runs(patch, stop_at=2)
        main(dataset.command())
    capsys.readouterr()
    assert main(dataset.command("--iou", "0.6")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "iou" in error
    assert main(dataset.command("--iou", "0.6", "--restart")) == 0


def test_a_missing_image_fails_the_run_but_not_the_others(
    dataset: DataSet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = dataset.images / "8.png"
    content = picture.read_bytes()
    picture.unlink()
    assert main(dataset.command()) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "8.png" in error
    assert "1 of 5 images failed" in error
    picture.write_bytes(content)
    seen = count_runs(monkeypatch)
    assert main(dataset.command()) == 0
    assert [path.name for path in seen] == ["8.png"]


def test_limit_takes_the_first_images_only(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_runs(monkeypatch)
    assert main(dataset.command("--limit", "2")) == 0
    assert [path.name for path in seen] == ["3.png", "5.png"]


def test_limit_leaves_out_results_on_other_images(dataset: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(dataset.command()) == 0
    capsys.readouterr()
    results = ["evaluate", "--results", str(dataset.out), "--annotations", str(dataset.annotations)]
    assert main([*results, "--limit", "2", "--json"]) == 0
    scored = capsys.readouterr().out
    assert main(dataset.command("--limit", "2", "--restart", "--json")) == 0
    assert capsys.readouterr().out == scored


def test_a_model_whose_classes_the_data_set_has_not_is_refused(
    dataset: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.model = str(write_tiny_detector(dataset.folder / "tiny.h5", labels=("plane", "boat")))
    assert main(dataset.command()) == 1
    assert "expected categories such as plane, boat, found ellipse, triangle" in capsys.readouterr().err


def test_darknets_names_count_as_cocos(dataset: DataSet) -> None:
    dataset.model = str(write_tiny_detector(dataset.folder / "tiny.h5", labels=("sofa", "Star")))
    text = dataset.annotations.read_text().replace('"cross"', '"couch"')
    dataset.annotations.write_text(text)
    assert main(dataset.command()) == 0
    couch, star = (CATEGORY_IDS[LABELS.index(name)] for name in ("cross", "star"))
    assert {row["category_id"] for row in json.loads(dataset.out.read_text())} == {couch, star}


def test_the_plot_is_a_picture(dataset: DataSet) -> None:
    plot = dataset.folder / "curves.png"
    assert main(dataset.command("--plot", str(plot))) == 0
    with Image.open(plot) as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize(
    "arguments",
    [["--annotations", "a.json"], ["m.h5", "--annotations", "a.json"], ["m.h5", "--images", "."]],
    ids=["neither model nor results", "no images", "no annotations"],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments])
    assert stop.value.code == 2


@pytest.fixture
def three_boxes(tmp_path: Path) -> Path:
    """Return annotations of two pictures of 80 x 60 pixels."""
    boxes = [(3, [5, 5, 30, 20]), (3, [40, 10, 30, 40]), (8, [0, 0, 80, 60])]
    instances = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 60} for i in (3, 8)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 17, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for n, (i, b) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 17, "name": "cat"}],
    }
    path = tmp_path / "three.json"
    path.write_text(json.dumps(instances))
    return path


def test_anchors_are_printed_as_a_cfg_line(three_boxes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = three_boxes.with_name("anchors.png")
    command = ["anchors", "--annotations", str(three_boxes), "--count", "2", "--size", "160x120"]
    assert main([*command, "--plot", str(plot)]) == 0
    # Pictures of 80 x 60 stretched twofold: boxes 60 x 40, 60 x 80 and 160 x 120; the first two have an IoU of 1/2.
    assert capsys.readouterr().out.splitlines() == ["anchors = 60,40,  160,120", "mean IoU 0.8333 over 3 boxes"]
    assert plot.stat().st_size > 1000


def test_too_many_anchors_for_the_boxes_is_one_clear_error(
    three_boxes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["anchors", "--annotations", str(three_boxes), "--count", "9"]) == 1
    assert "expected at least 9 boxes of different sizes, one an anchor, found 3" in capsys.readouterr().err
