"""Fixtures and markers that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pure_detect import jit, load
from pure_detect.demo.scenes import draw_scene
from pure_detect.evaluate import Category, GroundTruth, Image, Results, evaluate
from pure_detect.image import RESIZE_MODES
from tests.commands import Run, runner

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data"
IN_CI = os.environ.get("CI") == "true"


skipped: list[str] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what commands run before any worker starts: no test then meets the notice of it on standard error."""
    if not jit.is_compiling():
        return
    scene = draw_scene(0, 640, 512)  # larger than the network's input, for what makes pictures smaller
    detector = load("demo-yolo")
    for mode in RESIZE_MODES:
        detector.with_resize(mode)(scene.pixels)
    detector(scene.pixels, rule="gaussian")
    sides = scene.boxes_xyxy[:, 2:] - scene.boxes_xyxy[:, :2]
    boxes, numbers = np.concatenate([scene.boxes_xyxy[:, :2], sides], axis=1), np.zeros(len(sides), np.int64)
    truth = GroundTruth(numbers, numbers, boxes, images=[Image(0)], categories=[Category(0)])
    evaluate(Results(numbers, numbers, boxes, np.ones(len(sides))), truth)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI if anything was skipped: there the shared data and every framework are at hand."""
    if IN_CI and skipped and session.exitstatus == 0:
        session.exitstatus = 1
        print(f"\n{len(skipped)} tests were skipped, none may be in CI: {skipped[0]}, ...")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs the shared data where that folder is absent."""
    if DATA.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs the real weights and images of {DATA}, which is absent")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real weights and images; only tests marked `shared_data` may ask for it."""
    return DATA


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process and says what it printed."""
    return runner(capsys)
