"""From a network's outputs to boxes and scores, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.boxes.decode_efficientdet import EfficientDetHead, decode_efficientdet
from pure_detect.boxes.decode_ssd import SsdHead, decode_ssd
from pure_detect.boxes.decode_yolo import GaussianYoloHead, RegionHead, YoloHead, decode_yolo
from pure_detect.boxes.scored import ScoredBoxes

Head = YoloHead | GaussianYoloHead | RegionHead | SsdHead | EfficientDetHead


def decode(
    outputs: Mapping[str, NDArray[np.floating[Any]]],
    head: Head,
    network_height: int,
    network_width: int,
    score_threshold: float | None = None,
) -> ScoredBoxes:
    """Return the boxes of one head of one picture, with their class scores.

    Parameters
    ----------
    outputs : mapping of str to (channels, h, w) arrays
        The network's raw outputs by node name.
    head : Head
        A dataclass of the `decode_*.py`; it names the outputs that it reads.
    network_height, network_width : int
        Of the network's input, in pixels.
    score_threshold : float, optional
        Boxes without a score above it may be left out, before they are decoded; by default none is.
    """
    if isinstance(head, SsdHead):
        return decode_ssd(outputs, head, score_threshold)
    if isinstance(head, EfficientDetHead):
        return decode_efficientdet(outputs, head, score_threshold)
    return decode_yolo(outputs[head.tensor], head, network_height, network_width, score_threshold)
