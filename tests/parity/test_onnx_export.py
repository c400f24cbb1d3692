"""`pure-detect export`: what onnxruntime computes from the file is what the reference executor computes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pure_detect
from pure_detect.graph import BatchNormRule, Builder, Graph, Tensor
from pure_detect.models.darknet import read_cfg
from pure_detect.ops import ACTIVATIONS, OPS
from pure_detect.random_weights import noise_pictures
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import find_network
from tests import demo, real_models
from tests.commands import Run, enter_folder
from tests.small_networks import network_of_every_op, random_values
from tests.tolerances import ONNXRUNTIME_LAYER, ONNXRUNTIME_NETWORK

onnx = pytest.importorskip("onnx", reason="needs the extra parity")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra parity")

from pure_detect import onnx_export  # noqa: E402
from pure_detect.onnx_writers import WRITERS  # noqa: E402

pytestmark = pytest.mark.parity

Array = NDArray[Any]
FOLDED = pytest.mark.parametrize("folded", [False, True], ids=["batch_norm", "folded"])

# Every family, every kind of layer, at a small input. Seed 2: under seed 1 efficientdet-d0 enlarges roundings so much
# that our own float32 is 1e-4 off float64.
SEED = 2
NETWORKS = {
    "yolo-fastest-1.1": 64,
    "yolov2": 64,
    "yolov3-tiny": 96,
    "yolov4": 64,
    "yolov4-tiny": 64,
    "ssdlite-mobilenetv3-large": 128,
    "ssdlite-mobilenetv3-small": 128,
    "ssdlite320-mobilenetv3-large": 128,
    "efficientdet-d0": 128,
    "efficientdet-d0-effdet": 128,
    "efficientdet-lite0": 128,
    "tiny-darknet": 64,
    "mobilenetv3-small": 64,
    "mobilenetv3-large-keras": 64,
    "mobilenetv3-small-minimalistic-keras": 64,
    "efficientnet-b0": 64,
}


def run_onnx(model: Any, x: Array) -> dict[str, Array]:
    """Check a model as strictly as the package onnx can, and run it without onnxruntime's own rewriting."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": x})))


