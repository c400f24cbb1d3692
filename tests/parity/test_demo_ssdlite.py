"""`demo-ssdlite`: torchvision's own classes on random weights through `weights-convert`, then on the trained ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.boxes.anchors import anchors_cxcywh
from pure_detect.boxes.coordinates import cxcywh_to_xyxy
from pure_detect.demo.networks import DEMO_SSDLITE
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
torchvision = import_torchvision()

MAPS = (32, 16, 8, 4, 2, 1)


def random_model(train_demo: Import) -> Any:
    """Return torchvision's model with random weights and statistics that are not trivial."""
    torch.manual_seed(0)
    model = train_demo("ssdlite_module").torchvision_ssdlite().eval()
    randomize_batch_norms(model, mean=0.2, variance=(0.2, 1.5), weight=(0.6, 1.6))
    return model


def by_anchor(raw: np.ndarray, numbers: int) -> np.ndarray:
    """Return (A * numbers, h, w) as torchvision's heads give it: (h * w * A, numbers)."""
    return raw.reshape(-1, numbers, *raw.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, numbers)


def test_raw_heads_agree_on_a_state_that_went_through_weights_convert(train_demo: Import, tmp_path: Path) -> None:
    model = random_model(train_demo)
    source, out = tmp_path / "demo-ssdlite.pth", tmp_path / "demo-ssdlite.h5"
    torch.save(model.state_dict(), source)
    assert main([str(source), "--model", "demo-ssdlite", "--out", str(out)]) == 0
    detector = pure_detect.load(out)
    x = noise_pictures((1, 3, 256, 256), np.random.default_rng(1))
    with torch.no_grad():
        theirs = model.head(list(model.backbone(torch.from_numpy(x)).values()))
    head = detector.graph.heads[0]
    ours = ReferenceExecutor(detector.graph, detector._parameters)(x)
    for key, tensors, numbers in (
        ("cls_logits", head.class_tensors, 1 + len(detector.labels)),
        ("bbox_regression", head.box_tensors, 4),
    ):
        rows = np.concatenate([by_anchor(ours[name][0], numbers) for name in tensors])
        assert_outputs_agree({key: rows[None]}, {key: theirs[key].numpy()})


def test_all_anchors_are_those_of_torchvisions_generator(train_demo: Import) -> None:
    generator = train_demo("ssdlite_module").torchvision_ssdlite().anchor_generator
    maps = [torch.zeros(1, 1, size, size) for size in MAPS]
    images = torchvision.models.detection.image_list.ImageList(torch.zeros(1, 3, 256, 256), [(256, 256)])
    expected = generator(images, maps)[0].numpy()
    head = DEMO_SSDLITE.build().heads[0]
    placed = [anchors_cxcywh(row, size, size) for row, size in zip(head.anchors, MAPS, strict=True)]
    ours = cxcywh_to_xyxy(np.concatenate(placed)) * 256
    assert ours.shape == expected.shape == (5460, 4)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2 * np.spacing(np.float32(512)))


@pytest.mark.parametrize("size", [(256, 256), (300, 200)], ids=str)
def test_the_trained_network_finds_the_same_objects_in_torchvision(train_demo: Import, size: tuple[int, int]) -> None:
    """Also in scenes that both sides bring to the network's size."""
    theirs = train_demo("ssdlite_peers").torchvision(cached_weights("demo-ssdlite"))
    assert_finds_the_same_objects("demo-ssdlite", theirs, *size)


def test_the_trained_networks_average_precision_is_torchvisions(train_demo: Import, tmp_path: Path) -> None:
    check_ap = train_demo("check_ap")
    assert_has_the_same_average_precision("demo-ssdlite", {"torchvision"}, check_ap, tmp_path / "scenes")
