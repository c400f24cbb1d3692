"""Numbers for the images of data sets that have one file an image and no numbers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pure_detect.errors import InputError


def files_in(folder: Path, endings: Collection[str], what: str) -> list[Path]:
    """Return a folder's files with one of the endings, by name; `what` says in an error what it should have been."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    except OSError as error:
        raise InputError(f"{folder}: expected {what}, found: {error.strerror or error}") from None
    if not paths:
        raise InputError(f"{folder}: expected {what}, found no file ending in {' or '.join(sorted(endings))}")
    return paths


def number_images(paths: list[Path]) -> dict[Path, int]:
    """Return an image id for each file: the number that is its name, else, for all, the place among them from 1.

    `000012.jpg` is 12, as COCO and the converters of its files name them.

    Raises
    ------
    InputError
        If two files differ in their ending only.
    """
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise InputError(f"{path}: expected one file of that name, found {by_stem[path.stem].name} beside it")
        by_stem[path.stem] = path
    numeric = all(stem.isascii() and stem.isdigit() and len(stem) <= 18 for stem in by_stem)
    numbers = [int(stem) for stem in by_stem] if numeric else []
    if len(set(numbers)) < len(paths):
        numbers = list(range(1, len(paths) + 1))
    return dict(zip(paths, numbers))
