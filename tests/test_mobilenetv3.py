"""MobileNetV3's classifiers: published counts, the paper's tables, and the names in Keras's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.errors import InputError
from pure_detect.models.blocks import make_divisible
from pure_detect.models.mobilenetv3 import (
    MOBILENETV3_LARGE,
    MOBILENETV3_LARGE_KERAS,
    MOBILENETV3_LARGE_MINIMALISTIC_KERAS,
    MOBILENETV3_SMALL,
    MOBILENETV3_SMALL_KERAS,
    MOBILENETV3_SMALL_MINIMALISTIC_KERAS,
)
from pure_detect.network import Network
from weights_convert.names.frameworks import keras_3_spelling
from weights_convert.sources import NAMES, convert, format_of

Array = NDArray[Any]
CLASSIFIERS = [
    MOBILENETV3_LARGE,
    MOBILENETV3_SMALL,
    MOBILENETV3_LARGE_KERAS,
    MOBILENETV3_SMALL_KERAS,
    MOBILENETV3_LARGE_MINIMALISTIC_KERAS,
    MOBILENETV3_SMALL_MINIMALISTIC_KERAS,
]

# (channels, size) of each bottleneck's output, read off the next row's input in Tables 1 and 2 of the paper.
LARGE_ROWS = [(16, 112)] + 2 * [(24, 56)] + 3 * [(40, 28)] + 4 * [(80, 14)] + 2 * [(112, 14)] + 3 * [(160, 7)]
SMALL_ROWS = [(16, 56)] + 2 * [(24, 28)] + 3 * [(40, 14)] + 2 * [(48, 14)] + 3 * [(96, 7)]


@pytest.mark.parametrize(
    ("network", "learnable", "statistics"),
    [
        (MOBILENETV3_LARGE, 5_483_032, 24_400),  # torchvision's `num_params` in the metadata of its weights
        (MOBILENETV3_SMALL, 2_542_856, 12_112),
        (MOBILENETV3_LARGE_KERAS, 5_483_032, 24_400),  # together Keras's count_params(): 5,507,432
        (MOBILENETV3_SMALL_KERAS, 2_542_856, 12_112),  # 2,554,968
        (MOBILENETV3_LARGE_MINIMALISTIC_KERAS, 3_924_288, 24_400),  # 3,948,688
        (MOBILENETV3_SMALL_MINIMALISTIC_KERAS, 2_044_736, 12_112),  # 2,056,848
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_parameter_counts_are_the_published_ones(network: Network, learnable: int, statistics: int) -> None:
    graph = network.build()
    assert (graph.learnable_count, graph.statistics_count) == (learnable, statistics)


def test_multiply_adds_are_the_papers_to_two_percent() -> None:
    """Section 6.1.2, Table 3: 219 and 56 million."""
    assert MOBILENETV3_LARGE.build().multiply_adds == pytest.approx(219e6, rel=0.02)
    assert MOBILENETV3_SMALL.build().multiply_adds == pytest.approx(56e6, rel=0.02)


@pytest.mark.parametrize("network", CLASSIFIERS, ids=lambda network: network.name)
def test_every_shape_is_the_papers(network: Network) -> None:
    shapes = {node.name: node.shape for node in network.build().nodes}
    rows, last, hidden = (LARGE_ROWS, 960, 1280) if "large" in network.name else (SMALL_ROWS, 576, 1024)
    found = [shapes[f"backbone.bottleneck{i}.project.batch_norm"] for i in range(len(rows))]
    assert found == [(channels, size, size) for channels, size in rows]
    assert shapes["backbone.stem.activation"] == (16, 112, 112)
    assert shapes["backbone.last.activation"] == (last, 7, 7)
    assert shapes["pool"] == (last, 1, 1)
    assert shapes["classifier.hidden.activation"] == (hidden, 1, 1)
    assert shapes["probabilities"] == (1000, 1, 1)


@pytest.mark.parametrize("network", CLASSIFIERS, ids=lambda network: network.name)
def test_minimalistic_variants_have_small_kernels_and_relu_only(network: Network) -> None:
    nodes = network.build().nodes
    functions = {node.attributes["function"] for node in nodes if node.op == "activation"}
    kernels = {node.parameters["weight"].shape[2] for node in nodes if node.op == "conv2d"}
    if "minimalistic" in network.name:
        assert (functions, kernels) == ({"relu"}, {1, 3})
    else:
        assert (functions, kernels) == ({"relu", "hard_swish", "hard_sigmoid"}, {1, 3, 5})


@pytest.mark.parametrize(("value", "expected"), [(4, 8), (18, 24), (30, 32), (24, 24), (60, 64), (36, 40), (11.9, 16)])
def test_squeezed_channels_are_multiples_of_8_and_never_more_than_a_tenth_too_few(value: float, expected: int) -> None:
    assert make_divisible(value) == expected


# Keras's files


def write_keras(path: Path, tensors: Mapping[str, Array]) -> Path:
    """Write tensors by `LAYER/WEIGHT:0`, as Keras 2 and 3 lay out a file of weights."""
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.rpartition("/")[0], []).append(name)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, names in layers.items():
            group = file.create_group(layer) if layer not in file else file[layer]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = tensors[name]
    return path


def keras_tensors(network: Network) -> dict[str, Array]:
    """Return every tensor of a network, distinct, under Keras 3's names and in Keras's layouts."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Array] = {}
    shapes = network.build().parameters
    for pair in NAMES[network.name]["keras"].pairs():
        shape = shapes[pair.ours].shape
        if len(shape) == 4:
            depthwise = "depthwise" in pair.theirs
            shape = tuple(shape[axis] for axis in ((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
        tensors[pair.theirs] = rng.standard_normal(shape, np.float32)
    return tensors


def keras_2_name(name: str) -> str:
    """Spell a name as `applications/mobilenet_v3.py` of Keras 2 does."""
    layer, weight = name.split("/")
    layer = re.sub("_bn$", "/BatchNorm", layer)
    layer = re.sub("_(expand|depthwise|project|squeeze_excite)(?!ed)", r"/\1", layer)
    layer = re.sub("squeeze_excite_conv", "squeeze_excite/Conv", layer)
    layer = re.sub("^(conv|logits)", lambda match: match[0].capitalize(), layer)
    return f"{layer}/depthwise_{weight}" if layer.endswith("/depthwise") else f"{layer}/{weight}"


def test_names_of_keras_2_are_spelled_as_those_of_keras_3() -> None:
    assert keras_3_spelling("Conv/BatchNorm/gamma:0") == "conv_bn/gamma:0"
    assert keras_3_spelling("expanded_conv/depthwise/depthwise_kernel:0") == "expanded_conv_depthwise/kernel:0"
    assert (
        keras_3_spelling("expanded_conv_3/squeeze_excite/Conv_1/bias:0")
        == "expanded_conv_3_squeeze_excite_conv_1/bias:0"
    )
    assert keras_3_spelling("expanded_conv_1/expand/BatchNorm/beta:0") == "expanded_conv_1_expand_bn/beta:0"
    assert keras_3_spelling("Logits/kernel:0") == "logits/kernel:0"


@pytest.mark.parametrize("network", CLASSIFIERS[2:], ids=lambda network: network.name)
def test_files_of_keras_2_and_3_convert_to_the_same_parameters(network: Network, tmp_path: Path) -> None:
    tensors = keras_tensors(network)
    older = {keras_2_name(name): values for name, values in tensors.items()}
    assert not set(older) & set(tensors)
    rule = network.batch_norm_rule
    ours, source = convert(write_keras(tmp_path / "3.h5", tensors), network, rule)
    again, _ = convert(write_keras(tmp_path / "2.h5", older), network, rule)
    assert source.format == "keras"
    assert set(ours) == set(again) == set(network.build().parameters)
    for name, values in ours.items():
        np.testing.assert_array_equal(again[name], values, name)
    np.testing.assert_array_equal(ours["classifier.logits.weight"][:, :, 0, 0], tensors["logits/kernel:0"][0, 0].T)


def test_a_tensor_in_two_spellings_is_refused(tmp_path: Path) -> None:
    tensors = {**keras_tensors(MOBILENETV3_SMALL_KERAS), "Conv/kernel:0": np.zeros((3, 3, 3, 16), np.float32)}
    path = write_keras(tmp_path / "both.h5", tensors)
    with pytest.raises(InputError, match=r"both\.h5: expected every tensor under one name"):
        convert(path, MOBILENETV3_SMALL_KERAS, MOBILENETV3_SMALL_KERAS.batch_norm_rule)


def test_keras_files_of_another_network_are_refused_with_the_tensors(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "large.h5", keras_tensors(MOBILENETV3_LARGE_KERAS))
    assert format_of(path) == "keras"
    with pytest.raises(InputError, match=r"expanded_conv_14_project_bn/moving_variance:0 \(160,\): unknown"):
        convert(path, MOBILENETV3_SMALL_KERAS, MOBILENETV3_SMALL_KERAS.batch_norm_rule)
    with pytest.raises(InputError, match=r"expected a file of pytorch for mobilenetv3-large, found keras"):
        convert(path, MOBILENETV3_LARGE, MOBILENETV3_LARGE.batch_norm_rule)
