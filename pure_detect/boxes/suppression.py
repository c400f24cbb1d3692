"""From candidates to the boxes that are kept: by which rule, and with which scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.boxes import nms as hard
from pure_detect.boxes.scored import Candidates
from pure_detect.boxes.soft_nms import soft_nms

RULES = (*hard.RULES, "gaussian")


class Kept(NamedTuple):
    """Indices into the candidates, the best first, and the scores that they are kept with."""

    indices: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]


def suppress(candidates: Candidates, rule: str, *, iou: float, score: float, limit: int | None, **options: Any) -> Kept:
    """Suppress candidates by one of :data:`RULES`.

    Parameters
    ----------
    candidates : Candidates
    rule : str
        "gaussian" is :func:`pure_detect.boxes.soft_nms.soft_nms`, which knows no IoU threshold; the others are those
        of :func:`pure_detect.boxes.nms.nms`.
    iou, score : float
    limit : int or None
    **options
        `class_agnostic`, `beta`, `sigma`, as the rule takes them.

    Raises
    ------
    ValueError
        If there is no such rule, or an option lies outside of its range.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if rule == "gaussian":
        return Kept(*soft_nms(*candidates, score_threshold=score, limit=limit, **options))
    indices = hard.nms(*candidates, iou, rule=rule, limit=limit, **options)
    return Kept(indices, candidates.scores[indices])
