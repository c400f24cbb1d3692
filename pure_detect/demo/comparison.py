"""Detections of several networks beside the truth of a scene: who found what, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from pure_detect.boxes.coordinates import pairwise_iou
from pure_detect.demo.scenes import LABELS, Scene
from pure_detect.detections import Detection, Detections

# An overlap from which a detection of the right class counts as the object: the first of COCO's thresholds.
ENOUGH = 0.5
LABEL_WIDTH, COLUMN_WIDTH = max(map(len, LABELS)), 15


class Match(NamedTuple):
    """A detection that is an object of the truth, and their intersection over union."""

    detection: Detection
    iou: float


class Comparison(NamedTuple):
    """What a network found of a scene.

    Attributes
    ----------
    matches
        Per object of the scene its detection, or None.
    false
        Detections that are no object of the scene, or one that a better detection has.
    """

    matches: list[Match | None]
    false: list[Detection]

    @property
    def found(self) -> int:
        """Return how many objects have a detection."""
        return sum(match is not None for match in self.matches)


def compare(scene: Scene, detections: Detections) -> Comparison:
    """Give every detection, best score first, the object of its class that it overlaps most and nobody has yet."""
    matches: list[Match | None] = [None] * len(scene.class_ids)
    false = []
    overlaps = pairwise_iou(detections.boxes_xyxy, scene.boxes_xyxy)
    for detection, ious in zip(detections, overlaps):
        taken = np.array([match is not None for match in matches], bool)
        ious = np.where(taken | (scene.class_ids != detection.class_id), 0.0, ious)
        best = int(np.argmax(ious)) if len(ious) else 0
        if len(ious) and ious[best] >= ENOUGH:
            matches[best] = Match(detection, float(ious[best]))
        else:
            false.append(detection)
    return Comparison(matches, false)


def comparison_table(scene: Scene, comparisons: Mapping[str, Comparison]) -> str:
    """Return a table of one line an object of the scene, and one a false detection; three networks fit 80 columns."""
    digits = max(5, *(len(f"{side}") + 1 for side in scene.pixels.shape[:2]))

    def line(label: str, sides: Iterable[str], cells: Iterable[str]) -> str:
        columns = [side.rjust(digits) for side in sides] + [cell.rjust(COLUMN_WIDTH) for cell in cells]
        return "".join([label.ljust(LABEL_WIDTH), *columns]).rstrip()

    lines = [
        line("", [""] * 4, comparisons),
        line("the truth", ("x1", "y1", "x2", "y2"), ["score   IoU"] * len(comparisons)),
    ]
    for i, (class_id, box) in enumerate(zip(scene.class_ids, scene.boxes_xyxy)):
        cells = [_cell(comparison.matches[i]) for comparison in comparisons.values()]
        lines.append(line(LABELS[class_id], _whole(box), cells))
    wrong = [(name, detection) for name, comparison in comparisons.items() for detection in comparison.false]
    if wrong:
        lines.append("no object of the truth:")
    for name, detection in wrong:
        cells = [f"{detection.score:.2f}     -" if other == name else "" for other in comparisons]
        lines.append(line(detection.label, _whole(detection.box_xyxy), cells))
    return "\n".join(lines)


def _cell(match: Match | None) -> str:
    return f"{match.detection.score:.2f}  {match.iou:.2f}" if match else "missed"


def _whole(box: Iterable[float]) -> list[str]:
    return [f"{side:.0f}" for side in box]
