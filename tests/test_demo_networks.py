"""The three networks that come with the package: small, at hand without a network, and good at what they do."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import pure_detect
from pure_detect.cli import main
from pure_detect.demo.dataset import write_dataset
from pure_detect.demo.networks import DEMO_NETWORKS
from pure_detect.demo.scenes import LABELS, draw_scene
from pure_detect.network import Network
from pure_detect.registry import PUBLISHED, cached_weights
from tests import demo

FAMILIES = {"demo-yolo": "yolo", "demo-ssdlite": "ssdlite", "demo-efficientdet": "efficientdet"}
LARGEST_FILE = 1_200_000  # bytes

by_name = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no weights but the package's own, and no way to get others."""
    monkeypatch.setenv("PURE_DETECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PURE_DETECT_MIRROR", str(tmp_path / "no-mirror"))


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data set that the README's figures are of."""
    folder = tmp_path_factory.mktemp("held-out") / "scenes"
    write_dataset(folder, seed=0, scenes=500)
    return folder


def test_there_is_one_of_each_family() -> None:
    assert {network.name: network.family for network in DEMO_NETWORKS} == FAMILIES


@pytest.mark.parametrize("network", DEMO_NETWORKS, ids=demo.NAMES)
def test_a_network_has_the_classes_of_the_scenes_and_their_size(network: Network) -> None:
    assert network.labels == LABELS
    assert network.class_count == len(LABELS)
    assert network.input_shape == (3, 256, 256)


@by_name
def test_a_weight_file_is_small_and_of_half_precision(name: str) -> None:
    path = cached_weights(name)
    assert path.stat().st_size < LARGEST_FILE
    kinds = set()
    with h5py.File(path) as file:
        file.visititems(lambda _, item: kinds.add(item.dtype) if isinstance(item, h5py.Dataset) else None)
    assert kinds == {np.dtype(np.float16)}


@by_name
def test_average_precision_on_the_held_out_scenes_is_what_the_registry_says(
    name: str, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--images", str(held_out / "images"), "--annotations", str(held_out / "annotations.json")]
    assert main(["evaluate", name, *files, "--out", str(tmp_path / "results.json"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP"] >= 0.5
    assert figures["AP50"] >= 0.8
    row = PUBLISHED[name]
    assert (100 * figures["AP"], 100 * figures["AP50"]) == pytest.approx((row.ap, row.ap50), abs=0.1)


@by_name
@pytest.mark.parametrize(("width", "height"), [(256, 256), (420, 300), (180, 240)])
def test_scenes_of_other_sizes_are_understood_as_well(name: str, width: int, height: int) -> None:
    detector = pure_detect.load(name)
    scenes = [draw_scene(seed, width, height) for seed in demo.SEEDS]
    demo.assert_finds_the_truth((scene, detector(scene.pixels, score=demo.SCORE)) for scene in scenes)


@by_name
def test_the_two_engines_find_the_same(name: str) -> None:
    scene = draw_scene(1, 160, 160)
    fast, plain = (
        pure_detect.load(name, size=160, engine=engine)(scene.pixels, score=demo.SCORE)
        for engine in ("fast", "reference")
    )
    assert len(fast) > 0
    assert fast.labels == plain.labels
    np.testing.assert_allclose(fast.boxes_xyxy, plain.boxes_xyxy, atol=0.02)
    np.testing.assert_allclose(fast.scores, plain.scores, atol=1e-4)


def test_the_networks_agree_with_each_other() -> None:
    """What two of them find, the third mostly finds too."""
    detectors = [pure_detect.load(name) for name in FAMILIES]
    sure = agreed = 0
    for seed in demo.SEEDS:
        scene = draw_scene(seed)
        seen = np.array([
            [match is not None for match in demo.compare(scene, detector(scene.pixels, score=demo.SCORE)).matches]
            for detector in detectors
        ])  # fmt: skip
        sure += int((seen.sum(axis=0) >= 2).sum())
        agreed += int(seen.all(axis=0).sum())
    assert sure > 30
    assert agreed >= 0.65 * sure
