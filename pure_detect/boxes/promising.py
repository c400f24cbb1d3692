"""Which boxes of a head are worth decoding at all: for a threshold that people use, a few in ten thousand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

ROUNDING = 1e-6  # more than a score in float32 is off


def promising(evidence: Floats, score_threshold: float | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return cell and anchor of every box that may have a score above a threshold, by cell, then by anchor.

    Parameters
    ----------
    evidence : (anchors, cells) array
        Of each box a logit: none of its scores is above 1 / (1 + e^-logit). NaN where that is unknown.
    score_threshold : float, optional
        By default every box is returned.

    Returns
    -------
    cells, anchors : int64 arrays (K,)
    """
    wanted = np.ones(evidence.shape, bool)
    if score_threshold is not None and score_threshold > ROUNDING:
        least = min(score_threshold, 1.0) - ROUNDING
        wanted = ~(evidence <= math.log(least / (1 - least)))  # this way round NaN stays
    cells, anchors = np.nonzero(wanted.T)
    return cells, anchors
