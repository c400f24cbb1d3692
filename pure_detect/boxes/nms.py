"""Non-maximum suppression: of boxes that show the same object, keep the best.

Going from the best score down, a box is kept unless a kept one of its class overlaps it too much. What
"overlap" means is the rule: plain intersection over union, or one of AlexeyAB's, which lower it by how far
the two centres lie apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect import jit

RULES = ("iou", "darknet-greedy", "diou")

# AlexeyAB's `greedynms` is his `diounms` with this exponent written into `box_diou`.
DARKNET_GREEDY_BETA = 0.6


def nms(
    boxes_xyxy: ArrayLike,
    scores: ArrayLike,
    class_ids: ArrayLike,
    iou_threshold: float = 0.45,
    *,
    class_agnostic: bool = False,
    rule: str = "iou",
    beta: float = 0.6,
    limit: int | None = None,
) -> NDArray[np.int64]:
    """Return the indices of the boxes to keep, the best score first.

    A box is suppressed when a kept one with a better score has overlap > `iou_threshold` with it, strictly:
    at threshold 1 nothing is suppressed, at 0 all that share any area. With d the distance of the centres and
    c the diagonal of the smallest box around both, the overlap is

        "iou"              IoU
        "darknet-greedy"   IoU - (d² / c²)^0.6
        "diou"             IoU - (d² / c²)^beta

    Of equal scores the lower index comes first: it suppresses the other, and stands before it in the result.
    NaN scores are never kept. IoU with a box of no area or with NaN in it is 0, so that such a box suppresses
    nothing and is not suppressed. (OpenCV's NMSBoxes instead lets any two boxes of no area suppress each
    other.)

    Parameters
    ----------
    boxes_xyxy : array (K, 4)
        Left, top, right, bottom, in any one unit.
    scores : array (K,)
    class_ids : integer array (K,)
    iou_threshold : float
        From 0 to 1.
    class_agnostic : bool
        Let boxes of different classes suppress each other.
    rule : {"iou", "darknet-greedy", "diou"}
        `nms_kind` of a cfg: `default`, `greedynms`, `diounms`.
    beta : float
        `beta_nms` of a cfg, greater than 0; only the rule "diou" uses it.
    limit : int, optional
        Return the best `limit` boxes over all classes; None means all.

    Returns
    -------
    kept : int64 array
        Indices into the arguments. All arithmetic is float64.

    Raises
    ------
    ValueError
        If shapes do not belong together, or an option lies outside of its range.

    Notes
    -----
    Source: AlexeyAB/darknet 59596d7 `src/box.c` `do_nms_sort`, `diounms_sort`; Zheng et al., Distance-IoU
    Loss (2020), section 3.3. Darknet sorts with qsort, which leaves the order of equal scores open.
    """
    _check_options(iou_threshold, rule, beta, limit)
    boxes, all_scores, classes = as_candidates(boxes_xyxy, scores, class_ids, class_agnostic)
    valid = np.flatnonzero(~np.isnan(all_scores))
    # Every class becomes one run, the best score first; lexsort is stable, so ties stay in their order.
    order = valid[np.lexsort((-all_scores[valid], classes[valid]))]
    power = {"iou": 0.0, "darknet-greedy": DARKNET_GREEDY_BETA, "diou": float(beta)}[rule]
    keep = np.ones(len(order), np.bool_)
    jit.run(_suppress, boxes[order], classes[order], float(iou_threshold), power, keep)
    return best_first(order[keep], all_scores, limit)


@jit.kernel
def _suppress(
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    threshold: float,
    power: float,
    keep: NDArray[np.bool_],
) -> None:
    """Set keep[j] to False for each box that an earlier kept one of its class suppresses.

    boxes (K, 4) and classes (K,) are sorted by class, then from the best score down; power 0 means plain IoU.
    """
    for i in range(len(boxes)):
        if not keep[i]:
            continue
        for j in range(i + 1, len(boxes)):
            if classes[j] != classes[i]:
                break
            if not keep[j]:
                continue
            overlap = iou_of(boxes, i, j)
            # The distance only lowers the overlap, so it need not be computed where IoU itself is low enough.
            if overlap > threshold and power > 0:
                overlap -= _distance(boxes, i, j) ** power
            if overlap > threshold:
                keep[j] = False


@jit.kernel
def iou_of(boxes: NDArray[np.float64], i: int, j: int) -> float:
    """Return the IoU of boxes i and j; 0 where they share no area or a coordinate is NaN."""
    width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
    if not width > 0:
        return 0.0
    height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
    if not height > 0:
        return 0.0
    shared = width * height
    area_i = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
    area_j = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
    union = area_i + area_j - shared
    # NaN fails the comparison: min and max may have picked the number beside it, the areas have not.
    return shared / union if union > 0 else 0.0


@jit.kernel
def _distance(boxes: NDArray[np.float64], i: int, j: int) -> float:
    """Return d² / c²: the centres' squared distance over the squared diagonal of the box around both."""
    across = (boxes[i, 0] + boxes[i, 2] - boxes[j, 0] - boxes[j, 2]) / 2
    down = (boxes[i, 1] + boxes[i, 3] - boxes[j, 1] - boxes[j, 3]) / 2
    width = max(boxes[i, 2], boxes[j, 2]) - min(boxes[i, 0], boxes[j, 0])
    height = max(boxes[i, 3], boxes[j, 3]) - min(boxes[i, 1], boxes[j, 1])
    return (across**2 + down**2) / (width**2 + height**2)


def _check_options(iou_threshold: float, rule: str, beta: float, limit: int | None) -> None:
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie from 0 to 1, got {iou_threshold}")
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if not 0 < beta < np.inf:
        raise ValueError(f"beta must be a number greater than 0, got {beta}")
    check_limit(limit)


def check_limit(limit: int | None) -> None:
    """Refuse a number of boxes that there cannot be."""
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be None or at least 0, got {limit}")


def best_first(indices: NDArray[np.int64], scores: NDArray[np.float64], limit: int | None) -> NDArray[np.int64]:
    """Return the `limit` indices with the best scores; of equal scores the lower index first."""
    indices = np.sort(indices)
    return indices[np.argsort(-scores[indices], kind="stable")][:limit]


def as_candidates(
    boxes_xyxy: ArrayLike, scores: ArrayLike, class_ids: ArrayLike, class_agnostic: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the three arrays as the kernels take them, or say which does not fit; agnostic, all are of class 0."""
    boxes, all_scores, classes = np.asarray(boxes_xyxy), np.asarray(scores), np.asarray(class_ids)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes_xyxy must have shape (K, 4), got {boxes.shape}")
    for name, array in (("scores", all_scores), ("class_ids", classes)):
        if array.shape != (len(boxes),):
            raise ValueError(f"{name} must have shape ({len(boxes)},), one a box, got {array.shape}")
    if len(classes) and not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"class_ids must be integers, got {classes.dtype}")
    classes = np.zeros(len(boxes), np.int64) if class_agnostic else classes.astype(np.int64)
    return boxes.astype(np.float64), all_scores.astype(np.float64), classes
