"""`detect` and `classify` end to end on tiny networks: results on standard output alone, one line an error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny_networks as tiny
from tests.commands import DETECT, Run, enter_folder

BOXES = [[8.0, 8.0, 24.0, 24.0], [40.0, 8.0, 56.0, 24.0]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_folder(tmp_path, monkeypatch)


class TestDetect:
    def test_json_is_a_list_with_one_object_an_image(self, run: Run) -> None:
        result = run(*DETECT, "--format", "json")
        assert result.status == 0
        (image,) = json.loads(result.out)
        detections = image.pop("detections")
        assert image == {"image": "a.png", "width": 64, "height": 64, "model": "tiny"}
        assert [set(d) for d in detections] == [{"label", "class_id", "score", "box_xyxy"}] * 2
        assert [(d["label"], d["class_id"]) for d in detections] == [("rot", 0), ("grün", 1)]
        assert [d["score"] for d in detections] == pytest.approx([tiny.RED_SCORE, tiny.GREEN_SCORE], abs=2e-6)
        np.testing.assert_allclose([d["box_xyxy"] for d in detections], BOXES, atol=2e-3)

    def test_labels_are_written_as_they_are(self, run: Run) -> None:
        assert '"grün"' in run(*DETECT, "--format", "json").out

    def test_the_table_has_a_line_an_image_and_a_line_a_box(self, run: Run) -> None:
        result = run(*DETECT)
        assert result.status == 0
        lines = result.out.splitlines()
        assert lines[0].split() == ["a.png", "64", "x", "64,", "2", "objects"]
        assert lines[2].split() == ["0.995", "8.0", "8.0", "24.0", "24.0", "rot"]
        assert lines[3].split() == ["0.910", "40.0", "8.0", "56.0", "24.0", "grün"]
        assert len(lines) == 4

    def test_a_picture_with_nothing_in_it_has_an_empty_list(self, run: Run, folder: Path) -> None:
        tiny.picture_file(folder / "black.png", np.zeros((20, 30, 3), np.uint8))
        (image,) = json.loads(run("detect", "black.png", "--model", "tiny.h5", "--format", "json").out)
        assert image == {"image": "black.png", "width": 30, "height": 20, "model": "tiny", "detections": []}
        assert run("detect", "black.png", "--model", "tiny.h5").out.splitlines() == ["black.png  30 x 20, 0 objects"]

    def test_score_is_a_strict_threshold(self, run: Run) -> None:
        counts = [
            len(json.loads(run(*DETECT, "--format", "json", "--score", s).out)[0]["detections"]) for s in (0, 0.92, 1)
        ]
        assert counts[1:] == [1, 0]
        assert counts[0] > 2

    def test_size_and_resize_change_what_the_network_sees(self, run: Run, folder: Path) -> None:
        pixels = np.zeros((32, 64, 3), np.uint8)
        pixels[:, :, 0] = 255
        tiny.picture_file(folder / "wide.png", pixels)

        def boxes(*options: str) -> list[list[float]]:
            result = run("detect", "wide.png", "--model", "tiny.h5", "--format", "json", *options)
            return sorted(d["box_xyxy"] for d in json.loads(result.out)[0]["detections"])

        # The whole picture is red: a box in the middle of each of 2 x 2 cells, 16 x 8 pixels of the picture each.
        np.testing.assert_allclose(
            boxes(), [[8, 4, 24, 12], [8, 20, 24, 28], [40, 4, 56, 12], [40, 20, 56, 28]], atol=2e-3
        )
        # At 64 x 32 there are 4 x 2 cells, and nothing is stretched.
        wide = boxes("--size", "64x32")
        assert len(wide) == 8
        np.testing.assert_allclose(wide[:2], [[4, 4, 12, 12], [4, 20, 12, 28]], atol=2e-3)
        # Letterboxed to 32 x 32, rows 8 to 24 hold the picture, and the cells above and below the middle both see red:
        # their boxes, rows 4 to 12 and 20 to 28, reach out of the picture and are clipped.
        expected = [[8, 0, 24, 8], [8, 24, 24, 32], [40, 0, 56, 8], [40, 24, 56, 32]]
        np.testing.assert_allclose(boxes("--resize", "letterbox"), expected, atol=2e-3)

    def test_nms_options_are_passed_on(self, run: Run, folder: Path) -> None:
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:32, :32] = (255, tiny.GREEN, 0)  # both classes in one box
        tiny.picture_file(folder / "both.png", pixels)
        both = ("detect", "both.png", "--model", "tiny.h5", "--format", "json")
        assert len(json.loads(run(*both).out)[0]["detections"]) == 2
        (kept,) = json.loads(run(*both, "--agnostic").out)[0]["detections"]
        assert kept["label"] == "rot"
        assert len(json.loads(run(*both, "--agnostic", "--iou", "1").out)[0]["detections"]) == 2
        assert len(json.loads(run(*both, "--nms", "diou").out)[0]["detections"]) == 2

    def test_one_broken_image_among_several_is_one_error_line(self, run: Run, folder: Path) -> None:
        (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        images = ("a.png", "broken.png", "missing.png", "a.png")
        result = run("detect", *images, "--model", "tiny.h5", "--format", "json")
        assert result.status == 1
        assert [image["image"] for image in json.loads(result.out)] == ["a.png", "a.png"]
        assert len(result.errors) == 2
        assert result.errors[0].startswith("error: broken.png: ")
        assert result.errors[1].startswith("error: missing.png: ")
        assert "no such file" in result.errors[1]

    def test_if_every_image_is_broken_the_output_is_still_json(self, run: Run) -> None:
        result = run("detect", "missing.png", "--model", "tiny.h5", "--format", "json")
        assert (result.status, json.loads(result.out), len(result.errors)) == (1, [], 1)

    def test_out_draws_the_boxes_into_a_file(self, run: Run, folder: Path) -> None:
        result = run(*DETECT, "--out", "drawn.png", "--format", "json")
        assert result.status == 0
        json.loads(result.out)
        assert "drawn.png" in result.err
        drawn = np.asarray(Image.open(folder / "drawn.png"))
        assert drawn.shape == (64, 64, 3)
        changed = np.argwhere((drawn != tiny.quadrants()).any(axis=2))
        assert len(changed) > 50
        assert (drawn[63, :] == tiny.quadrants()[63, :]).all()

    @pytest.mark.parametrize("name", ["drawn.jpg", "drawn.JPEG", "drawn.webp"])
    def test_out_has_the_format_of_its_ending(self, name: str, run: Run, folder: Path) -> None:
        assert run(*DETECT, "--out", name).status == 0
        expected = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}[name.lower().rpartition(".")[2]]
        assert Image.open(folder / name).format == expected

    def test_out_is_a_folder_for_several_images(self, run: Run, folder: Path) -> None:
        tiny.picture_file(folder / "b.jpg")
        assert run("detect", "a.png", "b.jpg", "--model", "tiny.h5", "--out", "new/drawn").status == 0
        assert sorted(path.name for path in (folder / "new" / "drawn").iterdir()) == ["a.png", "b.png"]

    def test_a_folder_that_is_there_takes_one_image_too(self, run: Run, folder: Path) -> None:
        (folder / "there").mkdir()
        assert run(*DETECT, "--out", "there").status == 0
        assert [path.name for path in (folder / "there").iterdir()] == ["a.png"]

    def test_a_slash_makes_a_folder_for_one_image_as_for_many(self, run: Run, folder: Path) -> None:
        assert run(*DETECT, "--out", "new/").status == 0
        assert [path.name for path in (folder / "new").iterdir()] == ["a.png"]

    @pytest.mark.parametrize(
        "arguments", [("--out", "a.png"), ("--out", "."), ("--out", "./"), ("a.png", "--out", ".")], ids=" ".join
    )
    def test_no_drawing_takes_the_place_of_an_image(self, arguments: tuple[str, ...], run: Run, folder: Path) -> None:
        before = (folder / "a.png").read_bytes()
        result = run(*DETECT, *arguments)
        assert result.status == 2
        assert (folder / "a.png").read_bytes() == before
        assert result.out == ""

    def test_an_out_that_cannot_be_written_is_one_error(self, run: Run, folder: Path) -> None:
        result = run(*DETECT, "--out", "nowhere/drawn.png")
        assert result.status in (1, 2)
        assert "nowhere" in result.err.splitlines()[-1]
        assert not [path for path in folder.iterdir() if "drawn" in path.name]


class TestClassify:
    @pytest.fixture(autouse=True)
    def classifier(self, folder: Path) -> None:
        (folder / "colours").write_text("red\ngreen\nblue\n")
        tiny.classifier_file(folder, "--labels", str(folder / "colours"))
        tiny.picture_file(folder / "green.png", np.full((40, 60, 3), (51, 255, 0), np.uint8))

    CLASSIFY = ("classify", "green.png", "--model", "tiny-classifier.h5")
    # e^(4 x (0.2, 1, 0)), normalised
    PROBABILITIES = (0.0385, 0.9442, 0.0173)

    def test_json_has_the_best_class_first(self, run: Run) -> None:
        result = run(*self.CLASSIFY, "--format", "json")
        assert result.status == 0
        (image,) = json.loads(result.out)
        assert image["image"] == "green.png"
        assert [(c["label"], c["class_id"]) for c in image["classes"]] == [("green", 1), ("red", 0), ("blue", 2)]
        red, green, blue = self.PROBABILITIES
        assert [c["score"] for c in image["classes"]] == pytest.approx([green, red, blue], abs=1e-4)

    def test_top_limits_the_classes(self, run: Run) -> None:
        result = run(*self.CLASSIFY, "--top", 2)
        assert [line.split() for line in result.out.splitlines()] == [
            ["green.png"], ["0.9442", "green"], ["0.0385", "red"]
        ]  # fmt: skip

    def test_one_broken_image_is_one_error_line(self, run: Run) -> None:
        result = run("classify", "missing.png", "green.png", "--model", "tiny-classifier.h5", "--format", "json")
        assert (result.status, len(json.loads(result.out)), len(result.errors)) == (1, 1, 1)

    def test_a_classifier_does_not_detect_nor_a_detector_classify(self, run: Run) -> None:
        result = run("detect", "a.png", "--model", "tiny-classifier.h5")
        assert (result.status, result.out) == (1, "")
        assert result.errors == [
            "error: tiny-classifier.h5: expected a detector, found a classifier; use `pure-detect classify`"
        ]
        result = run("classify", "a.png", "--model", "tiny.h5")
        assert (result.status, result.out) == (1, "")
        assert result.errors == ["error: tiny.h5: expected a classifier, found a detector; use `pure-detect detect`"]
