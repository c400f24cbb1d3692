"""From the raw numbers of a YOLO head to boxes and scores.

A head is a map of `h` by `w` cells. Each cell predicts one box for each of its B anchors (the typical box
sizes that were found by clustering), so a head of C classes has B (5 + C) planes: for each anchor t_x, t_y,
t_w, t_h, the objectness t_o, and one number for each class. With σ(t) = 1 / (1 + e^-t), the cell in column
c_x and row c_y, an anchor p_w wide and p_h high, and a network input W wide and H high, YOLOv3 reads them as

    b_x = (σ(t_x) + c_x) / w        b_w = p_w e^{t_w} / W
    b_y = (σ(t_y) + c_y) / h        b_h = p_h e^{t_h} / H
    score of class k = σ(t_o) σ(t_k)

that is centre, size and score of the box in unit coordinates of the network input. An input of 416 by 416 has
heads of 13, 26 and 52 cells a side with 3 anchors each: (13² + 26² + 52²) · 3 = 10,647 boxes. The other heads
differ in details, which stand at their classes.

Source: Redmon and Farhadi, YOLOv3 (2018), section 2.1, and YOLO9000 (2017), section 2; Darknet
`src/yolo_layer.c`, `src/region_layer.c` (pjreddie f6afaab, AlexeyAB 59596d7), `src/gaussian_yolo_layer.c`
(AlexeyAB 59596d7); order of the boxes as OpenCV 4 `modules/dnn/src/layers/region_layer.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.boxes.promising import Floats, promising
from pure_detect.boxes.scored import ScoredBoxes

Anchors = tuple[tuple[float, float], ...]

# How far the centre of a box lies from (b_x, b_y), in sizes of the box, for each `yolo_point`.
POINT_TO_CENTRE = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}


@dataclass(frozen=True)
class YoloHead:
    """A `[yolo]` section, as in YOLOv3 and YOLOv4: the formulas above.

    With `scale_x_y` s (YOLOv4) s σ(t) - (s - 1) / 2 stands for σ(t) in b_x and b_y, so that a centre can
    reach the border of its cell. With `new_coords` (Scaled-YOLOv4) the planes come out of a logistic
    convolution: no σ is taken here, and b_w = 4 t_w² p_w / W, b_h = 4 t_h² p_h / H.

    Attributes
    ----------
    tensor : str
        The node of the graph that holds the raw head, (B (5 + C), h, w).
    anchors : tuple of B pairs
        This head's own anchors (those its mask selects), (width, height) in pixels of the network input.
    classes : int
        C.
    scale_x_y : float
    new_coords : bool
    """

    tensor: str
    anchors: Anchors
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False

    def __post_init__(self) -> None:
        """Refuse what no head can be."""
        _check_anchors_and_classes(self)


@dataclass(frozen=True)
class GaussianYoloHead:
    """A `[Gaussian_yolo]` section: each of the four coordinates comes with how unsure the network is of it.

    There are 9 + C planes an anchor: μ_x, s_x, μ_y, s_y, μ_w, s_w, μ_h, s_h, then objectness and classes. The
    μ are read as t_x, t_y, t_w, t_h above, and the score of class k is σ(t_o) σ(t_k) (1 - mean of σ(s_x),
    σ(s_y), σ(s_w), σ(s_h)).

    Attributes
    ----------
    tensor, anchors, classes, scale_x_y
        As in :class:`YoloHead`; the raw head is (B (9 + C), h, w).
    point : {"center", "left_top", "right_bottom"}
        The point of the box that (b_x, b_y) is: `yolo_point` of the cfg.
    """

    tensor: str
    anchors: Anchors
    classes: int
    scale_x_y: float = 1.0
    point: str = "center"

    def __post_init__(self) -> None:
        """Refuse what no head can be."""
        _check_anchors_and_classes(self)
        if self.point not in POINT_TO_CENTRE:
            raise ValueError(f"point must be one of {', '.join(POINT_TO_CENTRE)}, got {self.point!r}")


@dataclass(frozen=True)
class RegionHead:
    """A `[region]` section, as in YOLOv2: anchors in cells and, as a rule, a softmax over the classes.

    b_x and b_y are as above, b_w = p_w e^{t_w} / w, b_h = p_h e^{t_h} / h, and the score of class k is
    σ(t_o) e^{t_k} / Σ_l e^{t_l}.

    Attributes
    ----------
    tensor, classes
        As in :class:`YoloHead`.
    anchors : tuple of B pairs
        (width, height) in cells of the head's grid, not in pixels.
    softmax : bool
        If False (`softmax=0`), the score of class k is σ(t_o) σ(t_k), as pjreddie/darknet has it.
        AlexeyAB/darknet leaves t_k as it is then, which is no probability; OpenCV refuses such a head.
    """

    tensor: str
    anchors: Anchors
    classes: int
    softmax: bool = True

    def __post_init__(self) -> None:
        """Refuse what no head can be."""
        _check_anchors_and_classes(self)


Head = YoloHead | GaussianYoloHead | RegionHead


def decode_yolo(
    raw: Floats, head: Head, network_height: int, network_width: int, score_threshold: float | None = None
) -> ScoredBoxes:
    """Return the boxes of one head with their class scores.

    Of all boxes number (row · w + column) · B + anchor belongs to that cell and anchor: row, then column, then anchor,
    the anchor fastest. An e^t that overflows gives an infinite box and NaN gives NaN, neither with a warning;
    :func:`pure_detect.boxes.scored.select` drops both.

    Parameters
    ----------
    raw : float32 or float64 array (planes, h, w)
        Output of the head's last convolution: B (5 + C) planes, B (9 + C) for a Gaussian head.
    head : YoloHead, GaussianYoloHead or RegionHead
    network_height, network_width : int
        Size of the network input in pixels.
    score_threshold : float, optional
        Leave out boxes whose objectness, which no score exceeds, is not above it, before they are decoded. By default,
        and for heads with `new_coords`, which take no σ, all M = h w B are returned.

    Returns
    -------
    ScoredBoxes
        Boxes in unit coordinates of the network input, not clipped; dtype as `raw`.

    Raises
    ------
    TypeError
        If `head` is of another type.
    ValueError
        If `raw` does not fit `head`, or the network size is not positive.
    """
    if not isinstance(head, Head):
        raise TypeError(f"head must be a YoloHead, GaussianYoloHead or RegionHead, got {type(head).__name__}")
    if network_height < 1 or network_width < 1:
        raise ValueError(f"network size must be positive, got height {network_height}, width {network_width}")
    raw = np.asarray(raw)
    cells, ids = promising(_evidence(raw, head), score_threshold)
    h, w = raw.shape[1:]
    values = raw.reshape(len(head.anchors), -1, h * w)[ids, :, cells]
    anchors, corners = np.array(head.anchors, raw.dtype)[ids], np.stack([cells % w, cells // w], axis=1)
    grid, network = (np.array(size, raw.dtype) for size in ((w, h), (network_width, network_height)))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if isinstance(head, YoloHead):
            offsets, sizes, scores = _decode_plain(values, head, anchors, network)
        elif isinstance(head, GaussianYoloHead):
            offsets, sizes, scores = _decode_gaussian_yolo(values, head, anchors, network)
        else:
            offsets, sizes, scores = _decode_region(values, head, anchors, grid)
        centres = (offsets + corners.astype(raw.dtype)) / grid
        if isinstance(head, GaussianYoloHead):
            centres = centres + POINT_TO_CENTRE[head.point] * sizes
        return ScoredBoxes(cxcywh_to_xyxy(np.concatenate([centres, sizes], axis=1)), scores)


def _decode_plain(values: Floats, head: YoloHead, anchors: Floats, network: Floats) -> tuple[Floats, Floats, Floats]:
    """Return places in their cells (M, 2), sizes (M, 2) and scores (M, C) of a `[yolo]` head."""
    if head.new_coords:
        offsets, probabilities = values[:, :2], values[:, 4:]
        sizes = 4 * values[:, 2:4] ** 2 * anchors / network
    else:
        offsets, probabilities = _sigmoid(values[:, :2]), _sigmoid(values[:, 4:])
        sizes = np.exp(values[:, 2:4]) * anchors / network
    return _stretch(offsets, head.scale_x_y), sizes, probabilities[:, :1] * probabilities[:, 1:]


def _decode_gaussian_yolo(
    values: Floats, head: GaussianYoloHead, anchors: Floats, network: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return places, sizes and scores of a `[Gaussian_yolo]` head, shaped as in `_decode_plain`."""
    means, deviations = values[:, 0:8:2], _sigmoid(values[:, 1:8:2])
    probabilities = _sigmoid(values[:, 8:])
    sizes = np.exp(means[:, 2:]) * anchors / network
    certainty = 1 - deviations.mean(axis=1, keepdims=True)
    scores = probabilities[:, :1] * probabilities[:, 1:] * certainty
    return _stretch(_sigmoid(means[:, :2]), head.scale_x_y), sizes, scores


