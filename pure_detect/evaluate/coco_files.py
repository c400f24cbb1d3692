"""Reads ground truth from COCO's instances file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from pure_detect.errors import InputError
from pure_detect.evaluate.checks import Records, read_json, show
from pure_detect.evaluate.ground_truth import Category, GroundTruth, Image


def read_coco(path: str | PathLike[str]) -> GroundTruth:
    """Read a COCO instances file: a JSON object with `images`, `annotations` and `categories`.

    Needed are each image's and category's `id`, and each annotation's `id`, `image_id`, `category_id`, `bbox`,
    `area` and `iscrowd`. Names and sizes are read where they stand, everything else is passed over.

    Parameters
    ----------
    path : path

    Returns
    -------
    GroundTruth
        In the file's order.

    Raises
    ------
    InputError
        One line that names the file and the first offending entry, counted from 0 as in `annotations[0]`. An
        annotation's id must not be 0: pycocotools takes a match with it for none, so its figures would be wrong.

    Notes
    -----
    Source: COCO data format (cocodataset.org, section "Object Detection"); pycocotools 2.0.11 `coco.py`.
    """
    source = str(path)
    what = "COCO instances, a JSON object with images, annotations and categories"
    content = read_json(Path(path), what)
    if not isinstance(content, dict):
        raise InputError(f"{source}: expected {what}, found {show(content)}")
    for name in ("images", "annotations", "categories"):
        if name not in content:
            raise InputError(f"{source}: expected {what}, found no {name}")
    images, categories = _read_images(source, content["images"]), _read_categories(source, content["categories"])
    return _read_annotations(source, content["annotations"], images, categories)


def _read_images(source: str, entries: Any) -> list[Image]:
    table = Records(source, "images", entries)
    ids = table.integers("id")
    table.require_unique("id", ids)
    names, widths, heights = table.strings("file_name"), table.sizes("width"), table.sizes("height")
    table.finish()
    return [Image(*row) for row in zip(ids.tolist(), names, widths, heights)]


def _read_categories(source: str, entries: Any) -> list[Category]:
    table = Records(source, "categories", entries)
    ids = table.integers("id")
    table.require_unique("id", ids)
    names = table.strings("name")
    table.finish()
    return [Category(*row) for row in zip(ids.tolist(), names)]


def _read_annotations(source: str, entries: Any, images: list[Image], categories: list[Category]) -> GroundTruth:
    table = Records(source, "annotations", entries)
    ids = table.integers("id")
    table.require(ids != 0, "id", "a number other than 0 (COCO's tools take a match with 0 for none)", ids)
    table.require_unique("id", ids)
    columns: list[Any] = [table.integers("image_id"), table.integers("category_id"), table.boxes("bbox")]
    columns += [table.numbers("area"), table.flags("iscrowd")]
    # An entry before the one that cannot be read may hold numbers that cannot be right: those are told first.
    good: list[np.ndarray[Any, Any]] = [column[: table.limit] for column in columns]
    truth = GroundTruth(*good, images=images, categories=categories, source=source)
    table.finish()
    return truth
