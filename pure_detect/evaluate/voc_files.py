"""Reads ground truth from a folder of PASCAL VOC's XML files, one an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from pure_detect.errors import InputError
from pure_detect.evaluate.checks import show
from pure_detect.evaluate.ground_truth import Category, GroundTruth, Image
from pure_detect.evaluate.image_numbers import files_in, number_images
from pure_detect.evaluate.voc import xywh_from_pixels


class _Object(NamedTuple):
    image_id: int
    name: str
    corners: tuple[float, ...]  # xmin, ymin, xmax, ymax
    difficult: bool


def read_voc(folder: str | PathLike[str], *, names: Sequence[str] | None = None, one_based: bool = True) -> GroundTruth:
    """Read the XML annotations of a folder.

    An image's id is the number that is its file's name (`000012.xml` is 12); if not all names are numbers, its place
    in their order, from 1.

    Parameters
    ----------
    folder : path
        VOC's `Annotations`.
    names : sequence of str, optional
        The classes, with ids from 1 on; the default is the names that occur, in alphabetical order.
    one_based : bool
        The corners are numbers of pixels that belong to the box, from 1, as in VOC's own files:
        x = xmin - 1, width = xmax - xmin + 1. False takes them for edges, from 0: x = xmin, width = xmax - xmin.

    Returns
    -------
    GroundTruth
        Objects by image, in each file's order, with their `difficult`; areas are width times height.

    Raises
    ------
    InputError
        One line that names the folder or file, and the first offending object, counted from 0 as in `object[0]`.

    Notes
    -----
    Source: PASCAL VOC 2012 development kit, section "Annotations".
    """
    images: list[Image] = []
    objects: list[_Object] = []
    for path, number in number_images(files_in(Path(folder), {".xml"}, "a folder of VOC's XML files")).items():
        root = _parse(path)
        images.append(_image(path, root, number))
        found = [_object(path, i, element, number) for i, element in enumerate(root.findall("object"))]
        _check(path, found, names, 0.0 if one_based else np.nextafter(0.0, 1.0))
        objects += found
    known = sorted({row.name for row in objects}) if names is None else list(names)
    corners = np.array([row.corners for row in objects], np.float64).reshape(-1, 4)
    return GroundTruth(
        [row.image_id for row in objects],
        [known.index(row.name) + 1 for row in objects],
        # Edges from 0 become the numbers of the same pixels from 1.
        xywh_from_pixels(corners if one_based else corners + np.array([1, 1, 0, 0])),
        difficult=[row.difficult for row in objects],
        images=images,
        categories=[Category(number, name) for number, name in enumerate(known, start=1)],
        source=str(folder),
    )


def _parse(path: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise InputError(f"{path}: expected VOC's XML, found: {error.strerror or error}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding's name
        raise InputError(f"{path}: expected VOC's XML, found malformed XML: {error}") from None
    if root.tag != "annotation":
        raise InputError(f"{path}: expected VOC's XML with the root <annotation>, found <{root.tag}>")
    return root


def _image(path: Path, root: ElementTree.Element, number: int) -> Image:
    width, height = (_number(path, root, f"size/{side}", side) for side in ("width", "height"))
    if width != int(width) or height != int(height) or min(width, height) < 0:
        raise InputError(f"{path}: size: expected whole numbers of pixels, found {width:g} x {height:g}")
    name = (root.findtext("filename") or "").strip() or f"{path.stem}.jpg"
    return Image(number, name, int(width), int(height))


def _object(path: Path, index: int, element: ElementTree.Element, image_id: int) -> _Object:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{path}: object[{index}].name: expected a class, found nothing")
    edges = ("xmin", "ymin", "xmax", "ymax")
    corners = tuple(_number(path, element, f"bndbox/{edge}", f"object[{index}].{edge}") for edge in edges)
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise InputError(f"{path}: object[{index}].difficult: expected 0 or 1, found {show(difficult)}")
    return _Object(image_id, name, corners, difficult == "1")


def _number(path: Path, element: ElementTree.Element, tag: str, field: str) -> float:
    text = element.findtext(tag)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        found = "nothing" if text is None else show(text.strip())
        raise InputError(f"{path}: {field}: expected a finite number, found {found}")
    return value


def _check(path: Path, objects: list[_Object], names: Sequence[str] | None, least: float) -> None:
    """Require known classes, and right and bottom at least `least` beyond left and top."""
    for index, row in enumerate(objects):
        if names is not None and row.name not in names:
            raise InputError(
                f"{path}: object[{index}].name: expected one of the {len(names)} classes, found {show(row.name)}"
            )
        left, top, right, bottom = row.corners
        if right - left < least or bottom - top < least:
            expected = "xmax and ymax beyond xmin and ymin"
            raise InputError(f"{path}: object[{index}].bndbox: expected {expected}, found {list(row.corners)}")
