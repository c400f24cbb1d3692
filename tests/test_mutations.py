"""Hundreds of damaged files through the commands: each gives a result or one clear line, in bounded memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from pure_detect import jit
from tests.subprocesses import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of memory")


def outcomes(kind: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return how the command ended on each damaged file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(jit.cache_folder().parent)}
    command = [sys.executable, "-m", "tests.mutation_runs", kind, str(count), str(seed)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, f"after {finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.parametrize(
    ("kind", "count", "fewest"), [("hdf5", 200, 60), ("images", 200, 60), ("darknet", 50, 15)], ids=str
)
def test_a_damaged_file_gives_a_result_or_one_clear_line(kind: str, count: int, fewest: int) -> None:
    found = outcomes(kind, count, seed=7)
    assert len(found) == count
    for case in found:
        lines = [line for line in case["err"].splitlines() if not line.startswith("warning: ")]
        if case["status"] == 0:
            assert case["out"] or "bytes written" in lines[-1], case
        else:
            assert case["status"] == 1, case
            assert (len(lines), case["out"], case["left"]) == (1, "", []), case
            assert lines[0].startswith("error: "), case
            assert "memory" not in lines[0], case
            assert any(name in lines[0] for name in (case["file"], "x.h5", "tiny", "names")), case
    refused = sum(case["status"] == 1 for case in found)
    assert fewest < refused < count
