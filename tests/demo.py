"""The demo networks in tests: drawn scenes as pictures, and how much of the truth an answer has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pure_detect.demo.comparison import compare
from pure_detect.demo.networks import DEMO_NETWORKS
from pure_detect.demo.scenes import LABELS, Scene, draw_scene
from pure_detect.detections import Detections

NAMES = tuple(network.name for network in DEMO_NETWORKS)
SCORE = 0.4  # from which on detections of all three networks are to be trusted
# Of the objects of a few scenes, how many are found at least, and how much else at most. Of the seeds 0 to 59 it is
# 0.74 to 0.83 and 0.04 to 0.19, by network; those of the first seeds are harder than most.
FOUND, FALSE = 0.6, 0.3
SEEDS = range(12, 30)  # no training has seen them


def scene_file(folder: Path, seed: int, width: int = 256, height: int = 256) -> Path:
    """Write a scene as a PNG, which keeps its pixels."""
    path = folder / f"{seed:06d}.png"
    Image.fromarray(draw_scene(seed, width, height).pixels).save(path)
    return path


def detections(scene: Scene, found: Iterable[tuple[str, float, Sequence[float]]]) -> Detections:
    """Return an answer in whatever form, as labels, scores and boxes_xyxy, as the detections of a scene."""
    rows = list(found)
    labels, scores = tuple(label for label, _, _ in rows), [score for _, score, _ in rows]
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    height, width = scene.pixels.shape[:2]
    return Detections(boxes, scores, [LABELS.index(label) for label in labels], labels, height, width)


def assert_finds_the_truth(answers: Iterable[tuple[Scene, Detections]]) -> None:
    """Require that most objects of some scenes are found, in their places, and little else is."""
    objects = found = false = 0
    for scene, answer in answers:
        comparison = compare(scene, answer)
        objects += len(scene.class_ids)
        found += comparison.found
        false += len(comparison.false)
    assert objects > 0
    assert found >= FOUND * objects, f"{found} of {objects} objects found"
    assert false <= FALSE * objects, f"{false} false detections beside {objects} objects"