def _decode_region(values: Floats, head: RegionHead, anchors: Floats, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Return places, sizes and scores of a `[region]` head, shaped as in `_decode_plain`."""
    sizes = np.exp(values[:, 2:4]) * anchors / grid
    classes = _softmax(values[:, 5:]) if head.softmax else _sigmoid(values[:, 5:])
    return _sigmoid(values[:, :2]), sizes, _sigmoid(values[:, 4:5]) * classes


def _evidence(raw: Floats, head: Head) -> Floats:
    """Return the objectness (B, h w) of a raw head before its σ; where none is taken, NaN."""
    anchors = len(head.anchors)
    before = 8 if isinstance(head, GaussianYoloHead) else 4
    planes = before + 1 + head.classes
    if raw.ndim != 3 or raw.shape[0] != anchors * planes:
        raise ValueError(
            f"{type(head).__name__} {head.tensor!r} with {anchors} anchors and {head.classes} classes"
            f" needs raw of shape ({anchors * planes}, h, w), got {raw.shape}"
        )
    if raw.dtype not in (np.float32, np.float64):
        raise ValueError(f"raw must be float32 or float64, got {raw.dtype}")
    evidence = raw.reshape(anchors, planes, -1)[:, before]
    return np.full_like(evidence, np.nan) if isinstance(head, YoloHead) and head.new_coords else evidence


def _stretch(offsets: Floats, scale_x_y: float) -> Floats:
    """Return s · offset - (s - 1) / 2: the offset stretched around the middle of its cell."""
    scale = float(scale_x_y)  # a NumPy float64, as a file may give, would make float32 offsets float64
    return scale * offsets - (scale - 1) / 2


def _sigmoid(t: Floats) -> Floats:
    return 1 / (1 + np.exp(-t))


def _softmax(t: Floats) -> Floats:
    exponentials = np.exp(t - t.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _check_anchors_and_classes(head: Head) -> None:
    if not head.anchors or any(len(anchor) != 2 for anchor in head.anchors):
        raise ValueError(f"anchors must be pairs of width and height, at least one, got {head.anchors!r}")
    if head.classes < 1:
        raise ValueError(f"classes must be at least 1, got {head.classes}")
