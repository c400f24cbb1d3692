"""What the commands say of wrong usage and missing models, their help, `summary` and `models`, and closed pipes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import pure_detect
from pure_detect.cli import COMMANDS
from tests import tiny_networks as tiny
from tests.commands import DETECT, Run, enter_folder, start
from weights_convert.cli import main as weights_convert


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_folder(tmp_path, monkeypatch)


class TestModelsThatCannotBeHad:
    def test_an_unknown_name_suggests_one(self, run: Run) -> None:
        result = run("detect", "a.png", "--model", "yolov3-tinny")
        (error,) = result.errors
        assert (result.status, result.out) == (1, "")
        assert "did you mean yolov3-tiny?" in error
        assert "`pure-detect models`" in error

    @pytest.mark.parametrize("name", ["", ".", "something quite else", "tiny.weights"])
    def test_any_other_name_lists_what_there_is(self, name: str, run: Run) -> None:
        (error,) = run("detect", "a.png", "--model", name).errors
        assert "yolov3" in error

    def test_missing_weights_say_where_and_what_to_do(self, run: Run, folder: Path) -> None:
        result = run("detect", "a.png", "--model", "yolov3")
        (error,) = result.errors
        assert (result.status, result.out) == (1, "")
        assert str(folder / "home" / "weights" / "yolov3") in error
        assert "--model FILE" in error

    def test_a_cfg_alone_is_no_model(self, run: Run) -> None:
        result = run("detect", "a.png", "--model", "tiny.cfg")
        (error,) = result.errors
        assert (result.status, result.out) == (1, "")
        assert error.startswith("error: tiny.cfg: expected weights")
        assert "weights-convert" in error

    @pytest.mark.parametrize("command", ["detect", "summary"])
    def test_a_size_that_the_stride_does_not_divide_is_said(self, command: str, run: Run) -> None:
        arguments = DETECT if command == "detect" else ("summary", "tiny.cfg")
        result = run(*arguments, "--size", "32x40")
        assert (result.status, result.out) == (1, "")
        (error,) = result.errors
        assert error == "error: tiny: height must be a multiple of 16, got 40"

    def test_a_size_beyond_all_memory_is_one_error(self, run: Run) -> None:
        result = run(*DETECT, "--size", "3200000")
        assert (result.status, result.out) == (1, "")
        assert "memory" in result.errors[0]

    def test_an_unknown_option_in_a_cfg_is_one_warning_line(self, run: Run, folder: Path) -> None:
        (folder / "odd.cfg").write_text(tiny.DETECTOR + "bogus=1\n")
        result = run("summary", "odd.cfg")
        assert result.status == 0
        assert result.err == "warning: odd.cfg, line 17: [yolo] unknown option 'bogus' ignored\n"

    def test_a_broken_cfg_is_one_line(self, run: Run, folder: Path) -> None:
        (folder / "odd.cfg").write_text(tiny.DETECTOR.replace("filters=7", "filters=many"))
        result = run("summary", "odd.cfg")
        assert (result.status, result.out) == (1, "")
        assert result.err.startswith("error: odd.cfg, line 10: ")


WRONG_USAGE = (
    *("", "unknown", "detect", "detect a.png --model", "summary", "classify a.png"),
    "classify a.png --model tiny.h5 --top 0",
)
WRONG_OPTIONS = (
    "--bogus", "--score 1.5", "--score nan", "--score x", "--iou -0.1", "--format xml", "--nms soft", "--threads 0",
    "--threads x", "--resize squash", "--engine warp", "--size 0", "--size -32", "--size x32", "--size 32x",
    "--size 32x32x32", "b.png --out one.png", "sub/a.jpg --out drawn", "--out drawn.xyz", "--out drawn",
)  # fmt: skip


@pytest.mark.parametrize("line", [*WRONG_USAGE, *(f"{' '.join(DETECT)} {options}" for options in WRONG_OPTIONS)])
def test_wrong_usage_is_status_2_and_says_so_on_standard_error(line: str, run: Run) -> None:
    result = run(*line.split())
    assert (result.status, result.out) == (2, "")
    assert "usage: pure-detect" in result.err
    assert "error: " in result.err.splitlines()[-1]


FROM_DARKNET = "tiny.weights --model tiny.cfg --out x.h5"
WRONG_CONVERSIONS = (
    *("", "tiny.weights", "tiny.weights --model tiny.cfg", "tiny.weights --out x.h5"),
    "tiny.h5 --out x.weights --float16",
    "tiny.weights --model tiny.cfg --out ./tiny.weights",
    *(
        f"{FROM_DARKNET} {options}"
        for options in ("--epsilon -1", "--epsilon inf", "--epsilon-place up", "--resize no")
    ),
)


@pytest.mark.parametrize("line", WRONG_CONVERSIONS)
def test_wrong_usage_of_weights_convert_is_status_2(line: str, run: Run, folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = run(*line.split(), program=weights_convert)
    assert (result.status, result.out) == (2, "")
    assert "usage: weights-convert" in result.err
    assert sorted(folder.iterdir()) == before


class TestSummary:
    def test_totals_and_layers(self, run: Run, folder: Path) -> None:
        """Counted by hand: 7 x 3 weights and 7 biases; 21 multiply-adds at each of 2 x 2 cells."""
        for model in ("tiny.cfg", "tiny.h5"):
            result = run("summary", model, "--json")
            assert (result.status, result.err) == (0, "")
            summary = json.loads(result.out)
            layers = summary.pop("layers")
            assert summary == {
                "model": "tiny", "input": [3, 32, 32], "parameters": 28, "batch_norm_statistics": 0,
                "multiply_adds": 84, "outputs": ["layer001.conv"],
            }  # fmt: skip
            assert [(l["name"], l["op"], l["shape"], l["parameters"], l["multiply_adds"]) for l in layers] == [
                ("layer000.max_pool", "max_pool", [3, 2, 2], 0, 0), ("layer001.conv", "conv2d", [7, 2, 2], 28, 84)
            ]  # fmt: skip

    def test_the_table_has_a_line_a_layer_and_the_totals(self, run: Run) -> None:
        result = run("summary", "tiny.cfg")
        lines = result.out.splitlines()
        assert lines[0].startswith("tiny: input ")
        assert "max_pool 16x16/16" in lines[2]
        assert "conv2d 1x1/1" in lines[3]
        assert "28 learnable parameters" in result.out
        assert "84 multiply-adds" in result.out
        assert max(map(len, lines)) <= 80

    def test_batch_norm_statistics_are_counted_apart(self, run: Run, folder: Path) -> None:
        (folder / "bn.cfg").write_text(tiny.CLASSIFIER.replace("filters=3", "filters=3\nbatch_normalize=1"))
        summary = json.loads(run("summary", "bn.cfg", "--json").out)
        assert (summary["parameters"], summary["batch_norm_statistics"]) == (9 + 6, 6)

    def test_size_changes_the_multiply_adds_alone(self, run: Run) -> None:
        summary = json.loads(run("summary", "tiny.cfg", "--size", "64x32", "--json").out)
        assert (summary["input"], summary["parameters"], summary["multiply_adds"]) == ([3, 32, 64], 28, 168)

    def test_yolov3_is_the_published_one(self, run: Run) -> None:
        result = run("summary", "yolov3")
        assert "61,949,149 learnable parameters" in result.out
        assert "65.86 GFLOP" in result.out
        assert max(map(len, result.out.splitlines())) <= 80


def test_models_lists_the_registry_and_where_weights_are(run: Run, folder: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("models", "--json").out)}
    assert {"yolov3", "yolov3-tiny", "darknet53"} <= set(rows)
    assert (rows["yolov3"]["parameters"], rows["yolov3"]["width"], rows["yolov3"]["height"]) == (61_949_149, 416, 416)
    assert rows["yolov3"]["weights"] is None
    file = folder / "home" / "weights" / "yolov3.h5"
    file.parent.mkdir(parents=True)
    file.touch()
    rows = {row["name"]: row for row in json.loads(run("models", "--json").out)}
    assert rows["yolov3"]["weights"] == str(file)
    table = run("models")
    assert table.status == 0
    assert set(rows) <= {line.split()[0] for line in table.out.splitlines()}
    assert max(map(len, table.out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_has_an_example(command: str, run: Run) -> None:
    result = run(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert max(map(len, result.out.splitlines())) <= 80
    assert f"\n  pure-detect {command}" in result.out


def test_help_of_the_programs_fits_80_columns(run: Run) -> None:
    overview = run("--help")
    assert overview.status == 0
    for command in COMMANDS:
        assert f"    {command} " in overview.out
    convert = run("--help", program=weights_convert)
    assert convert.status == 0
    assert "\n  weights-convert " in convert.out
    assert max(map(len, (overview.out + convert.out).splitlines())) <= 80


class TestAsAProcess:
    def test_python_dash_m_is_the_command(self) -> None:
        out, err = (started := start("--version")).communicate()
        assert (started.returncode, out.decode(), err) == (0, f"pure-detect {pure_detect.__version__}{os.linesep}", b"")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("models",),
            ("summary", "yolov3"),
            (*DETECT, "--format", "json"),
            ("detect", "--help"),
        ],
        ids=" ".join,
    )
    def test_a_pipe_closed_early_leaves_no_traceback(self, arguments: tuple[str, ...]) -> None:
        started = start(*arguments)
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        err = started.stderr.read()
        started.stderr.close()
        assert started.wait() == 0
        assert err == b""

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_is_one_error_line(self) -> None:
        with open("/dev/full", "wb") as full:
            _, err = (started := start("models", stdout=full)).communicate()
        assert started.returncode == 1
        assert err.startswith(b"error: ")
        assert err.count(b"\n") == 1

    def test_a_narrow_terminal_encoding_is_no_traceback(self) -> None:
        out, err = (started := start(*DETECT, PYTHONIOENCODING="ascii")).communicate()
        assert (started.returncode, err) == (0, b"")
        assert b"rot" in out

    @pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes exist on Linux")
    def test_a_file_name_that_is_no_text_is_no_traceback(self, folder: Path) -> None:
        name = os.fsdecode(b"b\xff.png")
        tiny.picture_file(folder / name)
        for output in ("table", "json"):
            arguments = ("detect", name, "--model", "tiny.h5", "--format", output)
            _, err = (started := start(*arguments, PYTHONIOENCODING="utf-8:strict")).communicate()
            assert (started.returncode, err) == (0, b"")
