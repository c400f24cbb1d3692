"""Shell completion, asked for as bash asks when the tab key is pressed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pure_detect
from pure_detect.registry import PUBLISHED

argcomplete = pytest.importorskip("argcomplete", reason="needs the extra test")
BASH = shutil.which("bash")

pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")

PRESS_TAB = """
eval "$1"
words=($2)
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
[[ $2 == *" " ]] && COMP_WORDS+=("") && COMP_CWORD=$((COMP_CWORD + 1))
spec=$(complete -p "${words[0]}")
[[ $spec =~ -F\\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" "${words[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

MODULES = {"pure-detect": "pure_detect", "weights-convert": "weights_convert.cli"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the programs and some files."""
    for name, module in MODULES.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        program.chmod(0o755)
    for name in ("my.h5", "my.cfg", "street.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def press_tab(line: str, folder: Path) -> list[str]:
    """Return what bash would offer for a line."""
    assert BASH is not None
    program = line.split()[0]
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(pure_detect.__file__).parents[1]),
    }
    command = [BASH, "--norc", "-c", PRESS_TAB, "bash", argcomplete.shellcode([program]), line]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert finished.stderr == ""
    return [word.rstrip() for word in finished.stdout.splitlines() if word.strip()]


def test_commands_and_options_are_offered(folder: Path) -> None:
    assert set(press_tab("pure-detect d", folder)) == {"demo", "detect", "download"}
    assert press_tab("pure-detect detect --ag", folder) == ["--agnostic"]


def test_model_names_and_weight_files_are_offered(folder: Path) -> None:
    assert press_tab("pure-detect detect --model yolov3-t", folder) == ["yolov3-tiny"]
    assert set(press_tab("pure-detect detect --model ", folder)) >= {*PUBLISHED, "my.h5"}
    assert press_tab("pure-detect detect --model my", folder) == ["my.h5"]
    assert set(press_tab("pure-detect summary my", folder)) == {"my.cfg", "my.h5"}
    assert press_tab("pure-detect download tiny", folder) == ["tiny-darknet"]


def test_choices_are_offered(folder: Path) -> None:
    assert set(press_tab("pure-detect detect a.png --format ", folder)) == {"table", "json", "coco", "csv", "yolo"}
    assert press_tab("pure-detect detect a.png --resize letterbox-", folder) == ["letterbox-darknet"]


def test_images_are_offered_as_files(folder: Path) -> None:
    assert press_tab("pure-detect detect str", folder) == ["street.jpg"]


def test_the_converter_completes_too(folder: Path) -> None:
    assert press_tab("weights-convert x.weights --model my", folder) == ["my.cfg"]
    assert press_tab("weights-convert x.weights --epsilon-place ", folder) == ["inside", "outside"]
