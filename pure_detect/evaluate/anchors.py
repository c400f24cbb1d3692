"""YOLO's dimension clusters: anchor boxes that fit a data set's objects, by k-means under 1 - IoU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PillowImage

from pure_detect import jit
from pure_detect.draw.colors import Color
from pure_detect.errors import InputError
from pure_detect.evaluate.chart import Axis, Chart
from pure_detect.evaluate.ground_truth import GroundTruth, require_objects

RESTARTS = 5
MOST_ROUNDS = 300
MOST_DOTS = 4000
BOX_COLOR, ANCHOR_COLOR = (150, 180, 210), (200, 60, 40)


class AnchorClusters(NamedTuple):
    """Anchors, and the boxes that they were drawn from, in pixels of the network's input.

    Attributes
    ----------
    anchors_wh : float64 array (K, 2)
        Width and height, by area.
    mean_iou : float
        Mean over the boxes of the IoU with the anchor that fits best, both on one centre.
    boxes_wh : float64 array (N, 2)
    """

    anchors_wh: NDArray[np.float64]
    mean_iou: float
    boxes_wh: NDArray[np.float64]

    def cfg_line(self) -> str:
        """Return the anchors as a Darknet cfg states them."""
        return "anchors = " + ",  ".join(f"{width:.0f},{height:.0f}" for width, height in self.anchors_wh)


def find_anchors(
    ground_truth: GroundTruth, count: int = 9, size: int | tuple[int, int] = 416, *, seed: int = 0
) -> AnchorClusters:
    """Return the anchors for a data set at a network's input size, to which pictures are stretched.

    Parameters
    ----------
    ground_truth : GroundTruth
        Crowds are left out.
    count : int
        How many anchors.
    size : int or (height, width)
        The network's input in pixels.
    seed : int
        Of the random starts; the same seed finds the same anchors.

    Returns
    -------
    AnchorClusters

    Raises
    ------
    InputError
        If there is no object, a picture's size is unknown, or there are fewer different boxes than anchors.
    ValueError
        If count or size is less than 1.

    Notes
    -----
    Source: Redmon and Farhadi, YOLO9000 (2016), section 2, "Dimension Clusters".
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    boxes = _boxes_at(ground_truth, height, width)
    if len(np.unique(boxes, axis=0)) < count:
        expected = f"at least {count} boxes of different sizes, one an anchor"
        raise InputError(f"{ground_truth.source}: expected {expected}, found {len(np.unique(boxes, axis=0))}")
    anchors, mean_iou = cluster(boxes, count, seed=seed)
    return AnchorClusters(anchors, mean_iou, boxes)


