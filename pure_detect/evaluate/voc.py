"""PASCAL VOC's protocol: average precision at one IoU threshold, by eleven points or by the whole area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect import jit
from pure_detect.evaluate.checks import Checker
from pure_detect.evaluate.ground_truth import Category, GroundTruth, check_known
from pure_detect.evaluate.results import Results

Method = Literal["area", "11-point"]
FALSE_ALARM, HIT, LEFT_OUT = 0, 1, 2


class Curve(NamedTuple):
    """Recall and precision of one class after each of its D detections, from the best score down."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VocEvaluation:
    """What VOC's protocol yields.

    Attributes
    ----------
    categories : tuple of Category
        The K classes, by id.
    average_precisions : float64 array (K,)
        0 for a class of which nothing is found, -1 for one without objects that count.
    curves : list of Curve
        One a class; recall is NaN for a class without objects that count.
    """

    categories: tuple[Category, ...]
    average_precisions: NDArray[np.float64]
    curves: list[Curve]

    def mean(self) -> float:
        """Return the mean average precision of the classes with objects; -1 if there is none."""
        present = self.average_precisions[self.average_precisions > -1]
        return float(present.mean()) if len(present) else -1.0


def evaluate_voc(
    results: Results,
    ground_truth: GroundTruth,
    *,
    iou_threshold: float = 0.5,
    method: Method = "area",
    pixel_boxes: bool = False,
) -> VocEvaluation:
    """Score detections by PASCAL VOC's protocol.

    Each detection, from the best score down, looks only at the object of its class and image with the greatest IoU,
    of equal ones the first. It is a hit if IoU > `iou_threshold`, strictly, and no better detection has hit that
    object; a second hit is a false alarm; with a difficult object it is left out. Of equal scores the lower image id
    comes first, then the earlier row.

        11-point: AP = 1/11 · Σ_{r in 0, 0.1 ... 1} max { precision_i : recall_i >= r }
        area:     AP = Σ_i (recall_i - recall_{i-1}) · max { precision_j : j >= i }

    Parameters
    ----------
    results : Results
    ground_truth : GroundTruth
        `difficult` objects do not count; where it was not given, crowds are the difficult ones.
    iou_threshold : float
        From 0 to 1.
    method : {"area", "11-point"}
        VOC used eleven points to 2009 and the area from 2010 on.
    pixel_boxes : bool
        Count pixels as VOC's tools do: they take a result's right and bottom edge for the number of a pixel that
        belongs to the box, so that the box is one pixel wider and higher. Ground truth that `read_voc` reads counts
        both border pixels already; for arrays of 1-based pixel numbers there is :func:`xywh_from_pixels`.

    Returns
    -------
    VocEvaluation

    Raises
    ------
    InputError
        If a detection's image or category is not in the tables of `ground_truth`.
    ValueError
        If an option lies outside of its range.

    Notes
    -----
    Source: Everingham et al., The PASCAL VOC Challenge (2010), section 4.2; py-faster-rcnn
    `lib/datasets/voc_eval.py`, which leaves the order of equal scores open.
    """
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie from 0 to 1, got {iou_threshold}")
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    check = Checker(results.source, "detections", len(results.scores))
    check_known(check, results.image_ids, results.category_ids, ground_truth)
    check.finish()
    order = np.lexsort((results.image_ids, -results.scores, results.category_ids))
    outcomes = _judge(results, ground_truth, order, iou_threshold, pixel_boxes)
    categories, scores = results.category_ids[order], results.scores[order]
    curves: list[Curve] = []
    averages: list[float] = []
    for category in ground_truth.categories:
        of_class = slice(*np.searchsorted(categories, (category.id, category.id + 1)))
        objects = np.count_nonzero((ground_truth.category_ids == category.id) & ~ground_truth.difficult)
        curves.append(_curve(outcomes[of_class], scores[of_class], int(objects)))
        averages.append(average_precision(curves[-1].recall, curves[-1].precision, method) if objects else -1.0)
    return VocEvaluation(ground_truth.categories, np.array(averages, np.float64), curves)


