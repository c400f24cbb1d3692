"""Winograd's method in the fast engine equals the reference convolution, and is chosen where it pays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.engine import winograd_plan
from pure_detect.engine.executor import FastExecutor
from pure_detect.engine.kernel_table import BY_NAME
from pure_detect.engine.packing import CLAMPS, OTHERS
from pure_detect.engine.simd import LANES
from pure_detect.engine.winograd_transforms import FILTERS
from pure_detect.graph import Builder, Graph, Node, Tensor
from pure_detect.reference import ReferenceExecutor
from tests.adversarial_shapes import CONVS, Conv, signed
from tests.tolerances import FLOAT32_EPSILON

Array = NDArray[Any]

# Worst error over the largest output: 1.0e-6 on adversarial shapes, 5.2e-6 on the deepest sum (direct: 4e-7, 2.2e-6).
LIMIT = 1e-5

STRIDES = [(1, 1), (2, 2)]
SHAPES = [c for c in CONVS if c.kernel == (3, 3) and c.stride in STRIDES and c.dilation == (1, 1) and c.groups == 1]
both_strides = pytest.mark.parametrize("stride", [1, 2])


@pytest.fixture(autouse=True)
def always_winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use Winograd's method wherever it can be used, whatever it costs."""
    dear = winograd_plan.Costs(1, 0, 0, 0, 0)
    monkeypatch.setattr(winograd_plan, "costs", lambda node: dear)


@dataclass
class Case:
    """A network with its parameters and a picture, and both executors' results."""

    graph: Graph
    parameters: dict[str, Array]
    picture: Array

    def errors(self, **options: Any) -> dict[str, float]:
        """Return the worst error of each output, over the largest number in it."""
        fast = FastExecutor(self.graph, self.parameters, **options)
        exact = ReferenceExecutor(self.graph, self.parameters, np.float64)(self.picture.astype(np.float64))
        kernels = [step.kernel for step in fast.plan().steps]
        assert any("winograd" in kernel for kernel in kernels) == (options.get("precision") != "direct"), kernels
        got = fast(self.picture)
        return {name: float(np.abs(got[name] - exact[name]).max() / np.abs(exact[name]).max()) for name in exact}


def case(builder: Builder, *outputs: Tensor, seed: int = 0) -> Case:
    graph = builder.graph(outputs)
    random = np.random.default_rng(seed)
    stored = [p for n in graph.nodes for p in n.parameters.values()]
    parameters = {
        p.name: (random.standard_normal(p.shape) / np.sqrt(np.prod(p.shape[1:]))).astype(np.float32) for p in stored
    }
    return Case(graph, parameters, signed((1, *graph.input.shape), seed))


def one_conv(channels: int, height: int, width: int, out: int, activation: str | None = None, **options: Any) -> Case:
    """Return a network whose second convolution reads a map, which only maps in blocks of channels allow."""
    builder = Builder((3, height, width))
    x = builder.conv(builder.image, channels, kernel=1, name="before")
    y = builder.conv(x, out, kernel=3, name="conv", **options)
    return case(builder, builder.activation(y, activation, name="activation") if activation else y)


def node(channels: int, size: int, out: int, **options: Any) -> Node:
    builder = Builder((channels, size, size))
    return builder.graph([builder.conv(builder.image, out, kernel=3, name="conv", **options)]).nodes[0]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
def test_adversarial_shapes_equal_the_reference(shape: Conv) -> None:
    _, channels, height, width = shape.shape
    network = one_conv(channels, height, width, shape.out_channels, stride=shape.stride, padding=shape.padding)
    assert max(network.errors().values()) < LIMIT


@both_strides
@pytest.mark.parametrize("channels", range(1, 34, 4))
def test_channels_need_no_multiple_of_the_vector_width(channels: int, stride: int) -> None:
    assert max(one_conv(channels, 9, 6, 34 - channels, stride=stride).errors().values()) < LIMIT


@both_strides
@pytest.mark.parametrize("height", range(1, 19))
def test_maps_need_no_multiple_of_the_tile(height: int, stride: int) -> None:
    assert max(one_conv(5, height, 22 - height, 9, stride=stride).errors().values()) < LIMIT


