"""Raw outputs of every published Darknet network against OpenCV's importer, on the same weights and input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.graph import Graph
from pure_detect.models.darknet import read_cfg
from pure_detect.network import Network
from pure_detect.random_weights import noise_pictures, random_parameters
from pure_detect.reference import ReferenceExecutor
from tests import real_models
from tests.comparisons import assert_outputs_agree
from tests.parity import opencv
from weights_convert.readers.darknet import Header, read_darknet, write_darknet

Array = NDArray[Any]

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]

DETECTORS = (
    "yolov2", "yolov2-tiny", "yolov3", "yolov3-spp", "yolov3-tiny", "yolov3-voc", "yolov4", "yolov4-tiny",
)  # fmt: skip
CLASSIFIERS = ("darknet19", "darknet53")


def opencv_names(network: Network) -> list[str]:
    """Return the names that OpenCV gives to the convolutions before the heads: `conv_81` for `layer081.conv`."""
    return [f"conv_{int(head.tensor.split('.')[0].removeprefix('layer'))}" for head in network.build().heads]


def random_case(name: str, data: Path, folder: Path) -> tuple[Network, Graph, dict[str, Array], Array, Any]:
    """Return a published network with random weights, an input, and OpenCV's net of the same with the input set."""
    cfg = data / "cfg" / f"{name}.cfg"
    network = replace(read_cfg(cfg), batch_norm_rule=real_models.OPENCV_RULE)
    graph = network.build(96, 64)
    parameters = random_parameters(network, seed=1)
    write_darknet(folder / "w.weights", graph, parameters, Header(0, 2, 5, 0, 20))
    x = noise_pictures((1, *graph.input.shape), np.random.default_rng(2))
    net = opencv.read_net(cfg.read_text(), folder / "w.weights")
    net.setInput(x)
    return network, graph, parameters, x, net


@pytest.mark.parametrize("name", DETECTORS)
def test_raw_heads_equal_opencvs_on_random_weights(name: str, data: Path, tmp_path: Path) -> None:
    network, graph, parameters, x, net = random_case(name, data, tmp_path)
    theirs = dict(zip(graph.outputs, net.forward(opencv_names(network)), strict=True))
    assert_outputs_agree(ReferenceExecutor(graph, parameters)(x), theirs)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probabilities_equal_opencvs_on_random_weights(name: str, data: Path, tmp_path: Path) -> None:
    _, graph, parameters, x, net = random_case(name, data, tmp_path)
    theirs = {graph.outputs[0]: net.forward().reshape(1, -1, 1, 1)}
    assert_outputs_agree(ReferenceExecutor(graph, parameters)(x), theirs)


@pytest.mark.parametrize("name", real_models.DETECTORS)
@pytest.mark.parametrize("image", ["dog.jpg", "giraffe.jpg"])
def test_raw_heads_equal_opencvs_on_real_weights_and_images(name: str, image: str, data: Path) -> None:
    model = real_models.DETECTORS[name]
    weights = data / "weights"
    network = replace(read_cfg(weights / model.cfg), batch_norm_rule=real_models.OPENCV_RULE)
    graph = network.build()
    parameters = read_darknet(weights / model.weights, graph).parameters
    x = opencv.blob(data / "images" / image, model.size, model.size)
    net = opencv.read_net((weights / model.cfg).read_text(), weights / model.weights)
    net.setInput(x)
    theirs = dict(zip(graph.outputs, net.forward(opencv_names(network)), strict=True))
    assert_outputs_agree(ReferenceExecutor(graph, parameters)(x), theirs)