def xywh_from_pixels(boxes_pixels: ArrayLike) -> NDArray[np.float64]:
    """Return x, y, width, height of boxes given by their first and last pixels, which VOC numbers from 1.

    x = xmin - 1, width = xmax - xmin + 1, and so down: the box of the pixel (1, 1, 1, 1) is (0, 0, 1, 1).

    Parameters
    ----------
    boxes_pixels : array (N, 4)
        xmin, ymin, xmax, ymax.

    Returns
    -------
    float64 array (N, 4)
    """
    boxes = np.asarray(boxes_pixels, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2] - 1, boxes[:, 2:] - boxes[:, :2] + 1], axis=1)


def average_precision(recall: ArrayLike, precision: ArrayLike, method: Method = "area") -> float:
    """Return the average precision of one curve, recall ascending; 0 for an empty one.

    Parameters
    ----------
    recall, precision : array (D,)
    method : {"area", "11-point"}

    Returns
    -------
    float

    Notes
    -----
    Source: py-faster-rcnn `lib/datasets/voc_eval.py` `voc_ap`.
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if method == "11-point":
        # arange as in the source: its 0.3 is 0.30000000000000004, and a recall of 3/10 does not reach it
        return sum(float(precision[recall >= point].max(initial=0.0)) / 11 for point in np.arange(0.0, 1.1, 0.1))
    steps = np.concatenate([[0.0], recall, [1.0]])
    best_beyond = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(steps) * best_beyond))


def _curve(outcomes: NDArray[np.uint8], scores: NDArray[np.float64], objects: int) -> Curve:
    hits, false_alarms = np.cumsum(outcomes == HIT), np.cumsum(outcomes == FALSE_ALARM)
    recall = hits / objects if objects else np.full(len(hits), np.nan)
    return Curve(recall, hits / np.maximum(hits + false_alarms, np.finfo(np.float64).eps), scores)


def _judge(
    results: Results, truth: GroundTruth, order: NDArray[np.int64], iou_threshold: float, pixel_boxes: bool
) -> NDArray[np.uint8]:
    """Return what became of each detection (D,), in the given order."""
    images = np.array([image.id for image in truth.images], np.int64)
    classes = np.array([category.id for category in truth.categories], np.int64)

    def group(of: Results | GroundTruth) -> NDArray[np.int64]:
        return np.searchsorted(classes, of.category_ids) * len(images) + np.searchsorted(images, of.image_ids)

    by_group = np.argsort(group(truth), kind="stable")
    wanted, present = group(results)[order], group(truth)[by_group]
    first, end = np.searchsorted(present, wanted, "left"), np.searchsorted(present, wanted, "right")
    boxes = results.boxes_xywh[order] + (np.array([0.0, 0, 1, 1]) if pixel_boxes else 0.0)
    outcomes = np.empty(len(order), np.uint8)
    objects, difficult = truth.boxes_xywh[by_group], truth.difficult[by_group]
    jit.run(_match, boxes, first, end, objects, difficult, float(iou_threshold), outcomes)
    return outcomes


@jit.kernel
def _match(
    boxes: NDArray[np.float64],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    objects: NDArray[np.float64],
    difficult: NDArray[np.bool_],
    threshold: float,
    outcomes: NDArray[np.uint8],
) -> None:
    """Fill outcomes (D,): detection d, in order of score, is compared with the objects from first[d] to end[d]."""
    taken = np.zeros(len(objects), np.bool_)
    for d in range(len(boxes)):
        best_iou, best = -1.0, -1
        for g in range(first[d], end[d]):
            iou = _iou(boxes[d], objects[g])
            if iou > best_iou:
                best_iou, best = iou, g
        outcomes[d] = FALSE_ALARM
        if best_iou > threshold:
            if difficult[best]:
                outcomes[d] = LEFT_OUT
            elif not taken[best]:
                taken[best] = True
                outcomes[d] = HIT


@jit.kernel
def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the IoU of two boxes (x, y, width, height)."""
    width = max(min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]), 0.0)
    shared = width * height
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
