"""Random weights keep the scale of the activations through the depth, at sizes other than those they were drawn at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.models.darknet import darknet_network
from pure_detect.random_weights import noise_pictures, random_parameters
from pure_detect.registry import NETWORKS


def activations(model: Any, size: int) -> Iterator[tuple[str, np.ndarray]]:
    x = np.random.default_rng(7).random((1, 3, size, size), np.float32)
    yield from model.forward(x, keep=["*"]).items()


@pytest.fixture(scope="module")
def yolov3_tiny() -> Any:
    return pure_detect.load("yolov3-tiny", weights="random", size=128)


@pytest.mark.parametrize("size", [128, 192])
def test_activations_of_yolov3_tiny_neither_vanish_nor_explode_nor_forget_the_picture(
    size: int, yolov3_tiny: Any
) -> None:
    seen = 0
    for name, values in activations(yolov3_tiny, size):
        assert np.isfinite(values).all(), name
        assert 0.2 < values.std() < 5, name
        assert values[0].std(axis=(1, 2)).mean() > 0.1 * values.std(), name
        seen += 1
    assert seen == len(yolov3_tiny.graph.nodes)


def test_other_pictures_give_other_outputs(yolov3_tiny: Any) -> None:
    x = np.random.default_rng(3).random((2, 3, 64, 64), np.float32)
    for values in yolov3_tiny.forward(x).values():
        assert np.abs(values[0] - values[1]).std() > 0.05


@pytest.mark.parametrize("activation", ["leaky", "mish", "swish", "relu", "relu6", "linear"])
def test_a_deep_network_keeps_its_scale_with_every_activation(activation: str) -> None:
    conv = f"[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\npad=1\nactivation={activation}\n"
    residual = conv * 2 + "[shortcut]\nfrom=-3\nactivation=linear\n"
    cfg = "[net]\nwidth=32\nheight=32\nchannels=3\n" + conv + residual * 8 + conv
    network = darknet_network(cfg, "deep.cfg")
    model = pure_detect.Classifier(network, random_parameters(network, 1))
    for name, values in activations(model, 32):
        assert 0.1 < values.std() < 20, name


def test_every_kind_of_layer_can_be_drawn() -> None:
    cfg = """[net]\nwidth=16\nheight=16\nchannels=3\n[convolutional]\nfilters=4\nactivation=linear
        [implicit]\nfilters=4\n[scale_channels]\nfrom=0\n[batchnorm]
        [shortcut]\nfrom=0\nweights_type=per_channel\nweights_normalization=softmax
        [connected]\noutput=6\nbatch_normalize=1\nactivation=relu\n[connected]\noutput=3\n[softmax]"""
    network = darknet_network(cfg, "x.cfg")
    parameters = random_parameters(network)
    assert {name: values.shape for name, values in parameters.items()} == {
        name: parameter.shape for name, parameter in network.build().parameters.items()
    }
    assert {values.dtype for values in parameters.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(values).all() and values.std() >= 0 for values in parameters.values())


def test_parameters_are_those_of_the_graph_in_float32() -> None:
    network = NETWORKS["yolov3-tiny"]
    parameters = random_parameters(network, 3)
    assert set(parameters) == set(network.build().parameters)
    assert all(values.dtype == np.float32 for values in parameters.values())


def test_batch_norms_are_centred_on_what_reaches_them(yolov3_tiny: Any) -> None:
    """Each channel then has about the mean that its bias says, on pictures like those it was drawn with."""
    x = noise_pictures((2, 3, 128, 128), np.random.default_rng(8))
    parameters = random_parameters(yolov3_tiny.network)
    names = [f"backbone.conv{i}.batch_norm" for i in (1, 2, 3)]
    values = yolov3_tiny.forward(x, keep=names)
    for name in names:
        distance = np.abs(values[name].mean(axis=(0, 2, 3)) - parameters[f"{name}.bias"]).mean()
        assert distance < 0.4, name
