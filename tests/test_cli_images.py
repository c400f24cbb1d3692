"""The images of a command line: folders, patterns, standard input; their order, names, errors and outputs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_networks as tiny
from tests.commands import Run, enter_folder, start

MODEL = ("--model", "tiny.h5")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model, and a folder of photographs with another in it and what is no image."""
    enter_folder(tmp_path, monkeypatch)
    (tmp_path / "photos" / "old" / ".hidden").mkdir(parents=True)
    for name in ("10.png", "9.JPG", ".10.png", "old/2.png", "old/.hidden/1.png"):
        tiny.picture_file(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(run: Run, *arguments: str) -> list[str]:
    """Return the images of a run that goes well."""
    result = run("detect", *arguments, *MODEL, "--format", "json")
    assert (result.status, result.errors) == (0, [])
    return [image["image"] for image in json.loads(result.out)]


def path(text: str) -> str:
    return str(Path(text))


class TestWhatIsTaken:
    def test_of_a_folder_its_images_in_the_order_of_numbers(self, run: Run) -> None:
        expected = [path("photos/9.JPG"), path("photos/10.png")]
        assert names(run, "photos") == expected
        assert names(run, "photos/", "a.png") == [*expected, "a.png"]

    def test_of_a_pattern_what_it_matches(self, run: Run) -> None:
        assert names(run, "photos/*.png") == [path("photos/10.png")]
        assert names(run, "photos/?.[jJ]*") == [path("photos/9.JPG")]
        assert names(run, "*.png", "photos/*/*") == ["a.png", path("photos/old/2.png")]

    def test_of_two_stars_every_folder_but_hidden_ones(self, run: Run) -> None:
        below = [path("photos/9.JPG"), path("photos/10.png"), path("photos/old/2.png")]
        assert names(run, "photos/**") == below
        assert names(run, "**/*.png") == ["a.png", *below[1:]]
        assert names(run, "photos/**/.hidden/*") == [path("photos/old/.hidden/1.png")]

    @pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
    def test_folders_that_link_in_circles_come_to_an_end(self, run: Run, folder: Path) -> None:
        (folder / "photos" / "old" / "up").symlink_to(folder / "photos", target_is_directory=True)
        assert len(names(run, "photos/**")) == 3

    def test_a_file_whose_name_looks_like_a_pattern_is_a_file(self, run: Run, folder: Path) -> None:
        tiny.picture_file(folder / "b[1].png")
        tiny.picture_file(folder / "b1.png")
        assert names(run, "b[1].png") == ["b[1].png"]

    def test_classify_takes_them_too(self, run: Run, folder: Path) -> None:
        tiny.classifier_file(folder)
        result = run("classify", "photos", "a.png", "--model", "tiny-classifier.h5", "--format", "json")
        assert result.status == 0
        found = [image["image"] for image in json.loads(result.out)]
        assert found == [path("photos/9.JPG"), path("photos/10.png"), "a.png"]
        progress = [line.split(":")[0] for line in result.err.splitlines() if line.startswith("[")]
        assert progress == [f"[{i}/3] {name}" for i, name in enumerate(found, start=1)]


class TestErrors:
    def test_each_stands_in_its_place_and_the_rest_is_done(self, run: Run, folder: Path) -> None:
        (folder / "photos" / "9.JPG").write_bytes(b"")
        arguments = ("none.png", "photos", "empty", "no*.png", "empty/**", "a**b", "a.png")
        result = run("detect", *arguments, *MODEL, "--format", "csv")
        assert result.status == 1
        read = [row["image"] for row in csv.DictReader(io.StringIO(result.out))]
        assert list(dict.fromkeys(read)) == [path("photos/10.png"), "a.png"]
        lines = result.err.splitlines()
        expected = [
            "error: none.png: expected an image such as JPEG or PNG, found no such file",
            f"error: {path('photos/9.JPG')}: expected an image such as JPEG or PNG, found an empty file",
            f"[3/8] {path('photos/10.png')}: 2 objects, ",
            "error: empty: expected images, found none",
            "error: no*.png: expected images, found none",
            "error: empty/**: expected images, found none",
            "error: a**b: expected images, found",
            "[8/8] a.png: 2 objects, ",
        ]
        assert len(lines) == len(expected)
        for line, start_ in zip(lines, expected):
            assert line.startswith(start_)

    def test_one_image_has_no_progress(self, run: Run) -> None:
        assert run("detect", "a.png", *MODEL).err == ""

    def test_standard_input_is_read_once(self, run: Run) -> None:
        for command in ("detect", "classify"):
            result = run(command, "-", "-", *MODEL)
            assert (result.status, result.out) == (2, "")
            assert "standard input once" in result.err


class TestOutputs:
    def test_drawings_keep_the_folders_below_the_one_that_was_given(self, run: Run, folder: Path) -> None:
        assert run("detect", "photos/**", "a.png", *MODEL, "--out", "drawn").status == 0
        drawn = {str(file.relative_to(folder / "drawn")) for file in (folder / "drawn").rglob("*.png")}
        assert drawn == {"9.png", "10.png", path("old/2.png"), "a.png"}

    def test_images_that_differ_in_their_ending_alone_are_drawn_apart(self, run: Run, folder: Path) -> None:
        tiny.picture_file(folder / "photos" / "10.jpg")
        assert run("detect", "photos", *MODEL, "--out", "drawn").status == 0
        assert {file.name for file in (folder / "drawn").iterdir()} == {"9.png", "10.png.png", "10.jpg.png"}
        result = run("detect", "photos", *MODEL, "--format", "yolo", "--out", "labels")
        assert (result.status, (folder / "labels").exists()) == (2, False)
        assert "found two for " in result.err

    def test_images_of_one_name_in_two_folders_are_refused(self, run: Run, folder: Path) -> None:
        tiny.picture_file(folder / "10.png")
        result = run("detect", "photos", "10.png", *MODEL, "--out", "drawn")
        assert (result.status, (folder / "drawn").exists()) == (2, False)

    def test_a_folder_needs_a_folder_for_its_drawings_however_many_images_it_has(self, run: Run) -> None:
        for images in ("photos", "photos/old", "photos/*"):
            assert run("detect", images, *MODEL, "--out", "drawn.png").status == 2

    def test_drawings_into_the_folder_of_the_images_would_overwrite_them(self, run: Run, folder: Path) -> None:
        before = (folder / "photos" / "10.png").read_bytes()
        result = run("detect", "photos", *MODEL, "--out", "photos")
        assert (result.status, result.out) == (2, "")
        assert (folder / "photos" / "10.png").read_bytes() == before

    def test_labels_go_to_files_of_the_images_names(self, run: Run, folder: Path) -> None:
        result = run("detect", "photos", *MODEL, "--format", "yolo", "--out", "labels")
        assert (result.status, result.out) == (0, "")
        assert {file.name for file in (folder / "labels").iterdir()} == {"9.txt", "10.txt"}

    def test_image_ids_are_the_numbers_of_the_names(self, run: Run) -> None:
        entries = json.loads(run("detect", "photos", *MODEL, "--format", "coco").out)
        assert {entry["image_id"] for entry in entries} == {9, 10}


class TestStandardInput:
    def ask(self, content: bytes, *arguments: str) -> tuple[int, bytes, str]:
        started = start(*arguments, stdin=subprocess.PIPE)
        out, err = started.communicate(content)
        return started.returncode, out, err.decode()

    def test_an_image_is_read_from_it(self, folder: Path) -> None:
        content = (folder / "a.png").read_bytes()
        status, out, err = self.ask(content, "detect", "-", *MODEL, "--format", "json", "--out", "drawn/")
        assert status == 0
        (image,) = json.loads(out)
        assert (image["image"], len(image["detections"])) == ("-", 2)
        assert (folder / "drawn" / "stdin.png").is_file()
        assert err == f"{path('drawn/stdin.png')}: drawn\n"

    @pytest.mark.parametrize(
        ("content", "found"), [(b"", "nothing"), (b"no image", "bytes of no image format known here")], ids=str
    )
    def test_what_is_no_image_is_one_line_and_the_rest_is_done(self, content: bytes, found: str) -> None:
        status, out, err = self.ask(content, "detect", "-", "a.png", *MODEL, "--format", "json")
        assert (status, [image["image"] for image in json.loads(out)]) == (1, ["a.png"])
        assert err.splitlines()[0] == f"error: standard input: expected an image such as JPEG or PNG, found {found}"

    def test_a_closed_one_is_one_line(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        result = run("detect", "-", *MODEL)
        assert result.status == 1
        assert result.errors == ["error: standard input: expected an image, found it closed"]

    def test_more_than_any_image_has_is_not_kept(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        class Endless(io.RawIOBase):
            buffer: Any

            def isatty(self) -> bool:
                return False

            def read(self, size: int = -1) -> bytes:
                assert size > 0
                return bytes(size)

        endless = Endless()
        endless.buffer = endless
        monkeypatch.setattr(sys, "stdin", endless)
        monkeypatch.setattr("pure_detect.cli.images.LARGEST_STREAM", 1000)
        monkeypatch.setattr("pure_detect.image_file.LARGEST_STREAM", 1000)
        (error,) = run("detect", "-", *MODEL).errors
        assert error.endswith("found more than 1,000 bytes")
