"""COCO's protocol: average precision and recall over ten IoU thresholds, four area ranges and three limits.

For every class: match the detections of each image with its objects (`coco_matching`), go through the class's
detections of all images from the best score down, and read precision at 101 points of recall
(:func:`_precision_recall`). All figures are means over the arrays that come out of that.

Everything is float64 in the order of operations of pycocotools, so the arrays are equal to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.evaluate.checks import Checker
from pure_detect.evaluate.coco_figures import AREA_RANGES, MAX_DETECTIONS, CocoEvaluation
from pure_detect.evaluate.coco_matching import (
    FALSE_ALARM,
    HIT,
    Detections,
    Objects,
    Protocol,
    is_ignored,
    match_category,
)
from pure_detect.evaluate.ground_truth import GroundTruth, check_known
from pure_detect.evaluate.results import Results

# linspace, not arange: its steps are the nearest floats, and an IoU that equals a threshold is a match.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
AREA_BOUNDS = np.array(list(AREA_RANGES.values()))
LIMITS = np.array(MAX_DETECTIONS)

EPSILON = np.spacing(1.0)  # as in pycocotools, where it keeps 0 / 0 away; one hit has precision 0.9999999999999998


def evaluate(results: Results, ground_truth: GroundTruth) -> CocoEvaluation:
    """Score detections by COCO's protocol.

    A detection hits the object of its class and image with the greatest IoU, at least t, that no better-scored
    detection has taken; of equal ones the last, and one that counts before one that does not. Crowds, and objects
    outside the area range, do not count: what hits them is left out, as is what hits nothing and is itself outside
    the range. IoU with a crowd is the share of the detection that lies in it, and a crowd can be hit many times.

        precision(r) = max { tp_i / (tp_i + fp_i) : tp_i / objects >= r }      after the i-th best detection

    Parameters
    ----------
    results : Results
    ground_truth : GroundTruth

    Returns
    -------
    CocoEvaluation
        The twelve figures, each class's AP, the arrays behind them. Without any detection precision and recall are
        0; without any object they are -1, and left out of means.

    Raises
    ------
    InputError
        If a detection's image or category is not in the tables of `ground_truth`.

    Notes
    -----
    Source: pycocotools 2.0.11 `cocoeval.py` (`evaluateImg`, `accumulate`, `summarize`, iouType "bbox") and
    `maskApi.c` `bbIou`.
    """
    check = Checker(results.source, "detections", len(results.scores))
    check_known(check, results.image_ids, results.category_ids, ground_truth)
    check.finish()
    protocol = Protocol(IOU_THRESHOLDS, RECALL_POINTS, AREA_BOUNDS, LIMITS)
    T, R, A, M = len(IOU_THRESHOLDS), len(RECALL_POINTS), len(AREA_BOUNDS), len(LIMITS)
    K = len(ground_truth.categories)
    precision, scores = np.full((T, R, K, A, M), -1.0), np.full((T, R, K, A, M), -1.0)
    recall = np.full((T, K, A, M), -1.0)
    detections, objects = _arrange(results, ground_truth)
    jit.parallel_for(_evaluate_categories, K, detections, objects, protocol, precision, scores, recall)
    return CocoEvaluation(ground_truth.categories, IOU_THRESHOLDS, RECALL_POINTS, precision, recall, scores)


def _arrange(results: Results, truth: GroundTruth) -> tuple[Detections, Objects]:
    """Sort both sides; every sort is stable, so that ties stay in the given order."""
    image_table = np.array([image.id for image in truth.images], np.int64)
    category_table = np.array([category.id for category in truth.categories], np.int64)
    classes = np.arange(len(category_table) + 1)

    image, category = np.searchsorted(image_table, truth.image_ids), np.searchsorted(category_table, truth.category_ids)
    order = np.lexsort((image, category))
    starts = np.searchsorted(category[order], classes)
    objects = Objects(starts, image[order], truth.boxes_xywh[order], truth.areas[order], truth.iscrowd[order])

    image = np.searchsorted(image_table, results.image_ids)
    category = np.searchsorted(category_table, results.category_ids)
    by_score = np.lexsort((image, -results.scores, category))
    places = np.lexsort((image[by_score], category[by_score]))
    order = by_score[places]
    starts = np.searchsorted(category[by_score], classes)
    boxes, sorted_scores = results.boxes_xywh[order], results.scores[by_score]
    return Detections(starts, image[order], boxes, places, sorted_scores), objects


@jit.kernel
def _evaluate_categories(
    start: int,
    stop: int,
    detections: Detections,
    objects: Objects,
    protocol: Protocol,
    precision: NDArray[np.float64],
    scores: NDArray[np.float64],
    recall: NDArray[np.float64],
) -> None:
    """Fill precision, scores (T, R, K, A, M) and recall (T, K, A, M) for the classes from start to stop."""
    for k in range(start, stop):
        first, last = detections.starts[k], detections.starts[k + 1]
        outcomes = np.zeros((len(protocol.areas), len(protocol.thresholds), last - first), np.uint8)
        ranks = np.zeros(last - first, np.int64)
        match_category(k, detections, objects, protocol, outcomes, ranks)
        class_scores = detections.sorted_scores[first:last]
        for a in range(len(protocol.areas)):
            count = _count_objects(k, objects, protocol.areas[a])
            if count == 0:
                continue
            for m in range(len(protocol.limits)):
                counted = np.flatnonzero(ranks < protocol.limits[m])
                for t in range(len(protocol.thresholds)):
                    recall[t, k, a, m] = _precision_recall(
                        outcomes[a, t], counted, class_scores, count, protocol.recall_points,
                        precision[t, :, k, a, m], scores[t, :, k, a, m],
                    )  # fmt: skip


@jit.kernel
def _count_objects(k: int, objects: Objects, bounds: NDArray[np.float64]) -> int:
    """Return how many objects of class k count in an area range."""
    count = 0
    for g in range(objects.starts[k], objects.starts[k + 1]):
        count += not is_ignored(objects, g, bounds)
    return count


@jit.kernel
def _precision_recall(
    outcomes: NDArray[np.uint8],
    counted: NDArray[np.int64],
    class_scores: NDArray[np.float64],
    count: int,
    recall_points: NDArray[np.float64],
    precision: NDArray[np.float64],
    scores: NDArray[np.float64],
) -> float:
    """Fill precision (R,) and the scores (R,) where it is reached; return the recall in the end.

    outcomes (D,) and class_scores (D,) go from the best score down; `counted` lists those within the limit. Between
    two hits recall stands still and precision falls, so the greatest precision is found by looking at hits only.
    """
    hits = np.empty(len(counted), np.int64)
    at_hit = np.empty(len(counted))
    tp = fp = 0
    for d in counted:
        if outcomes[d] == HIT:
            tp += 1
            hits[tp - 1] = d
            at_hit[tp - 1] = tp / (fp + tp + EPSILON)
        elif outcomes[d] == FALSE_ALARM:
            fp += 1
    for h in range(tp - 1, 0, -1):
        at_hit[h - 1] = max(at_hit[h - 1], at_hit[h])
    precision[:] = 0.0
    scores[:] = 0.0
    h = 0
    for r in range(len(recall_points)):
        while h < tp and (h + 1) / count < recall_points[r]:
            h += 1
        if h < tp:
            precision[r], scores[r] = at_hit[h], class_scores[hits[h]]
    if len(counted):
        scores[0] = class_scores[counted[0]]  # recall 0 is reached by the first detection, hit or not
    return tp / count
