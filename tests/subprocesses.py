"""Fresh Python processes, for what only a start can show: environment variables, forks, caches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(arguments: list[str], *, timeout: float, path: Path = ROOT, **environment: str) -> str:
    """Run Python with extra environment variables and `path` to import from; return what it printed last."""
    finished = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(path), "NUMBA_DISABLE_JIT": "0", **environment},
        cwd=path,
        timeout=timeout,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, f"exit status {finished.returncode}\n{finished.stdout}\n{finished.stderr}"
    return (finished.stdout.strip().splitlines() or [""])[-1]


def run_python(code: str, *, timeout: float, path: Path = ROOT, **environment: str) -> str:
    """Run Python code; return the last line that it printed."""
    return run(["-c", code], timeout=timeout, path=path, **environment)
