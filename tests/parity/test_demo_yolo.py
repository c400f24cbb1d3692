"""`demo-yolo`: its training's PyTorch network, its weights in Darknet's format, and OpenCV's reading of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect.models.darknet import read_cfg
from pure_detect.random_weights import noise_pictures, random_parameters
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import cached_weights
from tests import real_models
from tests.comparisons import assert_outputs_agree
from tests.parity import opencv
from tests.parity.demo_networks import assert_finds_the_same_objects, assert_has_the_same_average_precision
from weights_convert.readers.darknet import read_darknet

pytestmark = pytest.mark.parity

torch = pytest.importorskip("torch", reason="needs the extra parity")

ROOT = Path(__file__).parents[2]
CFG = ROOT / "pure_detect" / "demo" / "demo-yolo.cfg"


@pytest.fixture
def training_code(train_demo: Callable[[str], Any]) -> Any:
    return train_demo("yolo")


@pytest.mark.parametrize("size", [(96, 160), (256, 256)])
def test_the_network_that_is_trained_is_the_cfgs_network(training_code: Any, size: tuple[int, int]) -> None:
    network = read_cfg(CFG)
    graph, parameters = network.build(*size), random_parameters(network, seed=3)
    module = training_code.DarknetModule(network.build()).eval()
    module.load(parameters)
    x = noise_pictures((2, 3, *size), np.random.default_rng(4))
    with torch.no_grad():
        theirs = {name: raw.numpy() for name, raw in module(torch.from_numpy(x)).items()}
    assert_outputs_agree(ReferenceExecutor(graph, parameters)(x), theirs)


def test_weights_that_a_training_writes_are_read_back_and_opencv_agrees_on_them(
    training_code: Any, tmp_path: Path
) -> None:
    network = replace(read_cfg(CFG), batch_norm_rule=real_models.OPENCV_RULE)
    graph = network.build()
    module = training_code.DarknetModule(graph)
    module.load(random_parameters(network, seed=5))
    training_code.write_weights(module, tmp_path / "w.weights", pictures=1000)
    read = read_darknet(tmp_path / "w.weights", graph)
    assert read.header.seen == 1000
    for name, values in module.parameters_by_name().items():
        np.testing.assert_array_equal(read.parameters[name], values)
    x = noise_pictures((1, 3, 256, 256), np.random.default_rng(6))
    net = opencv.read_net(CFG.read_text(), tmp_path / "w.weights")
    net.setInput(x)
    names = [f"conv_{int(head.tensor.split('.')[0].removeprefix('layer'))}" for head in graph.heads]
    theirs = dict(zip(graph.outputs, net.forward(names), strict=True))
    assert_outputs_agree(ReferenceExecutor(graph, read.parameters)(x), theirs)


@pytest.mark.parametrize("framework", ["PyTorch", "OpenCV"])
def test_the_trained_network_finds_the_same_objects_in_its_frameworks(training_code: Any, framework: str) -> None:
    theirs = importlib.import_module("yolo_peers").DETECTORS[framework](cached_weights("demo-yolo"))
    assert_finds_the_same_objects("demo-yolo", theirs)


def test_the_trained_networks_average_precision_is_its_frameworks(training_code: Any, tmp_path: Path) -> None:
    check_ap = importlib.import_module("check_ap")
    assert_has_the_same_average_precision("demo-yolo", {"PyTorch", "OpenCV"}, check_ap, tmp_path / "scenes")
