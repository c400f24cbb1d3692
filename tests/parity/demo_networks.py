"""A trained demo network beside its frameworks, on drawn scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.demo.dataset import write_dataset
from pure_detect.demo.scenes import draw_scene
from pure_detect.registry import cached_weights
from tests.comparisons import assert_detections_agree

Import = Callable[[str], ModuleType]
Found = tuple[np.ndarray, np.ndarray, np.ndarray]
SCENES, SURE = 60, 0.3


def assert_finds_the_same_objects(
    name: str, theirs: Callable[[Any], Found], width: int = 256, height: int = 256
) -> None:
    """Require that a framework, `theirs(pixels)`, gives our boxes, scores and class ids on every scene."""
    detector = pure_detect.load(name)
    objects = 0
    for seed in range(SCENES):
        pixels = draw_scene(seed, width, height).pixels
        boxes, scores, class_ids = theirs(pixels)
        sure = scores > SURE
        found = detector(pixels, score=SURE)
        assert_detections_agree(found.to_json(), list(zip(class_ids[sure], scores[sure], boxes[sure], strict=True)))
        objects += len(found)
    assert objects > 2 * SCENES


def assert_has_the_same_average_precision(name: str, frameworks: set[str], check_ap: ModuleType, folder: Path) -> None:
    """Require that AP and AP50 on the scenes are good, and those of all frameworks of `check_ap`."""
    write_dataset(folder, seed=0, scenes=SCENES)
    figures = check_ap.compare(name, cached_weights(name), folder)
    ours = figures.pop("pure-detect")
    assert set(figures) == frameworks
    for framework, theirs in figures.items():
        assert theirs == pytest.approx(ours, abs=check_ap.LARGEST_DIFFERENCE), framework
    assert ours[0] > 0.5
    assert ours[1] > 0.8
