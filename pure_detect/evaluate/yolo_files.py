"""Reads ground truth from YOLO's text labels, one file an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import ExifTags
from PIL import Image as PillowImage

from pure_detect.errors import InputError
from pure_detect.evaluate.checks import read_text, show
from pure_detect.evaluate.ground_truth import Category, GroundTruth, Image
from pure_detect.evaluate.image_numbers import files_in, number_images

IMAGE_ENDINGS = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
NAMES_FILE = "classes.txt"  # which labelling programs write beside the labels


def read_yolo(
    labels: str | PathLike[str], images: str | PathLike[str], *, names: Sequence[str] | None = None
) -> GroundTruth:
    """Read a folder of label files, one an image: lines of `class x_centre y_centre width height`, 0 to 1.

    An image without a label file, or with an empty one, has no objects. A category's id is its class, from 0. An
    image's id is the number that is its file's name (`000012.jpg` is 12); if not all names are numbers, its place in
    their order, from 1.

    Parameters
    ----------
    labels : path
        The folder of `.txt` files.
    images : path
        The folder of the pictures; it may be the same. Only their sizes are read, with the EXIF orientation applied.
    names : sequence of str, optional
        The classes, from 0; the default is the lines of `classes.txt` among the labels, else every class up to the
        greatest one, without names.

    Returns
    -------
    GroundTruth
        Boxes in pixels, by image, in each file's order; areas are width times height.

    Raises
    ------
    InputError
        One line that names the folder, or the file and its first offending line, counted from 1.

    Notes
    -----
    Source: pjreddie/darknet f6afaab `src/data.c` `read_boxes`; each number is divided by the picture's size.
    """
    pictures = number_images(files_in(Path(images), IMAGE_ENDINGS, "a folder of pictures"))
    label_files = {path.stem: path for path in files_in(Path(labels), {".txt"}, "a folder of YOLO's label files")}
    names_file = label_files.pop(Path(NAMES_FILE).stem, None)
    if names is None and names_file is not None:
        names = read_text(names_file, "names of classes").split("\n")
        names = [name.strip() for name in names if name.strip()]
    table, rows = [], []
    for picture, number in pictures.items():
        width, height = _size(picture)
        table.append(Image(number, picture.name, width, height))
        label_file = label_files.pop(picture.stem, None)
        if label_file is not None:
            rows += [(number, *_object(row, width, height)) for row in _read_labels(label_file, names)]
    if label_files:
        raise InputError(f"{next(iter(label_files.values()))}: expected a picture of that name in {images}, found none")
    return _ground_truth(rows, table, names, str(labels))


def _ground_truth(
    rows: list[tuple[float, ...]], images: list[Image], names: Sequence[str] | None, source: str
) -> GroundTruth:
    columns = np.array(rows, np.float64).reshape(-1, 6)
    classes = columns[:, 1].astype(np.int64)
    if names is None:
        names = [""] * (int(classes.max(initial=-1)) + 1)
    categories = [Category(number, name) for number, name in enumerate(names)]
    image_ids = [int(row[0]) for row in rows]
    return GroundTruth(image_ids, classes, columns[:, 2:], images=images, categories=categories, source=source)


def _object(row: list[float], width: int, height: int) -> tuple[float, ...]:
    """Return class, and x, y, width, height in pixels, of one line."""
    category, x, y, w, h = row
    return category, (x - w / 2) * width, (y - h / 2) * height, w * width, h * height


def _read_labels(path: Path, names: Sequence[str] | None) -> list[list[float]]:
    rows = []
    for number, line in enumerate(read_text(path, "YOLO's labels").splitlines(), start=1):
        if line.strip():
            rows.append(_read_line(f"{path}: line {number}", line, names))
    return rows


def _read_line(where: str, line: str, names: Sequence[str] | None) -> list[float]:
    try:
        row = [float(word) for word in line.split()]
    except ValueError:
        row = []
    if len(row) != 5 or not all(map(math.isfinite, row)):
        raise InputError(f"{where}: expected class x y width height, found {show(line.strip())}")
    if row[0] != int(row[0]) or not 0 <= row[0] < (100_000 if names is None else len(names)):
        known = "a class, an integer from 0" + ("" if names is None else f" to {len(names) - 1}")
        raise InputError(f"{where}: expected {known}, found {show(line.split()[0])}")
    if not all(0 <= value <= 1 for value in row[1:]) or min(row[3:]) <= 0:
        expected = "x y width height as shares of the picture, 0 to 1, with a width and height greater than 0"
        raise InputError(f"{where}: expected {expected}, found {show(line.strip())}")
    return row


def _size(path: Path) -> tuple[int, int]:
    """Return width and height as a viewer shows the picture; only its head is read."""
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
            on_its_side = picture.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception as error:  # Pillow's decoders raise anything: OSError, SyntaxError, struct.error, KeyError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: expected a picture, found {reason}") from None
    return (height, width) if on_its_side else (width, height)
