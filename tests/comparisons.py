"""The comparisons that parity tests rest on; `test_tolerances_bite.py` shows that each of them can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.tolerances import DETECTION_BOX_PIXELS, DETECTION_SCORE, NETWORK_OUTPUT

Array = NDArray[Any]


def assert_outputs_agree(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
    """Compare raw outputs by name: the worst element within NETWORK_OUTPUT of each output's scale."""
    assert set(theirs) <= set(ours)
    for name, other in theirs.items():
        assert ours[name].shape == other.shape, name
        difference = np.abs(ours[name].astype(np.float64) - other).max()
        assert difference <= NETWORK_OUTPUT * np.abs(other).max(), f"{name}: {difference}"


def assert_detections_agree(ours: Sequence[Mapping[str, Any]], theirs: Sequence[tuple[int, float, Array]]) -> None:
    """Match each of theirs (class, score, box in pixels) with one of ours as `to_json` gives them; none may be left.

    Both are given best score first, and their scores must agree in that order too.
    """
    rest = list(ours)
    for class_id, score, box in theirs:
        same_class = [d for d in rest if d["class_id"] == class_id]
        assert same_class, f"class {class_id} with score {score:.3f} is missing"
        match = min(same_class, key=lambda d: float(np.abs(np.array(d["box_xyxy"]) - box).max()))
        assert np.abs(np.array(match["box_xyxy"]) - box).max() <= DETECTION_BOX_PIXELS
        assert abs(match["score"] - score) <= DETECTION_SCORE
        rest.remove(match)
    assert not rest, f"only ours: {rest}"
    scores = [d["score"] for d in ours]
    assert np.abs(np.array(scores) - [score for _, score, _ in theirs]).max(initial=0) <= DETECTION_SCORE