def assert_near(found: Mapping[str, Array], expected: Mapping[str, Array], limit: float) -> None:
    """Assert that the outputs are those expected, the worst element within a share of each output's magnitude."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        assert np.abs(found[name] - value).max() <= limit * np.abs(value).max(), name


def assert_same(graph: Graph, *, batch: int | None = 2, folded: bool = False) -> Any:
    """Export a small graph with random parameters, compare it with the reference, and return the ONNX model."""
    values = random_values(graph)
    x = np.random.default_rng(1).normal(0, 2, (2, *graph.input.shape)).astype(np.float32)
    model = onnx_export.onnx_model(graph, values, batch=batch, fold_batch_norm=folded)
    expected = ReferenceExecutor(graph, values)(x)
    assert_near(run_onnx(model, x), {name: expected[name] for name in graph.outputs}, ONNXRUNTIME_LAYER)
    return model


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_every_operation_can_be_written() -> None:
    assert set(WRITERS) == set(OPS)


@FOLDED
@pytest.mark.parametrize("batch", [2, None], ids=["two pictures", "any"])
def test_a_network_of_every_operation_equals_the_reference(batch: int | None, folded: bool) -> None:
    model = assert_same(network_of_every_op(), batch=batch, folded=folded)
    dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (dimension.dim_param or dimension.dim_value) == (batch or "N")
    assert ("BatchNormalization" in operators(model)) is not folded


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_every_activation_equals_the_reference(function: str) -> None:
    net = Builder((3, 5, 4))
    assert_same(net.graph([net.activation(net.image, function, name="activated")]))


def test_tensorflows_hard_sigmoid_is_told_from_the_exact_one() -> None:
    net = Builder((1, 1, 1))
    graph = net.graph([net.activation(net.image, "hard_sigmoid_tf", name="gate")])
    found = run_onnx(onnx_export.onnx_model(graph, {}), np.full((1, 1, 1, 1), 9, np.float32))
    assert found["gate"].item() == np.float32(1.00002)


@FOLDED
@pytest.mark.parametrize("inside", [True, False])
def test_epsilon_stands_where_the_rule_says(inside: bool, folded: bool) -> None:
    net = Builder((3, 4, 5), BatchNormRule(0.3, inside))
    graph = net.graph([net.conv_bn(net.image, 4, kernel=3, activation=None, name="layer")])
    assert_same(graph, folded=folded)


def test_a_convolution_with_bias_is_folded_too() -> None:
    net = Builder((3, 4, 5))
    x = net.batch_norm(net.conv(net.image, 4, kernel=3, name="conv"), name="norm")
    assert operators(assert_same(net.graph([x]), folded=True)) == ["Conv"]


def test_what_something_else_reads_too_is_not_folded() -> None:
    net = Builder((3, 4, 5))
    x = net.conv(net.image, 4, kernel=3, name="conv")
    y = net.batch_norm(x, name="norm")
    for outputs in ([x, y], [net.add([x, y], name="sum")], [net.batch_norm(net.image, name="first")]):
        assert "BatchNormalization" in operators(assert_same(net.graph(outputs), folded=True))


def test_weights_that_two_layers_share_are_stored_once_unless_their_batch_norms_differ() -> None:
    net = Builder((3, 4, 5))
    options = {"kernel": 3, "bias": False, "stored_as": "shared"}
    levels = [net.conv(net.image, 3, name=f"conv{i}", **options) for i in range(2)]
    graph = net.graph([net.batch_norm(x, name=f"norm{i}") for i, x in enumerate(levels)])
    for folded, stored in ((False, 1), (True, 2)):
        tensors = assert_same(graph, folded=folded).graph.initializer
        assert sum(list(tensor.dims) == [3, 3, 3, 3] for tensor in tensors) == stored


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (0, 1, 2, 1), (2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (2, 1)], ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_equal_the_reference(padding: Any, stride: Any, groups: int) -> None:
    net = Builder((4, 7, 10))
    for dilation in (1, 2):
        options = {"kernel": 3, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x = net.conv(net.image, 8, name=f"dilated{dilation}", **options)
        assert_same(net.graph([x]))


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 2, 1)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)], ids=str)
def test_pools_equal_the_reference(padding: Any, stride: Any) -> None:
    net = Builder((2, 7, 10))
    options = {"kernel": 3, "stride": stride, "padding": padding}
    pools = [net.max_pool(net.image, name="most", **options), net.average_pool(net.image, name="mean", **options)]
    assert_same(net.graph(pools))


@pytest.mark.parametrize("size", [(6, 10), (4, 15), (5, 9), (7, 41), (3, 5)], ids=str)
def test_upsampling_equals_the_reference_at_any_size(size: tuple[int, int]) -> None:
    net = Builder((2, 3, 5))
    x = net.upsample_to(net.image, size=size, name="larger")
    for batch in (2, None):
        assert_same(net.graph([x]), batch=batch)


@pytest.mark.parametrize("channels", [(4, 4, 4), (4, 7, 2), (2, 3, 3)], ids=str)
def test_sums_of_unequal_channels_equal_the_reference(channels: tuple[int, ...]) -> None:
    net = Builder((3, 4, 5))
    maps = [net.conv(net.image, count, kernel=1, name=f"map{i}") for i, count in enumerate(channels)]
    sums: list[Tensor] = [net.add(maps, name="plain")]
    for normalization in ("none", "relu", "softmax"):
        for per_channel in (False, True):
            name = f"{normalization}{per_channel}"
            options = {"per_channel": per_channel, "normalization": normalization}
            sums.append(net.weighted_add(maps, name=name, **options))
    assert_same(net.graph(sums))


@pytest.mark.parametrize("factor", [(3, 1, 1), (1, 4, 5), (3, 4, 5)], ids=str)
def test_products_stretch_as_in_the_reference(factor: tuple[int, int, int]) -> None:
    net = Builder((3, 4, 5))
    graph = net.graph([net.multiply(net.image, net.constant(factor, name="factor"), name="product")])
    for batch in (2, None):
        assert_same(graph, batch=batch)


@pytest.mark.parametrize(("groups", "temperature"), [(1, 1.0), (4, 0.5)])
def test_softmax_equals_the_reference(groups: int, temperature: float) -> None:
    net = Builder((8, 3, 1))
    x = net.softmax(net.image, groups=groups, temperature=temperature, name="probabilities")
    assert_same(net.graph([x]))


def network_input(model: Any, pictures: int = 1) -> Array:
    """Return noise as the network takes pictures."""
    pixels = 255 * noise_pictures((pictures, *model.graph.input.shape), np.random.default_rng(3))
    rule = model.preprocessing
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (rule.mean, rule.std))
    return (pixels * np.float32(rule.scale) - mean) / std


def assert_file_equals_reference(model: Any, path: Path, folded: bool) -> None:
    onnx_export.export_onnx(model, path, fold_batch_norm=folded)
    x = network_input(model)
    expected = model.forward(x)
    found = run_onnx(onnx.load(path), x)
    assert_near(found, {name: expected[name] for name in dict.fromkeys(model.graph.outputs)}, ONNXRUNTIME_NETWORK)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_the_reference_on_random_weights(name: str, tmp_path: Path) -> None:
    model = pure_detect.load(name, weights="random", seed=SEED, size=NETWORKS[name], engine="reference")
    for folded in (False, True):
        assert_file_equals_reference(model, tmp_path / f"{folded}.onnx", folded)


@pytest.mark.parametrize("name", demo.NAMES)
def test_networks_equal_the_reference_on_the_weights_of_the_package(name: str, tmp_path: Path) -> None:
    assert_file_equals_reference(pure_detect.load(name, engine="reference"), tmp_path / "demo.onnx", folded=True)


def test_every_family_is_among_the_networks_tried() -> None:
    assert {find_network(name).family for name in NETWORKS} == {"yolo", "ssdlite", "efficientdet", "classifier"}


@FOLDED
@pytest.mark.shared_data
@pytest.mark.parametrize("real", ["FASTEST", "NANO", "YOLO_LITE", "TINY_DARKNET", "SSDLITE_SMALL"])
def test_networks_equal_the_reference_on_real_weights(real: str, folded: bool, data: Path, tmp_path: Path) -> None:
    file = real_models.convert(data, getattr(real_models, real), tmp_path / "real.h5")
    assert_file_equals_reference(pure_detect.load(file, engine="reference"), tmp_path / "real.onnx", folded)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_folder(tmp_path, monkeypatch)


def test_the_command_writes_what_the_options_say(folder: Path, run: Run) -> None:
    size = pure_detect.load("tiny.h5").network.stride * 3
    result = run("export", "tiny.h5", "--out", "tiny.onnx", "--size", f"{2 * size}x{size}", "--batch", "any")
    assert (result.status, result.out) == (0, "")
    model = onnx.load("tiny.onnx")
    dimensions = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dimensions == ["N", 3, size, 2 * size]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["labels"] == '["rot", "grün"]'
    loaded = pure_detect.load("tiny.h5", size=(size, 2 * size))
    assert facts["graph_fingerprint"] == loaded.graph.fingerprint
    x = network_input(loaded, pictures=3)
    assert_near(run_onnx(model, x), loaded.forward(x), ONNXRUNTIME_NETWORK)


def test_random_weights_are_those_of_the_library(folder: Path, run: Run) -> None:
    arguments = ("--weights", "random", "--seed", 5, "--size", 64, "--fold-batch-norm")
    assert run("export", "yolo-fastest-1.1", "--out", "random.onnx", *arguments).status == 0
    model = pure_detect.load("yolo-fastest-1.1", weights="random", seed=5, size=64)
    x = network_input(model)
    assert_near(run_onnx(onnx.load("random.onnx"), x), model.forward(x), ONNXRUNTIME_NETWORK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny.h5", "--out", "absent/tiny.onnx"), "absent/tiny.onnx: cannot be written: No such file or directory"),
        (("tiny.h5", "--out", "home.onnx", "--size", "7"), "must be a multiple of"),
        (("tiny.h5", "--out", "home.onnx", "--weights", "tiny.h5"), "tiny.h5: expected no other weights"),
        (("absent.h5", "--out", "home.onnx"), "absent.h5: expected a weight file, found nothing"),
        (("no-such-network", "--out", "home.onnx"), "no-such-network"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments: Any, message: str, folder: Path, run: Run) -> None:
    before = sorted(path.name for path in folder.iterdir())
    result = run("export", *arguments)
    assert result.status == 1
    assert len(result.errors) == 1
    assert message in result.errors[0]
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_batch_is_a_count_or_any(batch: str, folder: Path, run: Run) -> None:
    assert run("export", "tiny.h5", "--out", "tiny.onnx", "--batch", batch).status == 2


def test_without_the_package_onnx_the_error_names_the_extra(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in ("pure_detect.onnx_export", "pure_detect.onnx_writers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    result = run("export", "tiny.h5", "--out", "tiny.onnx")
    assert result.status == 1
    assert "pure-detect[bench]" in result.errors[0]


def test_a_network_over_protobufs_limit_is_refused_before_anything_is_written(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "MOST_BYTES", 1000)
    result = run("export", "tiny.h5", "--out", "tiny.onnx")
    assert "protobuf" in result.errors[0]
    assert not list(folder.glob("*onnx*"))


@pytest.mark.shared_data
def test_a_cfg_takes_its_weights_by_option(data: Path, folder: Path, run: Run) -> None:
    cfg = data / "weights" / real_models.FASTEST.cfg
    file = real_models.convert(data, real_models.FASTEST, folder / "xl.h5")
    assert run("export", cfg, "--weights", file, "--out", "xl.onnx").status == 0
    assert {o.name for o in onnx.load("xl.onnx").graph.output} == set(read_cfg(cfg).build().outputs)
