"""Runs a detector over a data set and collects its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pure_detect.detections import Detections
from pure_detect.errors import InputError
from pure_detect.evaluate.ground_truth import Category, GroundTruth, Image
from pure_detect.evaluate.results import Results
from pure_detect.evaluate.results_writer import ResultsWriter
from pure_detect.labels import COCO_NAMES_OF_DARKNET

SCORE, LIMIT = 0.005, 100  # Darknet's `detector valid` and COCO's largest number of boxes an image


def detect_all(
    detect: Callable[[Path], Detections],
    images: Sequence[Image],
    folder: Path,
    category_ids: Sequence[int | None],
    writer: ResultsWriter,
    step: Callable[[], None],
) -> list[InputError]:
    """Detect in every image that the writer has not got yet; an image that cannot be read does not stop the others.

    Parameters
    ----------
    detect : callable
        From a path to detections.
    images : sequence of Image
    folder : path
        Where their files lie.
    category_ids : sequence of int or None
        The data set's number of each of the detector's classes, None for a class that the data set has not.
    writer : ResultsWriter
    step : callable
        Called after each image.

    Returns
    -------
    list of InputError
        One an image that could not be read.
    """
    failures: list[InputError] = []
    known = np.array([-1 if number is None else number for number in category_ids], np.int64)
    for image in images:
        if image.id in writer.done:
            continue
        try:
            found = detect(folder / image.file_name)
        except InputError as error:
            failures.append(error)
        else:
            boxes = found.boxes_xyxy.astype(np.float64)
            boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
            numbers = known[found.class_ids]
            # A box that lies wholly outside of the picture has no size once clipped.
            usable = (numbers >= 0) & (boxes_xywh[:, 2:] > 0).all(axis=1)
            writer.add(image.id, numbers[usable], boxes_xywh[usable], found.scores[usable])
        step()
    return failures


def match_categories(labels: Sequence[str], categories: Sequence[Category], source: str) -> list[int | None]:
    """Return the data set's category id of each label, None where it has no such class.

    Names are compared without regard to case; Darknet's six own names for COCO classes (motorbike, sofa ...) count
    as COCO's.

    Raises
    ------
    InputError
        If not one label is the name of a category.
    """
    by_name = {category.name.casefold(): category.id for category in categories}
    found: list[int | None] = []
    for label in labels:
        name = label.casefold()
        found.append(by_name.get(name, by_name.get(COCO_NAMES_OF_DARKNET.get(name, name))))
    if all(number is None for number in found):
        theirs = ", ".join(category.name for category in categories[:3])
        raise InputError(f"{source}: expected categories such as {', '.join(labels[:3])}, found {theirs} ...")
    return found


def first_images(truth: GroundTruth, count: int | None) -> GroundTruth:
    """Return the part of a data set that its first `count` images, by id, make."""
    if count is None or count >= len(truth.images):
        return truth
    images = truth.images[:count]
    kept = np.isin(truth.image_ids, [image.id for image in images])
    return GroundTruth(
        truth.image_ids[kept],
        truth.category_ids[kept],
        truth.boxes_xywh[kept],
        truth.areas[kept],
        truth.iscrowd[kept],
        truth.difficult[kept],
        images=images,
        categories=truth.categories,
        source=truth.source,
    )


def results_of(results: Results, truth: GroundTruth) -> Results:
    """Return the results on a data set's images, without those on others."""
    kept = np.isin(results.image_ids, [image.id for image in truth.images])
    columns = (results.image_ids, results.category_ids, results.boxes_xywh, results.scores)
    return Results(*(column[kept] for column in columns), source=results.source)
