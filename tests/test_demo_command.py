"""`pure-detect demo`: what it prints and draws, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pure_detect.demo.scenes import LABELS, draw_scene
from tests import demo
from tests.commands import Run, start


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without a network and with a cache without weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PURE_DETECT_MIRROR", str(tmp_path / "no-mirror"))
    return tmp_path


def test_the_truth_stands_beside_what_the_three_networks_found(run: Run) -> None:
    result = run("demo", "--seed", 127)
    scene = draw_scene(127)
    assert result.status == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"scene 127  256 x 256, {len(scene.class_ids)} objects"
    assert lines[2].split() == [name.removeprefix("demo-") for name in demo.NAMES]
    for line, class_id, box in zip(lines[4:], scene.class_ids, scene.boxes_xyxy):
        assert line.split()[:5] == [LABELS[class_id], *(f"{side:.0f}" for side in box)]
    rows = lines[4 : 4 + len(scene.class_ids)]
    found = [re.findall(r"0\.\d\d  [01]\.\d\d", row) for row in rows]
    assert [len(cells) for cells in found] == [3] * len(rows)


def test_the_picture_is_in_the_working_directory_and_named_on_standard_error(run: Run, folder: Path) -> None:
    result = run("demo")
    assert "demo.png: drawn" in result.err
    with Image.open(folder / "demo.png") as picture:
        width, height = picture.size
        assert picture.format == "PNG"
    assert width > 2.5 * height
    assert sorted(path.name for path in folder.iterdir()) == ["demo.png"]


def test_out_names_the_picture_and_its_format(run: Run, folder: Path) -> None:
    (folder / "pictures").mkdir()
    assert run("demo", "--out", "pictures/a.jpg").status == 0
    assert Image.open(folder / "pictures" / "a.jpg").format == "JPEG"


def test_what_comes_next_is_said_and_works(run: Run) -> None:
    out = run("demo", "--seed", 4).out
    commands = re.findall(r"^  pure-detect (.*)$", out, re.MULTILINE)
    assert commands[0] == "demo --seed 5"
    assert [command.split()[0] for command in commands] == ["demo", "detect", "demo", "models"]
    assert run(*commands[0].split()).status == 0
    assert run(*commands[3].split()).status == 0


def test_a_scene_and_its_answers_repeat_but_for_the_time(run: Run, folder: Path) -> None:
    first, second = (run("demo", "--seed", 6, "--out", f"{i}.png").out for i in (1, 2))
    assert re.sub(r"\d+ ms", "", first) == re.sub(r"\d+ ms", "", second)
    assert np.array_equal(np.asarray(Image.open(folder / "1.png")), np.asarray(Image.open(folder / "2.png")))


def test_score_decides_what_is_shown(run: Run) -> None:
    assert run("demo", "--score", 1).out.count("missed") == 3 * len(draw_scene(110).class_ids)
    assert "no object of the truth" in run("demo", "--score", 0.01).out


@pytest.mark.parametrize(("size", "width", "height"), [("1", 1, 1), ("300x40", 300, 40), ("1200x900", 1200, 900)])
def test_any_size_is_shown(size: str, width: int, height: int, run: Run) -> None:
    result = run("demo", "--size", size, "--seed", 0)
    assert result.status == 0
    assert f"{width} x {height}, {len(draw_scene(0, width, height).class_ids)} object" in result.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--seed -1", "expected a whole number of 0 or more, found -1"),
        ("--seed one", "invalid"),
        ("--size 0", "expected at least 1, found 0"),
        ("--out demo.txt", "expected a file name ending in .png"),
        ("--out nowhere/demo.png", "expected a folder that exists, found none at nowhere"),
        ("--scenes 3", "expected --dataset DIR with it"),
        ("--dataset d --scenes 0", "expected at least 1, found 0"),
        ("--dataset d --out a.png", "not with --dataset"),
        ("--dataset d --score 0.4", "not with --dataset"),
        ("--score 2", "expected a number from 0 to 1"),
    ],
)
def test_wrong_usage_is_status_2_and_makes_nothing(line: str, message: str, run: Run, folder: Path) -> None:
    result = run("demo", *line.split())
    assert (result.status, result.out) == (2, "")
    assert message in result.err
    assert list(folder.iterdir()) == []


def test_it_works_as_a_program_and_into_a_pipe_that_closes(folder: Path) -> None:
    with start("demo", "--out", str(folder / "a.png")) as process:
        assert process.stdout is not None
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 0
