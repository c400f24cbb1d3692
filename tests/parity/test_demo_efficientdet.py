"""`demo-efficientdet`: effdet's own classes on random weights through `weights-convert`, then on the trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.boxes.anchors import anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.demo.networks import DEMO_EFFICIENTDET
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import cached_weights
from tests.comparisons import assert_outputs_agree
from tests.parity.demo_networks import Import, assert_finds_the_same_objects, assert_has_the_same_average_precision
from tests.parity.torch_models import randomize_batch_norms
from tests.parity.torchvision_cpu import import_torchvision
from weights_convert.cli import main

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="needs the extra parity")
import_torchvision()
pytest.importorskip("effdet", reason="needs the extra parity")

SIDES = (32, 16, 8)


def random_model(train_demo: Import) -> Any:
    """Return effdet's model with random weights, statistics and fusion weights that are not trivial."""
    torch.manual_seed(0)
    model = train_demo("effdet_module").effdet_model().eval()
    randomize_batch_norms(model)
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
    theirs = train_demo("efficientdet_peers").effdet_predictor(cached_weights("demo-efficientdet"))
    assert_finds_the_same_objects("demo-efficientdet", theirs, *size)


def test_the_trained_networks_average_precision_is_effdets(train_demo: Import, tmp_path: Path) -> None:
    check_ap = train_demo("check_ap")
    assert_has_the_same_average_precision("demo-efficientdet", {"effdet"}, check_ap, tmp_path / "scenes")