def cluster(boxes_wh: ArrayLike, count: int, *, seed: int = 0) -> tuple[NDArray[np.float64], float]:
    """Return `count` anchors for boxes, and their mean IoU, by k-means with the distance 1 - IoU.

    Each round gives every box to the anchor with the greatest IoU, both on one centre, and moves each anchor to the
    mean width and height of its boxes, until no box changes. That need not lower the mean distance, as it would with
    the Euclidean one, so the best round counts; of several random starts, too.

    Parameters
    ----------
    boxes_wh : array (N, 2)
        Widths and heights greater than 0, at least `count` of them different.
    count : int
    seed : int

    Returns
    -------
    anchors_wh : float64 array (count, 2)
        By area.
    mean_iou : float

    Raises
    ------
    ValueError
        If count is less than 1.

    Notes
    -----
    Source: Redmon and Farhadi, YOLO9000 (2016), section 2, "Dimension Clusters"; the starts are those of Arthur and
    Vassilvitskii, k-means++ (2007), with the same distance.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    boxes = np.ascontiguousarray(boxes_wh, np.float64)
    random = np.random.default_rng(seed)
    best, best_iou = np.empty((0, 2)), -1.0
    for _ in range(RESTARTS):
        anchors, mean_iou = _one_start(boxes, _spread_out(boxes, count, random))
        if mean_iou > best_iou:
            best, best_iou = anchors, mean_iou
    return best[np.lexsort((best[:, 0], best[:, 0] * best[:, 1]))], best_iou


def plot_anchors(clusters: AnchorClusters, size: int | tuple[int, int] = 416) -> PillowImage.Image:
    """Draw the boxes as a cloud of widths and heights, and the anchors on it.

    Parameters
    ----------
    clusters : AnchorClusters
    size : int or (height, width)
        The network's input in pixels.

    Returns
    -------
    PIL image
    """
    height, width = (size, size) if isinstance(size, int) else size
    across, up = Axis("width in pixels", 0, width, _ticks(width)), Axis("height in pixels", 0, height, _ticks(height))
    title = f"{len(clusters.anchors_wh)} anchors, mean IoU {clusters.mean_iou:.3f}"
    scale = 480 / max(height, width)
    plot_width, plot_height = max(240, round(width * scale)), max(240, round(height * scale))
    plot_height = max(plot_height, 24 * len(clusters.anchors_wh))  # room for the legend's rows
    chart = Chart(title, across, up, plot_width, plot_height, legend_width=180)
    boxes = clusters.boxes_wh
    if len(boxes) > MOST_DOTS:  # more would only blacken the picture
        boxes = np.random.default_rng(0).choice(boxes, MOST_DOTS, replace=False)
    chart.dots(boxes[:, 0], boxes[:, 1], BOX_COLOR, radius=1.5)
    rows: list[tuple[Color, float, str, str]] = []
    for number, (w, h) in enumerate(clusters.anchors_wh, start=1):
        chart.note(w, h, str(number))
        rows.append((ANCHOR_COLOR, 4, str(number), f"{w:.0f} x {h:.0f}"))
    widths, heights = clusters.anchors_wh.T
    # Over the numbers, which must not hide an anchor.
    chart.dots(widths, heights, ANCHOR_COLOR, radius=5, outline=(255, 255, 255))
    chart.legend(("", "size"), rows)
    return chart.picture()


def _ticks(end: int) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, end) if end / step <= 9)
    return [float(value) for value in range(0, end + 1, step)]


def _boxes_at(truth: GroundTruth, height: int, width: int) -> NDArray[np.float64]:
    """Return widths and heights (N, 2) in pixels of the network's input."""
    require_objects(truth)
    for index, image in enumerate(truth.images):
        if not (image.width and image.height):
            expected = "a width and height, which scale the boxes"
            raise InputError(f"{truth.source}: images[{index}] (id {image.id}): expected {expected}, found none")
    ids = np.array([image.id for image in truth.images])
    sizes = np.array([(image.width, image.height) for image in truth.images], np.float64)
    whole = ~truth.iscrowd
    scale = np.array([width, height]) / sizes[np.searchsorted(ids, truth.image_ids[whole])]
    return truth.boxes_xywh[whole, 2:] * scale


def _spread_out(boxes: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return `count` of the boxes, each drawn the more likely, the less the earlier ones fit it."""
    anchors = boxes[random.integers(len(boxes))][None]
    nearest, ious = np.empty(len(boxes), np.int64), np.empty(len(boxes))
    while len(anchors) < count:
        jit.run(_assign, boxes, anchors, nearest, ious)
        distance = np.maximum(1 - ious, 0)  # rounding may lift an IoU over 1
        choice = random.choice(len(boxes), p=distance / distance.sum())
        anchors = np.concatenate([anchors, boxes[choice][None]])
    return anchors


def _one_start(boxes: NDArray[np.float64], anchors: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Run k-means from given anchors; return the best of its rounds, and its mean IoU."""
    nearest, ious = np.full(len(boxes), -1, np.int64), np.empty(len(boxes))
    best, best_iou = anchors, -1.0
    for _ in range(MOST_ROUNDS):
        before = nearest.copy()
        jit.run(_assign, boxes, anchors, nearest, ious)
        if ious.mean() > best_iou:
            best, best_iou = anchors, float(ious.mean())
        if np.array_equal(nearest, before):
            break
        members = np.bincount(nearest, minlength=len(anchors))
        sums = np.stack([np.bincount(nearest, boxes[:, i], len(anchors)) for i in (0, 1)], axis=1)
        # An anchor that has lost all its boxes stays where it is.
        anchors = np.where(members[:, None] > 0, sums / np.maximum(members, 1)[:, None], anchors)
    return best, best_iou


@jit.kernel
def _assign(
    boxes: NDArray[np.float64], anchors: NDArray[np.float64], nearest: NDArray[np.int64], ious: NDArray[np.float64]
) -> None:
    """Fill nearest and ious (N,): the anchor (K, 2) with the greatest IoU with each box (N, 2), of equals the first."""
    for i in range(len(boxes)):
        width, height = boxes[i, 0], boxes[i, 1]
        best, best_iou = 0, -1.0
        for k in range(len(anchors)):
            shared = min(width, anchors[k, 0]) * min(height, anchors[k, 1])
            iou = shared / (width * height + anchors[k, 0] * anchors[k, 1] - shared)
            if iou > best_iou:
                best, best_iou = k, iou
        nearest[i], ious[i] = best, best_iou
