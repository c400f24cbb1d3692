"""Running the commands inside a test: what they print, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pure_detect
from pure_detect import jit
from pure_detect.cli import main
from tests import tiny_networks as tiny

DETECT = ("detect", "a.png", "--model", "tiny.h5")


class Result(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Return the error lines; each message is exactly one."""
        assert "Traceback" not in self.out + self.err
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


Run = Callable[..., Result]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process."""

    def run(*arguments: object, program: Callable[[list[str]], int] = main) -> Result:
        try:
            status: object = program([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = exit_.code
        captured = capsys.readouterr()
        assert isinstance(status, int)
        return Result(status, captured.out, captured.err)

    return run


def enter_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with a model and a picture; the cache of weights is empty, and nowhere is there any download."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PURE_DETECT_HOME", str(folder / "home"))
    monkeypatch.setenv("PURE_DETECT_MIRROR", str(folder / "no-mirror"))
    monkeypatch.setenv("COLUMNS", "80")
    (folder / "names").write_text("rot\ngrün\n", encoding="utf-8")
    tiny.detector_file(folder, "--labels", str(folder / "names"))
    tiny.picture_file(folder / "a.png")
    return folder


def start(
    *arguments: str, stdin: int | None = None, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    """Start the command as a user does, standard output buffered as it is into a pipe, kernels from the usual cache."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    variables["NUMBA_CACHE_DIR"] = str(jit.cache_folder().parent)
    variables["PYTHONPATH"] = str(Path(pure_detect.__file__).parents[1])
    command = [sys.executable, "-m", "pure_detect", *arguments]
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env={**variables, **environment}
    )
