"""`demo-efficientdet`: effdet's own classes on random weights through `weights-convert`, then on the trained ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.boxes.anchors import anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.demo.dataset import write_dataset
from pure_detect.demo.networks import DEMO_EFFICIENTDET
from pure_detect.demo.scenes import draw_scene
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import cached_weights
from tests.comparisons import assert_detections_agree, assert_outputs_agree
from tests.parity.torchvision_cpu import import_torchvision
from weights_convert.cli import main

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="needs the extra parity")
import_torchvision()
pytest.importorskip("effdet", reason="needs the extra parity")

Import = Callable[[str], ModuleType]
SCENES, SURE = 60, 0.3
SIDES = (32, 16, 8)


def random_model(train_demo: Import) -> Any:
    """Return effdet's model with random weights, statistics and fusion weights that are not trivial."""
    torch.manual_seed(0)
    model = train_demo("effdet_module").effdet_model().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    for name, parameter in model.named_parameters():
        if name.endswith("edge_weights"):
            torch.nn.init.uniform_(parameter, -0.3, 1.5)
    return model


@pytest.mark.parametrize("size", [(256, 256), (160, 224)], ids=str)
def test_raw_heads_agree_on_a_state_that_went_through_weights_convert(
    train_demo: Import, size: tuple[int, int], tmp_path: Path
) -> None:
    """The second size is one that the training passes through, but for its being a square."""
    model = random_model(train_demo)
    assert sum(parameter.numel() for parameter in model.parameters()) == DEMO_EFFICIENTDET.build().learnable_count
    source, out = tmp_path / "demo-efficientdet.pth", tmp_path / "demo-efficientdet.h5"
    torch.save(model.state_dict(), source)
    assert main([str(source), "--model", "demo-efficientdet", "--out", str(out)]) == 0
    detector = pure_detect.load(out, size=size)
    x = noise_pictures((1, 3, *size), np.random.default_rng(1))
    with torch.no_grad():
        classes, boxes = model(torch.from_numpy(x))
    theirs = dict(zip(detector.graph.outputs, [raw.numpy() for raw in (*classes, *boxes)], strict=True))
    assert_outputs_agree(ReferenceExecutor(detector.graph, detector._parameters)(x), theirs)


def test_all_anchors_are_effdets(train_demo: Import) -> None:
    from effdet.anchors import Anchors

    expected = Anchors.from_config(train_demo("effdet_module").effdet_config()).boxes.numpy()[:, [1, 0, 3, 2]]
    head = DEMO_EFFICIENTDET.build().heads[0]
    placed = [anchors_cxcywh(head.anchors.in_units(side, side), side, side) for side in SIDES]
    ours = cxcywh_to_xyxy(np.concatenate(placed)) * 256
    assert ours.shape == expected.shape == (8064, 4)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=4 * np.spacing(np.float32(512)))


@pytest.mark.parametrize("size", [(256, 256), (300, 200)], ids=str)
def test_the_trained_network_finds_the_same_objects_in_effdet(train_demo: Import, size: tuple[int, int]) -> None:
    """Also in scenes that both sides bring to the network's size."""
    detector = pure_detect.load("demo-efficientdet")
    theirs = train_demo("efficientdet_peers").effdet_predictor(cached_weights("demo-efficientdet"))
    objects = 0
    for seed in range(SCENES):
        pixels = draw_scene(seed, *size).pixels
        boxes, scores, class_ids = theirs(pixels)
        sure = scores > SURE
        found = detector(pixels, score=SURE)
        assert_detections_agree(found.to_json(), list(zip(class_ids[sure], scores[sure], boxes[sure], strict=True)))
        objects += len(found)
    assert objects > 2 * SCENES


def test_the_trained_networks_average_precision_is_effdets(train_demo: Import, tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", seed=0, scenes=SCENES)
    check_ap = train_demo("check_ap")
    figures = check_ap.compare("demo-efficientdet", cached_weights("demo-efficientdet"), tmp_path / "scenes")
    ours, theirs = figures["pure-detect"], figures["effdet"]
    assert theirs == pytest.approx(ours, abs=check_ap.LARGEST_DIFFERENCE)
    assert ours[0] > 0.5
    assert ours[1] > 0.8