@both_strides
@pytest.mark.parametrize("padding", [0, 1, 2, (0, 0, 1, 1), (1, 0, 2, 3)], ids=str)
@pytest.mark.parametrize("size", [(16, 23), (17, 8)], ids=str)
def test_padding_may_differ_from_side_to_side(size: tuple[int, int], padding: Any, stride: int) -> None:
    assert max(one_conv(9, *size, 7, stride=stride, padding=padding).errors().values()) < LIMIT


@both_strides
@pytest.mark.parametrize("shape", [(3, 37, 40, 9), (70, 21, 18, 33), (300, 9, 11, 20)], ids=str)
def test_every_element_is_within_its_sums_roundings(shape: tuple[int, int, int, int], stride: int) -> None:
    network = one_conv(*shape, stride=stride)
    network.picture = np.random.default_rng(1).normal(0, 1, network.picture.shape).astype(np.float32)
    absolute = {name: np.abs(value) for name, value in network.parameters.items()}
    magnitude = ReferenceExecutor(network.graph, absolute, np.float64)(np.abs(network.picture).astype(np.float64))
    exact = ReferenceExecutor(network.graph, network.parameters, np.float64)(network.picture.astype(np.float64))
    off = np.abs(FastExecutor(network.graph, network.parameters)(network.picture)["conv"] - exact["conv"])
    assert (off / magnitude["conv"]).max() < BY_NAME["conv2d_winograd"].units * FLOAT32_EPSILON


@both_strides
@pytest.mark.parametrize(("height", "width"), [(70, 59), (1, 900), (57, 203)])
def test_large_maps_are_done_by_strips(height: int, width: int, stride: int) -> None:
    network = one_conv(10, height * stride, width * stride, 20, activation="leaky_relu", stride=stride)
    assert winograd_plan.blocking(network.graph.nodes[1]).strips
    assert max(network.errors().values()) < LIMIT


def test_small_maps_of_few_tiles_take_the_smaller_tiles() -> None:
    assert [winograd_plan.tile_size(node(8, size, 8)) for size in (1, 2, 4, 13)] == [2, 2, 4, 4]


@both_strides
def test_deep_sums_are_made_in_parts(stride: int) -> None:
    network = one_conv(LANES * 150, 5, 6, 3, stride=stride)
    assert winograd_plan.blocking(network.graph.nodes[1]).depth < 150
    assert max(network.errors().values()) < LIMIT


@both_strides
@pytest.mark.parametrize("activation", [*(name for name in CLAMPS if name), *OTHERS])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10)], ids=["whole_tiles", "cut_tiles"])
def test_every_activation_is_fused(activation: str, height: int, width: int, stride: int) -> None:
    network = one_conv(6, height, width, 11, activation=activation, stride=stride)
    network.picture = np.random.default_rng(1).normal(0, 3, network.picture.shape).astype(np.float32)  # not saturated
    assert max(network.errors().values()) < LIMIT


@pytest.mark.parametrize("activation", ["leaky_relu", "mish", None])
@pytest.mark.parametrize("size", [(8, 12), (9, 7), (61, 66)], ids=str)
def test_residual_sum_comes_after_the_activation(activation: str | None, size: tuple[int, int]) -> None:
    builder = Builder((3, *size))
    x = builder.conv(builder.image, 18, kernel=1, name="before")
    y = builder.conv(x, 18, kernel=3, name="conv")
    y = builder.activation(y, activation, name="activation") if activation else y
    network = case(builder, builder.add([y, x], name="sum"))
    assert max(network.errors().values()) < LIMIT


