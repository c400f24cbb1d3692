"""What every decoder returns, and the choice of what goes on to non-maximum suppression."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ScoredBoxes(NamedTuple):
    """All boxes of a network's head, each with a score for every class.

    Attributes
    ----------
    boxes_xyxy : array (M, 4)
        Left, top, right, bottom in unit coordinates of the network input: 0 to 1 is the whole input.
    scores : array (M, C)
        How sure the network is of class c in box m. For YOLO objectness times class probability.
    """

    boxes_xyxy: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]


class Candidates(NamedTuple):
    """Pairs of a box and one class whose score passed; a box may stand here once for each class.

    Attributes
    ----------
    boxes_xyxy : array (K, 4)
        As in :class:`ScoredBoxes`.
    scores : array (K,)
    class_ids : int64 array (K,)
        From 0.
    """

    boxes_xyxy: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    class_ids: NDArray[np.int64]


def select(
    scored: ScoredBoxes, score_threshold: float, per_class: int | None = None, total: int | None = None
) -> Candidates:
    """Return every pair of box and class with score > `score_threshold`, by box, then by class.

    The comparison is strict, as in Darknet and OpenCV. Boxes with a coordinate that is NaN or infinite are
    dropped, and so are NaN scores.

    Parameters
    ----------
    scored : ScoredBoxes
        M boxes, C classes.
    score_threshold : float
    per_class : int, optional
        Of each class only so many, the best; of equal scores the lower box number.
    total : int, optional
        Of all pairs only so many, the best; of equal scores the lower box number, then the lower class.

    Returns
    -------
    Candidates
        K pairs, dtypes of boxes and scores as given.

    Raises
    ------
    ValueError
        If the shapes do not belong together or `score_threshold` is NaN.
    """
    boxes, scores = np.asarray(scored.boxes_xyxy), np.asarray(scored.scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.ndim != 2 or len(scores) != len(boxes):
        raise ValueError(f"expected boxes (M, 4) and scores (M, C), got {boxes.shape} and {scores.shape}")
    if np.isnan(score_threshold):
        raise ValueError("score_threshold must be a number, got NaN")
    with np.errstate(invalid="ignore"):
        box_ids, class_ids = np.nonzero(scores > score_threshold)
    finite = np.isfinite(boxes[box_ids]).all(axis=1)
    box_ids, class_ids = box_ids[finite], class_ids[finite]
    if per_class is not None:
        kept = _best_of_each_class(scores[box_ids, class_ids], class_ids, per_class)
        box_ids, class_ids = box_ids[kept], class_ids[kept]
    if total is not None:
        kept = np.sort(np.argsort(-scores[box_ids, class_ids], kind="stable")[:total])
        box_ids, class_ids = box_ids[kept], class_ids[kept]
    return Candidates(boxes[box_ids], scores[box_ids, class_ids], class_ids.astype(np.int64))


def _best_of_each_class(
    scores: NDArray[np.floating[Any]], class_ids: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Return the indices of the `count` best scores of each class, in their old order."""
    order = np.lexsort((-scores, class_ids))  # stable: equal scores keep their order
    starts = np.searchsorted(class_ids[order], class_ids[order])
    return np.sort(order[np.arange(len(order)) - starts < count])
