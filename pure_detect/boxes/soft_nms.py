"""Soft non-maximum suppression: boxes that overlap a better one are not dropped, their scores shrink.

Source: Bodla et al. 2017, "Soft-NMS: Improving Object Detection With One Line of Code", section 3, the Gaussian form:

    score_i <- score_i * e^(-IoU(best, box_i)^2 / sigma)

for all boxes of the class that remain, each time the best of them is taken out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect import jit
from pure_detect.boxes.nms import as_candidates, best_first, check_limit, iou_of


def soft_nms(
    boxes_xyxy: ArrayLike,
    scores: ArrayLike,
    class_ids: ArrayLike,
    *,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
    class_agnostic: bool = False,
    limit: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the indices of the boxes that remain, the best decayed score first, and those scores.

    Of equal scores the lower index comes first. NaN scores are dropped; IoU with a box of no area is 0.

    Parameters
    ----------
    boxes_xyxy : array (K, 4)
        Left, top, right, bottom, in any one unit.
    scores : array (K,)
    class_ids : integer array (K,)
    sigma : float
        Greater than 0; the larger, the milder. TensorFlow's `soft_nms_sigma` is half of it.
    score_threshold : float
        A box whose score is not over it, strictly, is dropped: before its turn comes, or by decay.
    class_agnostic : bool
        Let boxes of different classes act on each other.
    limit : int, optional
        Return the best `limit` boxes over all classes; None means all.

    Returns
    -------
    kept : int64 array
    scores : float64 array
        All arithmetic is float64; the frameworks' is float32.

    Raises
    ------
    ValueError
        If shapes do not belong together, or an option lies outside of its range.

    Notes
    -----
    Source: TensorFlow 2.21 `core/kernels/image/non_max_suppression_op.cc`, DoNonMaxSuppressionOp with soft_nms_sigma,
    which re-queues a box whose score has shrunk and so takes them out in the same order; effdet 0.4.1 `soft_nms.py`.
    """
    if not 0 < sigma < np.inf:
        raise ValueError(f"sigma must be a number greater than 0, got {sigma}")
    if np.isnan(score_threshold):
        raise ValueError("score_threshold must be a number, got NaN")
    check_limit(limit)
    boxes, all_scores, classes = as_candidates(boxes_xyxy, scores, class_ids, class_agnostic)
    order = np.argsort(classes, kind="stable")
    ends = np.flatnonzero(np.diff(classes[order], append=np.iinfo(np.int64).max)) + 1
    decayed = all_scores[order]
    taken = np.zeros(len(order), np.bool_)
    most = len(order) if limit is None else limit
    jit.run(_decay, boxes[order], ends, float(sigma), float(score_threshold), most, decayed, taken)
    result = np.empty_like(decayed)
    result[order] = decayed
    kept = best_first(order[taken], result, limit)
    return kept, result[kept]


@jit.kernel
def _decay(
    boxes: NDArray[np.float64],
    ends: NDArray[np.int64],
    sigma: float,
    threshold: float,
    most: int,
    scores: NDArray[np.float64],
    taken: NDArray[np.bool_],
) -> None:
    """Take out `most` boxes of each class at most, whose run ends before ends[c]; shrink `scores` (K,) on the way."""
    start = 0
    for end in ends:
        for _ in range(most):
            best = -1
            for i in range(start, end):
                if not taken[i] and scores[i] > threshold and (best < 0 or scores[i] > scores[best]):
                    best = i
            if best < 0:
                break
            taken[best] = True
            for i in range(start, end):
                if not taken[i] and scores[i] > threshold:
                    overlap = iou_of(boxes, best, i)
                    scores[i] *= np.exp(-(overlap**2) / sigma)
        start = end