@pytest.mark.parametrize("activation", ["leaky_relu", "mish"])
@pytest.mark.parametrize("size", [(16, 24), (9, 13)], ids=str)
def test_residual_sum_is_added_to_a_convolution_of_stride_2(activation: str, size: tuple[int, int]) -> None:
    builder = Builder((3, *size))
    x = builder.conv(builder.image, 18, kernel=1, name="before")
    shortcut = builder.conv(x, 18, kernel=1, stride=2, padding=0, name="shortcut")
    y = builder.activation(builder.conv(x, 18, kernel=3, stride=2, name="conv"), activation, name="activation")
    network = case(builder, builder.add([y, shortcut], name="sum"))
    assert max(network.errors().values()) < LIMIT


@both_strides
def test_outputs_are_views_of_a_concatenation_with_a_border(stride: int) -> None:
    builder = Builder((3, 10, 7))
    x = builder.conv(builder.image, 12, kernel=1, name="before")
    parts = [builder.conv(x, out, kernel=3, stride=stride, name=f"part{out}") for out in (LANES, 2 * LANES, 5)]
    whole = builder.concat(parts, name="whole")
    network = case(builder, whole, builder.conv(whole, 6, kernel=5, name="after"))
    assert max(network.errors().values()) < LIMIT


@both_strides
def test_border_is_zero_again_for_the_second_picture(stride: int) -> None:
    builder = Builder((3, 11 * stride**4, 9 * stride**4))
    x = builder.conv(builder.image, 12, kernel=1, name="before")
    for i in range(4):  # maps that share memory
        x = builder.conv(x, 9 + i, kernel=3, stride=stride, name=f"conv{i}")
    network = case(builder, x)
    fast = FastExecutor(network.graph, network.parameters)
    first = fast(network.picture)["conv3"]
    fast(1e6 * network.picture)
    np.testing.assert_array_equal(fast(network.picture)["conv3"], first)


@both_strides
def test_result_does_not_depend_on_the_number_of_threads(stride: int) -> None:
    network = one_conv(20, 61 * stride, 67 * stride, 24, stride=stride)
    one, three = (FastExecutor(network.graph, network.parameters, threads=n)(network.picture)["conv"] for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_direct_precision_does_without_it() -> None:
    for stride in (1, 2):
        assert max(one_conv(8, 9, 9, 8, stride=stride).errors(precision="direct").values()) < LIMIT


@pytest.mark.parametrize("m", [2, 4])
def test_filter_matrix_interpolates_at_distinct_points(m: int) -> None:
    filters = FILTERS[m]
    assert filters.shape == (m + 2, 3)
    finite = filters[:-1] / filters[:-1, :1]
    np.testing.assert_allclose(finite[:, 2], finite[:, 1] ** 2, atol=1e-15)
    assert len({round(point, 12) for point in finite[:, 1]}) == m + 1


def test_filter_matrix_of_stride_2_interpolates_the_outer_taps_and_keeps_the_middle_one() -> None:
    *outer, middle = FILTERS[8]
    np.testing.assert_array_equal(middle, [0, 1, 0])
    np.testing.assert_array_equal(outer[4], [0, 0, 1])
    assert [row[:2].tolist() for row in outer[:4]] == [[1, 0]] * 4
    assert len({round(row[2], 12) for row in outer[:4]}) == 4


@pytest.mark.parametrize(
    "options",
    [{"stride": 3}, {"stride": (1, 2)}, {"stride": (2, 1)}, {"dilation": 2, "padding": 2}, {"groups": 2}],
    ids=str,
)
def test_other_convolutions_do_not_suit(options: dict[str, Any]) -> None:
    assert winograd_plan.suits(node(8, 12, 8))
    assert not winograd_plan.suits(node(8, 12, 8, **options))


def test_costs_leave_tiny_maps_with_many_weights_to_the_direct_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not winograd_plan.suits(node(256, 1, 256))
    assert not winograd_plan.suits(node(256, 2, 256))
    for channels, size in ((32, 208), (64, 104), (128, 52), (256, 26), (512, 13)):  # YOLOv3's
        assert winograd_plan.suits(node(channels, size, 2 * channels))
        assert winograd_plan.suits(node(channels, 2 * size, 2 * channels, stride=2))
    assert not winograd_plan.suits(node(8, 208, 8, stride=2))
    assert not winograd_plan.suits(node(512, 6, 512, stride=2))
