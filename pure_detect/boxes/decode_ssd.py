"""From the raw numbers of SSD's heads to boxes and scores.

Every anchor has a code of four numbers and a number a class. With an anchor (x_a, y_a, w_a, h_a) and a coder
(10, 10, 5, 5) the box is

    x = t_x / 10 * w_a + x_a        w = e^(t_w / 5) * w_a
    y = t_y / 10 * h_a + y_a        h = e^(t_h / 5) * h_a

centre and size in unit coordinates of the network input. Class 0 is the background: it takes part in a softmax, and is
then dropped.

Source: Liu et al. 2016, "SSD", section 2.2; TensorFlow Object Detection API `box_coders/faster_rcnn_box_coder.py`;
torchvision 0.28 `models/detection/_utils.py`, BoxCoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pure_detect.boxes.anchors import AnchorMap, anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.boxes.promising import Floats, promising
from pure_detect.boxes.scored import ScoredBoxes

ScoreFunction = Literal["sigmoid", "softmax"]
BoxOrder = Literal["xywh", "yxhw"]

TORCHVISION_LARGEST_EXPONENT = math.log(1000 / 16)


@dataclass(frozen=True)
class SsdHead:
    """How the outputs of an SSD are read.

    Attributes
    ----------
    box_tensors, class_tensors : tuple of str
        Graph nodes of each map: (4 * A, h, w) and ((1 + classes) * A, h, w), anchor slow, number fast.
    anchors : tuple of AnchorMap
        One a map.
    classes : int
        Without the background.
    coder : four floats
        What the codes of x, y, width and height are divided by.
    score_function : "sigmoid" or "softmax"
    box_order : "xywh" or "yxhw"
        The order of a code's four numbers.
    largest_exponent : float, optional
        Bounds t_w / 5 and t_h / 5, so that an absurd code makes no absurd box.
    """

    box_tensors: tuple[str, ...]
    class_tensors: tuple[str, ...]
    anchors: tuple[AnchorMap, ...]
    classes: int
    coder: tuple[float, float, float, float]
    score_function: ScoreFunction
    box_order: BoxOrder
    largest_exponent: float | None = None


def decode_ssd(outputs: Mapping[str, Floats], head: SsdHead, score_threshold: float | None = None) -> ScoredBoxes:
    """Return the boxes of one picture with their class scores, by map, row, column, anchor.

    Parameters
    ----------
    outputs : mapping of str to (channels, h, w) arrays
        By node name, for one picture.
    head : SsdHead
    score_threshold : float, optional
        Leave out boxes none of whose scores is above it, before they are decoded; by default all are returned.

    Returns
    -------
    ScoredBoxes
        Boxes (M, 4) in unit coordinates, scores (M, classes) without the background.

    Raises
    ------
    ValueError
        If a tensor has another number of channels.
    """
    boxes, scores = [], []
    for box_name, class_name, anchors in zip(head.box_tensors, head.class_tensors, head.anchors):
        count = len(anchors.sizes_wh)
        codes = anchors_apart(outputs[box_name], box_name, count, 4)
        logits = anchors_apart(outputs[class_name], class_name, count, head.classes + 1)
        evidence = logits[:, 1:].max(axis=1)
        if head.score_function == "softmax":  # a class beside the background alone has no smaller a share
            evidence = evidence - logits[:, 0]
        cells, ids = promising(evidence, score_threshold)
        placed = anchors_cxcywh(anchors, *outputs[box_name].shape[1:])[cells * count + ids].astype(codes.dtype)
        boxes.append(decode_codes(codes[ids, :, cells], placed, head.box_order, head.coder, head.largest_exponent))
        scores.append(scores_of(logits[ids, :, cells], head.score_function))
    return ScoredBoxes(np.concatenate(boxes), np.concatenate(scores)[:, 1:])


def anchors_apart(raw: Floats, name: str, anchors: int, numbers: int) -> Floats:
    """Return (anchors * numbers, h, w) as (anchors, numbers, h * w)."""
    if raw.shape[0] != anchors * numbers:
        raise ValueError(f"{name}: expected {anchors} anchors of {numbers} channels, got {raw.shape}")
    return raw.reshape(anchors, numbers, -1)


def decode_codes(
    codes: Floats,
    anchors: Floats,
    order: BoxOrder,
    coder: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    largest_exponent: float | None = None,
) -> Floats:
    """Return the boxes (M, 4) as corners, from codes (M, 4) and anchors (M, 4) as centre and size."""
    if order == "yxhw":
        codes = codes[:, [1, 0, 3, 2]]
    codes = codes / np.array(coder, codes.dtype)
    centres = codes[:, :2] * anchors[:, 2:] + anchors[:, :2]
    exponents = codes[:, 2:]
    if largest_exponent is not None:
        exponents = np.minimum(exponents, codes.dtype.type(largest_exponent))
    with np.errstate(over="ignore"):  # an infinite box is dropped by `select`
        sizes = np.exp(exponents) * anchors[:, 2:]
    return cxcywh_to_xyxy(np.concatenate([centres, sizes], axis=1))


def scores_of(logits: Floats, function: ScoreFunction) -> Floats:
    """Return the scores (M, columns) of logits: each by itself, or softmax over a box's columns."""
    if function == "sigmoid":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
