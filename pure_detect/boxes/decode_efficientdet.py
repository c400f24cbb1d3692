"""From the raw numbers of EfficientDet's heads to boxes and scores.

Every anchor has four numbers (t_y, t_x, t_h, t_w) and a logit a class; there is no background. With an anchor
(x_a, y_a, w_a, h_a) the box is

    x = t_x * w_a + x_a        w = e^t_w * w_a        score = 1 / (1 + e^-logit)
    y = t_y * h_a + y_a        h = e^t_h * h_a

centre and size in unit coordinates of the network input: SSD's rule with a coder of ones.

Source: Tan et al. 2020, "EfficientDet"; google/automl 6a54c87 `efficientdet/tf2/anchors.py`, decode_box_outputs; effdet
0.4.1 `anchors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pure_detect.boxes.anchors import AnchorMap, anchors_cxcywh
from pure_detect.boxes.decode_ssd import Floats, anchors_apart, decode_codes, scores_of
from pure_detect.boxes.promising import promising
from pure_detect.boxes.scored import ScoredBoxes


@dataclass(frozen=True)
class EfficientDetHead:
    """How the outputs of an EfficientDet are read.

    Attributes
    ----------
    class_tensors, box_tensors : tuple of str
        Graph nodes of each level: (classes * A, h, w) and (4 * A, h, w), anchor slow, number fast.
    anchors : AnchorMap
        Of every level alike, their sizes in cells of its map.
    classes : int
    """

    class_tensors: tuple[str, ...]
    box_tensors: tuple[str, ...]
    anchors: AnchorMap
    classes: int


def decode_efficientdet(
    outputs: Mapping[str, Floats], head: EfficientDetHead, score_threshold: float | None = None
) -> ScoredBoxes:
    """Return the boxes of one picture with their class scores, by level, row, column, anchor.

    Parameters
    ----------
    outputs : mapping of str to (channels, h, w) arrays
        By node name, for one picture.
    head : EfficientDetHead
    score_threshold : float, optional
        Leave out boxes none of whose scores is above it, long before they cost anything: of the 49,104 of
        EfficientDet-D0 with 90 classes hardly any is. By default all are returned.

    Returns
    -------
    ScoredBoxes
        Boxes (M, 4) in unit coordinates, scores (M, classes).

    Raises
    ------
    ValueError
        If a tensor has another number of channels.
    """
    boxes, scores = [], []
    count = len(head.anchors.sizes_wh)
    for box_name, class_name in zip(head.box_tensors, head.class_tensors):
        codes = anchors_apart(outputs[box_name], box_name, count, 4)
        logits = anchors_apart(outputs[class_name], class_name, count, head.classes)
        cells, anchors = promising(logits.max(axis=1), score_threshold)
        height, width = outputs[box_name].shape[1:]
        placed = anchors_cxcywh(head.anchors.in_units(height, width), height, width)[cells * count + anchors]
        boxes.append(decode_codes(codes[anchors, :, cells], placed.astype(codes.dtype), "yxhw"))
        scores.append(scores_of(logits[anchors, :, cells], "sigmoid"))
    return ScoredBoxes(np.concatenate(boxes), np.concatenate(scores))
