"""COCO's rule for which detection hits which object, in every image, class, area range and IoU threshold.

:func:`match_category` gives each detection of a class an outcome; :mod:`pure_detect.evaluate.coco` counts them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect import jit

# What became of a detection.
FALSE_ALARM, HIT, IGNORED = 0, 1, 2


class Detections(NamedTuple):
    """Detections in one run a class, by image, then from the best score down; D rows."""

    starts: NDArray[np.int64]  # (K + 1,) where each class begins
    images: NDArray[np.int64]  # (D,) index of the image
    boxes: NDArray[np.float64]  # (D, 4) x, y, width, height
    places: NDArray[np.int64]  # (D,) the row's place where each class is sorted by score alone
    sorted_scores: NDArray[np.float64]  # (D,) scores at those places


class Objects(NamedTuple):
    """Ground truth in one run a class, by image, then in the given order; N rows."""

    starts: NDArray[np.int64]  # (K + 1,)
    images: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.float64]  # (N, 4)
    areas: NDArray[np.float64]  # (N,)
    crowd: NDArray[np.bool_]  # (N,)


class Protocol(NamedTuple):
    """What is fixed by the protocol: T thresholds, R points of recall, A area ranges, M limits."""

    thresholds: NDArray[np.float64]  # (T,) of IoU
    recall_points: NDArray[np.float64]  # (R,)
    areas: NDArray[np.float64]  # (A, 2) least and greatest, both within
    limits: NDArray[np.int64]  # (M,) detections an image and class, ascending


@jit.kernel
def match_category(
    k: int,
    detections: Detections,
    objects: Objects,
    protocol: Protocol,
    outcomes: NDArray[np.uint8],
    ranks: NDArray[np.int64],
) -> None:
    """Fill outcomes (A, T, D) and ranks (D,), the place within image and class, of one class's detections."""
    first, last = detections.starts[k], detections.starts[k + 1]
    g0, end = objects.starts[k], objects.starts[k + 1]
    d0 = first
    while d0 < last:
        image = detections.images[d0]
        d1 = d0 + 1
        while d1 < last and detections.images[d1] == image:
            d1 += 1
        while g0 < end and objects.images[g0] < image:
            g0 += 1
        g1 = g0
        while g1 < end and objects.images[g1] == image:
            g1 += 1
        places = detections.places[d0:d1] - first
        for d in range(d1 - d0):
            ranks[places[d]] = d
        judged = places[: protocol.limits[-1]]  # what lies beyond the greatest limit is never looked at
        _set_misses(detections.boxes[d0:d1], protocol, judged, outcomes)
        if g1 > g0:
            _match_image(detections.boxes[d0:d1], objects, g0, g1, protocol, judged, outcomes)
        d0, g0 = d1, g1


@jit.kernel
def _set_misses(
    boxes: NDArray[np.float64], protocol: Protocol, places: NDArray[np.int64], outcomes: NDArray[np.uint8]
) -> None:
    """Fill the outcomes (A, T, D) at `places` as if nothing were hit: detections outside an area range are left out."""
    for d in range(len(places)):
        area = boxes[d, 2] * boxes[d, 3]
        for a in range(len(protocol.areas)):
            outside = area < protocol.areas[a, 0] or area > protocol.areas[a, 1]
            outcomes[a, :, places[d]] = IGNORED if outside else FALSE_ALARM


@jit.kernel
def _match_image(
    boxes: NDArray[np.float64],
    objects: Objects,
    g0: int,
    g1: int,
    protocol: Protocol,
    places: NDArray[np.int64],
    outcomes: NDArray[np.uint8],
) -> None:
    """Fill the outcomes (A, T, D) at `places` where detections of one image and class hit, the best score first."""
    ious = np.empty((len(places), g1 - g0))
    for d in range(len(places)):
        for g in range(g1 - g0):
            ious[d, g] = _iou(boxes[d], objects.boxes[g0 + g], objects.crowd[g0 + g])
    crowd = objects.crowd[g0:g1]
    ignored = np.empty(g1 - g0, np.bool_)
    matches = np.empty(len(places), np.int64)
    for a in range(len(protocol.areas)):
        for g in range(g1 - g0):
            ignored[g] = is_ignored(objects, g0 + g, protocol.areas[a])
        order = np.concatenate((np.flatnonzero(~ignored), np.flatnonzero(ignored)))
        for t in range(len(protocol.thresholds)):
            _match(ious, order, ignored, crowd, protocol.thresholds[t], matches)
            for d in range(len(places)):
                if matches[d] >= 0:
                    outcomes[a, t, places[d]] = IGNORED if ignored[matches[d]] else HIT


@jit.kernel
def _iou(box: NDArray[np.float64], truth: NDArray[np.float64], crowd: bool) -> float:
    """Return the IoU of two boxes (x, y, width, height); with a crowd, the share of `box` that lies in it."""
    width = min(box[2] + box[0], truth[2] + truth[0]) - max(box[0], truth[0])
    if width <= 0:
        return 0.0
    height = min(box[3] + box[1], truth[3] + truth[1]) - max(box[1], truth[1])
    if height <= 0:
        return 0.0
    shared = width * height
    area = box[2] * box[3]
    return shared / (area if crowd else area + truth[2] * truth[3] - shared)


@jit.kernel
def _match(
    ious: NDArray[np.float64],
    order: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    threshold: float,
    matches: NDArray[np.int64],
) -> None:
    """Set matches[d] to the object that detection d takes at one threshold, or to -1.

    ious (D, G): detections from the best score down; `order`: objects that count before those that do not.
    """
    taken = np.zeros(len(order), np.bool_)
    for d in range(len(matches)):
        best_iou, best = min(threshold, 1 - 1e-10), -1
        for g in order:
            if taken[g] and not crowd[g]:
                continue
            if best >= 0 and not ignored[best] and ignored[g]:
                break
            if ious[d, g] < best_iou:
                continue
            best_iou, best = ious[d, g], g  # of equal ones the last
        matches[d] = best
        if best >= 0:
            taken[best] = True


@jit.kernel
def is_ignored(objects: Objects, g: int, bounds: NDArray[np.float64]) -> bool:
    """Say whether object g does not count: both ends of an area range lie within it."""
    return objects.crowd[g] or objects.areas[g] < bounds[0] or objects.areas[g] > bounds[1]
