"""The images of a command line: files, folders, patterns that no shell has expanded, and standard input."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.cli.common import DONE, FAILED, report, report_error
from pure_detect.errors import InputError
from pure_detect.image_file import ENDINGS, LARGEST_STREAM, read_image, read_image_bytes
from pure_detect.progress import duration

STANDARD_INPUT = "-"
WILD = re.compile(r"[*?[]")

# What `--help` says of IMAGE.
HELP = "a file, a folder, a pattern such as 'photos/**/*.jpg', or - for standard input"


class Source(NamedTuple):
    """One image, or what stands in its place where there is none.

    Attributes
    ----------
    name : str
        As results and messages name it.
    output : Path
        Where, within a folder of outputs, what is made of it goes, with the image's own ending: within a folder or
        pattern that was given, the way to the image is kept.
    error : str
        Why there is no image.
    """

    name: str
    output: Path
    error: str = ""

    def read(self) -> NDArray[np.uint8]:
        """Return the image's pixels.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        if self.error:
            raise InputError(self.error)
        return _read_standard_input() if self.name == STANDARD_INPUT else read_image(self.name)


class Sources(NamedTuple):
    """The images of a command line, in its order; `several` says that there may be more than one."""

    images: list[Source]
    several: bool


def find_images(arguments: Sequence[str]) -> Sources:
    """Return the images that the arguments name: within a folder or pattern, in the order of numbers in the names."""
    found = [source for argument in arguments for source in _expanded(argument)]
    several = len(arguments) != 1 or _is_pattern(arguments[0]) or os.path.isdir(arguments[0])
    return Sources(found, several)


def _expanded(argument: str) -> Iterator[Source]:
    if argument == STANDARD_INPUT:
        yield Source(argument, Path("stdin"))
    elif os.path.isdir(argument):
        folder = Path(argument)
        yield from _sorted(argument, folder, lambda: [path for path in folder.iterdir() if _is_image(path)])
    elif _is_pattern(argument):
        yield from _matching(argument)
    else:
        yield Source(argument, Path(Path(argument).name or "image"))


def _is_pattern(argument: str) -> bool:
    return WILD.search(argument) is not None and not os.path.lexists(argument)


def _matching(pattern: str) -> Iterator[Source]:
    """Yield the files that a pattern matches, of `**` at its end the images; hidden ones only where it says so."""
    parts = Path(pattern).parts
    fixed = list(takewhile(lambda part: not WILD.search(part), parts))
    root, rest = Path(*fixed), parts[len(fixed) :]
    all_below = rest[-1] == "**"
    hidden = any(part.startswith(".") for part in rest)

    def files() -> list[Path]:
        # pathlib's `**` stays out of links to folders, which can lead round in circles.
        paths = root.glob(str(Path(*rest, "*") if all_below else Path(*rest)))
        return [
            path
            for path in paths
            if (hidden or not any(part.startswith(".") for part in path.relative_to(root).parts))
            and (_is_image(path) if all_below else not path.is_dir())
        ]

    yield from _sorted(pattern, root, files)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _sorted(argument: str, root: Path, files: Callable[[], list[Path]]) -> Iterator[Source]:
    """Yield the files below a folder, or one error in their place."""
    try:
        paths = sorted(files(), key=_by_numbers)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        yield Source(argument, Path(), f"{argument}: expected images, found: {reason}")
        return
    if not paths:
        yield Source(argument, Path(), f"{argument}: expected images, found none")
    for path in paths:
        yield Source(str(path), path.relative_to(root))


def _by_numbers(path: Path) -> tuple[Any, ...]:
    """Return what sorts `2.jpg` before `10.jpg`, folder by folder."""
    return tuple((re.split(r"([0-9]+)", part)[0::2], _numbers(part), part) for part in path.parts)


def _numbers(part: str) -> list[int]:
    return [int(digits[:4000]) for digits in re.findall(r"[0-9]+", part)]  # Python reads no longer ones


def _read_standard_input() -> NDArray[np.uint8]:
    if sys.stdin is None:
        raise InputError("standard input: expected an image, found it closed")
    if sys.stdin.isatty():
        report("standard input: waiting for an image")
    try:
        content = sys.stdin.buffer.read(LARGEST_STREAM + 1)
    except OSError as error:
        raise InputError(f"standard input: expected an image, found: {error.strerror or error}") from None
    return read_image_bytes(content, "standard input")


def for_each(sources: Sequence[Source], work: Callable[[int, Source], str]) -> int:
    """Do the work of every image, given its place from 0; one that fails does not stop the others.

    Of more than one the progress goes to standard error, with what `work` returns. Returns the exit status.
    """
    status, started = DONE, time.perf_counter()
    for i, source in enumerate(sources):
        begin = time.perf_counter()
        try:
            result = work(i, source)
        except InputError as error:
            report_error(error)
            status = FAILED
            continue
        if len(sources) > 1:
            now = time.perf_counter()
            left = duration((now - started) / (i + 1) * (len(sources) - i - 1))
            rest = f", {left} left" if i + 1 < len(sources) else ""
            report(f"[{i + 1}/{len(sources)}] {source.name}: {result}, {now - begin:.2f} s{rest}")
    return status
