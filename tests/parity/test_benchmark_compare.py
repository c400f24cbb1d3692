"""`benchmarks/compare.py`: what it reports of an engine that is right, and of one that is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx", reason="needs the extra parity")
pytest.importorskip("onnxruntime", reason="needs the extra parity")
pytest.importorskip("matplotlib", reason="needs the extra parity")

pytestmark = pytest.mark.parity

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare.py"


def compare(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Compare ours with onnxruntime on a small network; return the case's report and the Markdown."""
    command = [
        *(sys.executable, str(SCRIPT), "--networks", "yolo-fastest-1.1:64x32", "--engines", "ours,onnxruntime"),
        *("--threads", "1", "--blocks", "2", "--seconds", "0.05", "--retries", "0", "--batch", "2"),
        *("--work", str(folder / "work"), "--out", str(folder / "report"), *options),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads((folder / "report.json").read_text())["cases"]
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    return case, (folder / "report.md").read_text()


def test_the_report_holds_every_block_and_the_ratio_of_the_medians(tmp_path: Path) -> None:
    case, text = compare(tmp_path)
    assert (case["width"], case["height"], case["batch"], case["threads"]) == (64, 32, 2, 1)
    entries = case["engines"]
    for entry in entries.values():
        assert len(entry["blocks"]) == 2
        assert entry["difference"] < 1e-4
        assert all(block["median"] >= block["best"] > 0 for block in entry["blocks"])
        assert entry["best"] in [block["best"] for block in entry["blocks"]]  # a disturbed block's does not count
        assert entry["first_outputs"] > 0
        assert entry["peak_memory"] > 1e7
    ratio = entries["ours"]["median"] / entries["onnxruntime"]["median"]
    assert f"| **{ratio:.2f}** |" in text
    assert "Not timed" not in text


def test_an_engine_outside_of_the_bound_is_reported_and_not_timed(tmp_path: Path) -> None:
    case, text = compare(tmp_path, "--bound", "1e-12")
    entry = case["engines"]["onnxruntime"]
    assert entry["blocks"] == []
    assert "differ from the reference" in entry["failure"]
    assert "- onnxruntime: yolo-fastest-1.1 64x32 (1 thread, batch 2): outputs differ" in text


def test_a_size_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--networks", "yolo-fastest-1.1:33", "--work", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: yolo-fastest-1.1: height must be a multiple of 32, got 33" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--engines", "ours,tensorflow", "unknown: tensorflow; known: ours, ours-bf16x3, onnxruntime"),
        ("--networks", "yolov9", "yolov9: expected"),
        ("--batch", "0", "expected numbers of at least 1"),
    ],
)
def test_wrong_options_are_said_before_anything_runs(option: str, value: str, message: str) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), option, value], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
