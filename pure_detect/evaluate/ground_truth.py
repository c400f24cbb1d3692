"""The objects that are really there: the arrays that every protocol takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect.errors import InputError
from pure_detect.evaluate.checks import Checker, as_flags, as_integers, as_numbers


class Image(NamedTuple):
    """One picture of a data set; a width and height of 0 pixels mean that they are not known."""

    id: int
    file_name: str = ""
    width: int = 0
    height: int = 0


class Category(NamedTuple):
    """One class of a data set, under the data set's own number."""

    id: int
    name: str = ""


class GroundTruth:
    """The N objects of a data set, one row each, and the tables of its images and categories.

    The order of the rows matters where two objects overlap a detection equally; keep the file's.

    Parameters
    ----------
    image_ids, category_ids : integer array (N,)
    boxes_xywh : array (N, 4)
        Left, top, width, height in pixels; a box may reach outside of the picture.
    areas : array (N,), optional
        What the area ranges of COCO's protocol go by: in COCO's files the area of the object's mask, in square
        pixels. The default is width times height.
    iscrowd : array (N,) of 0 and 1, optional
        Regions that cover many objects; the default is none.
    difficult : array (N,) of 0 and 1, optional
        Objects that the VOC protocol leaves out; the default is `iscrowd`.
    images : sequence of Image, optional
        Every image that counts, also those without an object. The default is the images that have one.
    categories : sequence of Category, optional
        Every class that counts. The default is the classes that occur.
    source : str
        What errors call these data: a file name.

    Attributes
    ----------
    image_ids, category_ids : int64 array (N,)
    boxes_xywh : float64 array (N, 4)
    areas : float64 array (N,)
    iscrowd, difficult : bool array (N,)
    images : tuple of Image
        By id.
    categories : tuple of Category
        By id.
    source : str

    Raises
    ------
    InputError
        One line that names the first offending entry: a number that is NaN or infinite, a width or height that is
        not greater than 0, a negative area, an image or category that is not in the tables, an id there twice.

    Notes
    -----
    Source: COCO data format (cocodataset.org, section "Object Detection"); pycocotools 2.0.11 `coco.py`.
    """

    def __init__(
        self,
        image_ids: ArrayLike,
        category_ids: ArrayLike,
        boxes_xywh: ArrayLike,
        areas: ArrayLike | None = None,
        iscrowd: ArrayLike | None = None,
        difficult: ArrayLike | None = None,
        *,
        images: Sequence[Image] | None = None,
        categories: Sequence[Category] | None = None,
        source: str = "ground truth",
    ) -> None:
        self.source = source
        self.image_ids = as_integers(f"{source}: image_ids", image_ids)
        count = len(self.image_ids)
        self.category_ids = as_integers(f"{source}: category_ids", category_ids, count)
        self.boxes_xywh = as_numbers(f"{source}: boxes_xywh", boxes_xywh, (count, 4))
        if areas is None:
            areas = self.boxes_xywh[:, 2] * self.boxes_xywh[:, 3]
        self.areas = as_numbers(f"{source}: areas", areas, (count,))
        self.iscrowd = as_flags(f"{source}: iscrowd", np.zeros(count) if iscrowd is None else iscrowd, count)
        self.difficult = as_flags(f"{source}: difficult", self.iscrowd if difficult is None else difficult, count)
        images = [Image(int(i)) for i in np.unique(self.image_ids)] if images is None else images
        categories = [Category(int(i)) for i in np.unique(self.category_ids)] if categories is None else categories
        _check_ids(source, "images", [image.id for image in images])
        _check_ids(source, "categories", [category.id for category in categories])
        self.images = tuple(sorted(images))
        self.categories = tuple(sorted(categories))
        self._check()

    def _check(self) -> None:
        check = Checker(self.source, "annotations", len(self.image_ids))
        check_boxes(check, "bbox", self.boxes_xywh)
        good = np.isfinite(self.areas) & (self.areas >= 0)
        check.require(good, "area", "a finite number of at least 0", self.areas)
        check_known(check, self.image_ids, self.category_ids, self)
        check.finish()


def check_boxes(check: Checker, field: str, boxes_xywh: NDArray[np.float64]) -> None:
    """Require finite coordinates, and a width and height greater than 0."""
    finite = np.isfinite(boxes_xywh).min(axis=1, initial=True)
    check.require(finite, field, "finite numbers", boxes_xywh)
    sized = (boxes_xywh[:, 2] > 0) & (boxes_xywh[:, 3] > 0)
    check.require(sized, field, "[x, y, width, height] with a width and height greater than 0", boxes_xywh)


def check_known(
    check: Checker, image_ids: NDArray[np.int64], category_ids: NDArray[np.int64], truth: GroundTruth
) -> None:
    """Require that every image and category stands in the tables of `truth`."""
    of = "" if check.source == truth.source else f" of {truth.source}"
    for field, ids, table, name in (
        ("image_id", image_ids, truth.images, "images"),
        ("category_id", category_ids, truth.categories, "categories"),
    ):
        known = np.isin(ids, np.array([row.id for row in table], np.int64))
        check.require(known, field, f"the id of one of the {len(table)} {name}{of}", ids)


def _check_ids(source: str, table: str, ids: list[int]) -> None:
    numbers = as_integers(f"{source}: {table}", ids)
    check = Checker(source, table, len(ids))
    check.require_unique("id", numbers)
    check.finish()


def require_objects(truth: GroundTruth) -> None:
    """Raise an InputError where a data set has no object at all."""
    if not len(truth.image_ids):
        raise InputError(f"{truth.source}: expected at least one object, found none")
