"""What a detector found: the arrays that every protocol takes, and COCO's results file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pure_detect.evaluate.checks import Checker, Records, as_integers, as_numbers, read_json
from pure_detect.evaluate.ground_truth import check_boxes


class Results:
    """D detections, one row each, in any order.

    Of equal scores the earlier row comes first, so the order of the rows can matter.

    Parameters
    ----------
    image_ids, category_ids : integer array (D,)
        The data set's own numbers, as in the ground truth.
    boxes_xywh : array (D, 4)
        Left, top, width, height in pixels; a box may reach outside of the picture.
    scores : array (D,)
    source : str
        What errors call these data: a file name.

    Attributes
    ----------
    image_ids, category_ids : int64 array (D,)
    boxes_xywh : float64 array (D, 4)
    scores : float64 array (D,)
    source : str

    Raises
    ------
    InputError
        One line that names the first offending entry: a number that is NaN or infinite, a width or height that is
        not greater than 0.

    Notes
    -----
    pycocotools lets NaN scores and boxes of no size pass: the one sorts anywhere, the other can match nothing and
    counts as a false alarm. Both are the detector's defects and are refused here.

    Source: COCO results format (cocodataset.org, section "Results Format"); pycocotools 2.0.11 `coco.py`
    `loadRes`.
    """

    def __init__(
        self,
        image_ids: ArrayLike,
        category_ids: ArrayLike,
        boxes_xywh: ArrayLike,
        scores: ArrayLike,
        *,
        source: str = "results",
    ) -> None:
        self.source = source
        self.image_ids = as_integers(f"{source}: image_ids", image_ids)
        count = len(self.image_ids)
        self.category_ids = as_integers(f"{source}: category_ids", category_ids, count)
        self.boxes_xywh = as_numbers(f"{source}: boxes_xywh", boxes_xywh, (count, 4))
        self.scores = as_numbers(f"{source}: scores", scores, (count,))
        check = Checker(source, "detections", count)
        check_boxes(check, "bbox", self.boxes_xywh)
        check.require(np.isfinite(self.scores), "score", "a finite number", self.scores)
        check.finish()


def read_results(path: str | PathLike[str]) -> Results:
    """Read a COCO results file: a JSON list of `{"image_id", "category_id", "bbox", "score"}`.

    Other fields are passed over. An empty list is a detector that found nothing.

    Parameters
    ----------
    path : path
        `bbox` is left, top, width, height in pixels.

    Returns
    -------
    Results
        In the file's order.

    Raises
    ------
    InputError
        One line that names the file and the first offending entry, counted from 0 as in `detections[0]`.

    Notes
    -----
    Source: COCO results format (cocodataset.org, section "Results Format").
    """
    what = "COCO results, a JSON list of detections"
    table = Records(str(path), "detections", read_json(Path(path), what))
    image_ids = table.integers("image_id")
    category_ids = table.integers("category_id")
    boxes = table.boxes("bbox")
    scores = table.numbers("score")
    good = table.limit  # an entry before the one that cannot be read may hold numbers that cannot be right
    results = Results(image_ids[:good], category_ids[:good], boxes[:good], scores[:good], source=str(path))
    table.finish()
    return results
