"""The five formats of `pure-detect detect --format`: as texts, and through the command on a hand-made network."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect import Detections
from pure_detect.cli import main
from pure_detect.formats import WRITERS, image_ids, write_yolo
from pure_detect.labels import COCO_80
from tests import tiny_networks as tiny

DOG = Detections([[1, 2, 31, 42], [0, 0, 10, 10]], [0.5, 0.75], [16, 0], ("dog", "person"), 100, 200)
EMPTY = Detections([], [], [], (), 10, 20)
PICTURES = [("a.jpg", 7, DOG), ("b,c.jpg", 9, EMPTY), ("d.jpg", 12, DOG[1:])]


def written(name: str, pictures: Sequence[tuple[str, int, Detections]], labels: Sequence[str] = COCO_80) -> str:
    out = io.StringIO(newline="")
    writer = WRITERS[name](out, "tiny", labels)
    for image, image_id, found in pictures:
        writer.add(image, image_id, found)
    writer.finish()
    return out.getvalue()


class TestWriters:
    def test_the_table_has_one_block_a_picture(self) -> None:
        assert written("table", PICTURES[:2]).splitlines() == [
            "a.jpg  200 x 100, 2 objects",
            "  score       x1       y1       x2       y2  label",
            "  0.750      0.0      0.0     10.0     10.0  person",
            "  0.500      1.0      2.0     31.0     42.0  dog",
            "b,c.jpg  20 x 10, 0 objects",
        ]

    def test_json_has_one_object_a_picture(self) -> None:
        first, second, third = json.loads(written("json", PICTURES))
        dog = {"label": "dog", "class_id": 16, "score": 0.5, "box_xyxy": [1, 2, 31, 42]}
        assert third == {"image": "d.jpg", "width": 200, "height": 100, "model": "tiny", "detections": [dog]}
        assert second == {"image": "b,c.jpg", "width": 20, "height": 10, "model": "tiny", "detections": []}
        assert [entry["label"] for entry in first["detections"]] == ["person", "dog"]

    def test_coco_is_one_list_with_the_images_numbers(self) -> None:
        entries = json.loads(written("coco", PICTURES))
        assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(7, 1), (7, 18), (12, 18)]
        assert entries[2] == {"image_id": 12, "category_id": 18, "bbox": [1, 2, 30, 40], "score": 0.5}

    def test_cocos_numbers_are_those_of_the_network_not_of_the_picture(self) -> None:
        """Of this network only one class is called as in COCO; a picture of that class alone must not change ids."""
        labels = [*(f"thing {i}" for i in range(16)), "dog"]
        assert json.loads(written("coco", PICTURES[2:], labels))[0]["category_id"] == 17

    @pytest.mark.parametrize("name", ["json", "coco"])
    def test_without_a_picture_the_list_is_empty(self, name: str) -> None:
        assert json.loads(written(name, [])) == []
        assert name == "json" or json.loads(written(name, PICTURES[1:2])) == []

    def test_csv_has_one_header_and_one_row_a_box(self) -> None:
        text = written("csv", PICTURES)
        assert text.splitlines() == [
            "image,label,class_id,score,x1,y1,x2,y2",
            "a.jpg,person,0,0.75,0.0,0.0,10.0,10.0",
            "a.jpg,dog,16,0.5,1.0,2.0,31.0,42.0",
            "d.jpg,dog,16,0.5,1.0,2.0,31.0,42.0",
        ]
        assert "\r" not in text
        assert written("csv", []).splitlines() == text.splitlines()[:1]

    def test_yolo_prints_darknets_lines(self) -> None:
        assert written("yolo", PICTURES[2:]) == "16 0.080000 0.220000 0.150000 0.400000\n"

    def test_a_label_file_holds_the_same_lines(self, tmp_path: Path) -> None:
        write_yolo(DOG, tmp_path / "a.txt")
        write_yolo(EMPTY, tmp_path / "b.txt")
        assert (tmp_path / "a.txt").read_bytes() == DOG.to_yolo().encode()
        assert (tmp_path / "b.txt").read_bytes() == b""


@pytest.mark.parametrize(
    ("images", "numbers"),
    [
        (["000000000139.jpg", "x/285.png"], [139, 285]),
        (["5.jpg", "dog.jpg"], [1, 2]),  # 5 for the first could be a later one's place
        (["7.jpg", "007.png"], [1, 2]),
        (["12345678901234567890.jpg"], [1]),  # beyond 64 bits
        (["²³.jpg", "٣.jpg"], [1, 2]),  # digits to Python, not to COCO
        ([], []),
    ],
)
def test_an_image_has_its_names_number_if_every_image_has_one(images: list[str], numbers: list[int]) -> None:
    assert image_ids(images) == numbers


Run = Callable[..., str]


class TestCommand:
    """The network finds "dog" in the upper left and "person" in the upper right quarter of the 64 x 64 picture."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "names").write_text("dog\nperson\n")
        tiny.detector_file(tmp_path, "--labels", "names")
        tiny.picture_file(tmp_path / "17.png")
        tiny.picture_file(tmp_path / "4.png", tiny.quadrants()[:, ::-1])
        return tmp_path

    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str]) -> Run:
        def command(*arguments: str, status: int = 0) -> str:
            capsys.readouterr()
            assert main(["detect", *arguments, "--model", "tiny.h5"]) == status
            return capsys.readouterr().out

        return command

    def test_coco_takes_the_numbers_of_the_files(self, run: Run) -> None:
        entries = json.loads(run("17.png", "4.png", "--format", "coco"))
        assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(17, 1), (17, 2), (4, 1), (4, 2)]
        assert [entry["bbox"] for entry in entries[:2]] == [[8, 8, 16, 16], [40, 8, 16, 16]]

    def test_csv_is_one_table_also_if_an_image_fails(self, run: Run) -> None:
        rows = list(csv.reader(io.StringIO(run("17.png", "absent.png", "4.png", "--format", "csv", status=1))))
        assert [row[:3] for row in rows[1:]] == [
            ["17.png", "dog", "0"],
            ["17.png", "person", "1"],
            ["4.png", "dog", "0"],
            ["4.png", "person", "1"],
        ]

    def test_yolo_prints_one_images_lines(self, run: Run) -> None:
        expected = "0 0.250000 0.250000 0.250000 0.250000\n1 0.750000 0.250000 0.250000 0.250000\n"
        assert run("17.png", "--format", "yolo") == expected

    def test_yolo_draws_one_image_where_out_is_a_picture(self, run: Run, folder: Path) -> None:
        assert run("17.png", "--format", "yolo", "--out", "boxes.webp").count("\n") == 2
        assert (folder / "boxes.webp").is_file()

    def test_yolo_writes_many_images_labels_into_a_folder_and_nothing_else(self, run: Run, folder: Path) -> None:
        assert run("17.png", "4.png", "--format", "yolo", "--out", "labels") == ""
        files = {path.name: path.read_text() for path in (folder / "labels").iterdir()}
        assert set(files) == {"17.txt", "4.txt"}
        assert files["17.txt"] == run("17.png", "--format", "yolo")
        assert files["4.txt"] == run("4.png", "--format", "yolo")

    def test_json_boxes_are_what_the_drawing_shows(self, run: Run, folder: Path) -> None:
        (picture,) = json.loads(run("17.png", "--format", "json", "--out", "drawings/"))
        assert picture["detections"][0]["box_xyxy"] == [8, 8, 24, 24]
        assert [path.name for path in (folder / "drawings").iterdir()] == ["17.png"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("17.png", "4.png", "--format", "yolo"), "--format yolo: expected a folder as --out for several images"),
            (("17.png", "--out", "boxes.xyz"), "boxes.xyz: expected a file name ending in .png, .jpg"),
            (("17.png", "--out", "boxes"), "boxes: expected a file name ending in .png"),
            (("17.png", "--out", "absent/boxes.png"), "expected a folder that exists, found none at absent"),
            (("17.png", "--out", "17.png"), "expected another file than the image"),
            (("17.png", "4.png", "--out", "."), "expected another file than the image"),
            (("17.png", "4.png", "--out", "boxes.png"), "expected a folder for several images"),
            (
                ("17.png", "sub/17.jpg", "--format", "yolo", "--out", "boxes"),
                "expected images with different names",
            ),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_wrong_usage_is_told_before_anything_is_loaded(
        self,
        arguments: tuple[str, ...],
        message: str,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def loads(*_: Any) -> None:
            raise AssertionError("loaded")

        monkeypatch.setattr("pure_detect.cli.detect.load_model", loads)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as stop:
            main(["detect", *arguments])
        assert stop.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_boxes_that_are_no_numbers_are_one_line_that_names_the_image(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Damaged:
            network = type("Network", (), {"name": "damaged", "is_classifier": False})
            labels = ("dog",)

            def __call__(self, *_: Any, **__: Any) -> Detections:
                return Detections(np.full((1, 4), np.nan), [0.9], [0], ("dog",), 64, 64)

        monkeypatch.setattr("pure_detect.cli.detect.load_model", lambda *_: Damaged())
        assert main(["detect", "17.png"]) == 1
        assert capsys.readouterr().err.startswith("error: 17.png: boxes_xyxy: expected finite numbers")
