"""Every fast kernel against the reference kernels in float64, on the shapes that break kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect import jit, ops
from pure_detect.engine import amx
from pure_detect.engine.executor import FastExecutor
from pure_detect.engine.kernel_table import BY_NAME, KERNELS, kernel_for
from pure_detect.engine.layout import LINE
from pure_detect.engine.placement import Placement
from pure_detect.engine.simd import LANES
from pure_detect.graph import Builder, Graph, Parameter, Tensor
from pure_detect.ops.activation import ACTIVATIONS
from pure_detect.reference import ReferenceExecutor
from tests.adversarial_shapes import CONVS, MAPS, POOLS, Conv, Pool, signed
from tests.tolerances import FAST_ACTIVATION, FLOAT32_EPSILON

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(not jit.is_compiling(), reason="the fast engine exists compiled only")


def record(shape: tuple[int, ...], define: Callable[[Builder, Tensor], Tensor | list[Tensor]]) -> Graph:
    """Record a small network behind a 1x1 stem, so that its input is a map of the arena and not the picture."""
    net = Builder((3, *shape[2:]))
    x = net.conv(net.image, shape[1], kernel=1, bias=False, name="stem")
    outputs = define(net, x)
    return net.graph(outputs if isinstance(outputs, list) else [outputs])


def parameters_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Draw parameters of both signs; the stem passes on sums of the picture's planes."""
    random = np.random.default_rng(seed)
    drawn = {}
    for name, parameter in graph.parameters.items():
        values = random.normal(0, 1, parameter.shape)
        if name.endswith((".variance", ".scale")):
            values = np.abs(values) + 0.1
        drawn[name] = values.astype(np.float32)
    return drawn


def kernels_of(graph: Graph, parameters: dict[str, Array], **options: Any) -> list[str]:
    """Return the names of the kernels that a graph's plan has."""
    return [made.kernel.split()[0] for made in FastExecutor(graph, parameters, **options).plan().steps]


def compare(
    graph: Graph, n: int = 1, units: float = 8, magnitude: Callable[..., Array] | None = None, **options: Any
) -> None:
    """Compare every output with the reference in float64: each element by its own bound."""
    parameters = parameters_of(graph)
    x = signed((n, *graph.input.shape), seed=1)
    fast = FastExecutor(graph, parameters, **options)(x)
    exact = ReferenceExecutor(graph, parameters, np.float64)(x)
    assert set(fast) == set(exact)
    for name, value in exact.items():
        assert fast[name].shape == value.shape
        assert fast[name].dtype == np.float32
        scale = np.abs(value) if magnitude is None else magnitude(x, parameters)
        excess = np.abs(fast[name] - value) - units * FLOAT32_EPSILON * scale
        assert excess.max(initial=0) <= 0, f"{name}: off by {excess.max():.3g} more than the bound"


def conv_magnitude(case: Conv) -> Callable[..., Array]:
    """Return a function for conv(|x|, |w|) + |b|: what a sum's rounding is measured by."""

    def magnitude(x: Array, parameters: dict[str, Array]) -> Array:
        absolute = {name: np.abs(value).astype(np.float64) for name, value in parameters.items()}
        inner = ops.conv2d(np.abs(x).astype(np.float64), absolute["stem.weight"])
        return ops.conv2d(inner, absolute["conv.weight"], absolute["conv.bias"], **case.options)

    return magnitude


def add_conv(case: Conv, net: Builder, x: Tensor) -> Tensor:
    weight = case.weight_shape
    stored = {"weight": Parameter("conv.weight", weight), "bias": Parameter("conv.bias", (weight[0],))}
    return net.add_node("conv2d", "conv", [x], stored, **case.options)


def conv_graph(case: Conv) -> Graph:
    return record(case.shape, partial(add_conv, case))


@pytest.mark.parametrize("precision", ["direct", "winograd"])
@pytest.mark.parametrize("case", CONVS, ids=lambda case: case.id)
def test_a_convolution_equals_the_reference_within_its_sums_roundings(case: Conv, precision: str) -> None:
    graph = conv_graph(case)
    kernels = kernels_of(graph, parameters_of(graph), precision=precision)
    units = max(BY_NAME[name].units for name in kernels if name in BY_NAME)
    compare(graph, case.shape[0], units, conv_magnitude(case), precision=precision)


@pytest.mark.parametrize("case", CONVS, ids=lambda case: case.id)
def test_a_convolution_of_the_picture_equals_the_reference_whatever_it_sees_of_it(case: Conv) -> None:
    net = Builder(case.shape[1:])
    graph = net.graph([add_conv(case, net, net.image)])

    def magnitude(x: Array, parameters: dict[str, Array]) -> Array:
        absolute = {name: np.abs(value).astype(np.float64) for name, value in parameters.items()}
        return ops.conv2d(np.abs(x).astype(np.float64), absolute["conv.weight"], absolute["conv.bias"], **case.options)

    compare(graph, case.shape[0], magnitude=magnitude)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (7, 2)])
@pytest.mark.parametrize("of", ["picture", "map"])
@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_a_wide_convolution_equals_the_reference_by_every_kind_of_tile(
    kernel: int, stride: int, of: str, blocks: int
) -> None:
    case = Conv("wide", (1, 11, kernel + 4 * stride, 61 * stride), blocks * LANES - 1, (kernel,) * 2, (stride,) * 2)
    if of == "map":
        compare(conv_graph(case), magnitude=conv_magnitude(case), precision="direct")
        return
    net = Builder((3, *case.shape[2:]))
    conv = net.conv(net.image, case.out_channels, kernel=kernel, stride=stride, bias=False, name="conv")

    def magnitude(x: Array, parameters: dict[str, Array]) -> Array:
        weight = np.abs(parameters["conv.weight"]).astype(np.float64)
        return ops.conv2d(np.abs(x).astype(np.float64), weight, stride=case.stride, padding=(kernel // 2,) * 4)

    compare(net.graph([conv]), magnitude=magnitude)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["conv", "depthwise", "winograd", "alone"])
def test_every_activation_equals_the_reference_wherever_it_is_done(activation: str, kind: str) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        x = net.activation(x, "sigmoid", name="small")  # so that the values lie where the functions bend
        if kind == "conv":
            x = net.conv(x, 19, kernel=1, name="conv")
        elif kind == "depthwise":
            x = net.conv(x, 17, kernel=3, groups=17, name="conv")
        elif kind == "winograd":
            x = net.conv(x, 9, kernel=3, name="conv")
        return net.activation(x, activation, name="activation")

    graph = record((1, 17, 7, 10), define)
    parameters = parameters_of(graph)
    x = signed((1, 3, 7, 10), seed=1)
    fast = FastExecutor(graph, parameters)(x)["activation"]
    exact = ReferenceExecutor(graph, parameters, np.float64)(x)["activation"]
    assert np.abs(fast - exact).max() <= FAST_ACTIVATION * max(1, np.abs(exact).max())


@pytest.mark.parametrize("activation", ["swish", "mish", "sigmoid", "hard_swish"])
def test_activations_far_from_zero_neither_overflow_nor_vanish(activation: str) -> None:
    net = Builder((1, 1, 64))
    y = net.activation(net.conv(net.image, 1, kernel=1, bias=False, name="stem"), activation, name="y")
    graph = net.graph([y])
    x = np.linspace(-200, 200, 64, dtype=np.float32).reshape(1, 1, 1, 64)
    parameters = {"stem.weight": np.ones((1, 1, 1, 1), np.float32)}
    fast, exact = FastExecutor(graph, parameters)(x)["y"], ReferenceExecutor(graph, parameters, np.float64)(x)["y"]
    # x e^x is computed as x e^-43 below -43, where a float32 near x cannot tell it from zero.
    smallest = 43 if activation == "swish" else 87
    np.testing.assert_allclose(fast, exact, rtol=2e-6, atol=201 * np.exp(-float(smallest)))


@pytest.mark.parametrize("activation", ["swish", "mish", "sigmoid"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_activation_of_what_is_not_finite_spoils_no_other_pixel(activation: str, value: float) -> None:
    net = Builder((1, 3, 7))
    y = net.activation(net.conv(net.image, 1, kernel=1, bias=False, name="stem"), activation, name="y")
    executor = FastExecutor(net.graph([y]), {"stem.weight": np.ones((1, 1, 1, 1), np.float32)})
    x = signed((1, 1, 3, 7), seed=1)
    whole = executor(x)["y"]
    x[0, 0, 1, 3] = value
    spoilt = executor(x)["y"]
    if np.isnan(value):
        assert np.isnan(spoilt[0, 0, 1, 3])
    spoilt[0, 0, 1, 3] = whole[0, 0, 1, 3]
    np.testing.assert_allclose(spoilt, whole, rtol=1e-6)  # pairs that share a division round together


@pytest.mark.parametrize("kind", ["max_pool", "average_pool"])
@pytest.mark.parametrize("case", POOLS, ids=lambda case: case.id)
def test_pools_equal_the_reference(case: Pool, kind: str) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        return net.add_node(kind, "pool", [x], **case.options)

    graph = record(case.shape, define)
    compare_by_largest(graph, case.shape[0])


def compare_by_largest(graph: Graph, n: int = 1, units: float = 16, **options: Any) -> None:
    """Compare by the largest value of each output, for chains of operations on values of one size."""
    parameters = parameters_of(graph)
    x = np.random.default_rng(2).normal(0, 1, (n, *graph.input.shape)).astype(np.float32)
    fast = FastExecutor(graph, parameters, **options)(x)
    for name, value in ReferenceExecutor(graph, parameters, np.float64)(x).items():
        assert fast[name].shape == value.shape
        scale = np.abs(value).max(initial=1e-30)
        assert np.abs(fast[name] - value).max(initial=0) <= units * FLOAT32_EPSILON * scale, name


@pytest.mark.parametrize("shape", [shape for _, shape in MAPS], ids=[name for name, _ in MAPS])
@pytest.mark.parametrize(
    "operation", ["add", "weighted", "norm", "global", "upsample", "upsample_odd", "concat", "slice", "softmax"]
)
def test_operations_on_whole_maps_equal_the_reference(operation: str, shape: tuple[int, ...]) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        C, H, W = x.shape
        y = net.activation(x, "relu", name="other")
        if operation == "add":
            return net.add([x, y, x], name="result")
        if operation == "weighted":
            return net.weighted_add([x, y], per_channel=True, normalization="softmax", name="result")
        if operation == "norm":
            return net.activation(net.batch_norm(net.add([x, y], name="sum"), name="norm"), "mish", name="result")
        if operation == "global":
            return net.global_average_pool(x, name="result")
        if operation == "upsample":
            return net.upsample(x, factor=2, name="result")
        if operation == "upsample_odd":
            return net.upsample_to(x, size=(2 * H + 1, 3 * W - 1), name="result")
        if operation == "concat":  # begins anywhere within a block, and one map comes twice
            return net.concat([x, y, x], name="result")
        if operation == "slice":
            return net.channel_slice(x, start=C // 2, stop=C, name="result")
        return net.softmax(x, name="result")

    graph = record(shape, define)
    compare_by_largest(graph, shape[0])


def squeeze(net: Builder, x: Tensor, hidden: int, behind: str, outputs: int = 21) -> Tensor:
    y = net.global_average_pool(x, name="pool")
    y = net.activation(net.conv(y, hidden, kernel=1, name="reduce"), "relu", name="relu")
    y = net.activation(net.conv(y, x.shape[0], kernel=1, name="expand"), "hard_sigmoid", name="gate")
    y = net.multiply(x, y, name="scaled")
    if behind == "1x1":
        return net.conv(y, outputs, kernel=1, name="project")
    return net.conv(y, outputs, kernel=3, name="project")


@pytest.mark.parametrize("behind", ["1x1", "3x3"])
@pytest.mark.parametrize("before", ["depthwise", "expand", "conv"])
@pytest.mark.parametrize("channels", [1, 8, 33, 40])
def test_squeeze_and_excite_equals_the_reference_fused_or_not(channels: int, before: str, behind: str) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        if before == "expand":
            x = net.activation(net.conv(x, channels, kernel=1, name="wide"), "swish", name="wide.swish")
        if before != "conv" and channels > 1:
            x = net.conv(x, channels, kernel=5, groups=channels, stride=2, name="depthwise")
        return squeeze(net, net.activation(x, "relu6", name="before"), 5, behind)

    graph = record((1, channels, 9, 14), define)
    kernels = kernels_of(graph, parameters_of(graph))
    assert ("channel_gates" in kernels) == (behind == "1x1")
    compare_by_largest(graph, units=64)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (4, 3)])
@pytest.mark.parametrize("shape", [(1, 5, 7, 10), (2, 24, 13, 4), (1, 40, 33, 3), (1, 17, 1, 1), (1, 16, 64, 20)])
def test_an_expansion_and_its_depthwise_convolution_equal_the_reference(
    kernel: int, stride: int, shape: tuple[int, ...]
) -> None:
    channels = 3 * shape[1]

    def define(net: Builder, x: Tensor) -> Tensor:
        y = net.activation(net.conv(x, channels, kernel=1, name="wide"), "swish", name="wide.swish")
        y = net.conv(y, channels, kernel=kernel, stride=stride, groups=channels, padding="same", name="depthwise")
        y = net.activation(net.batch_norm(y, name="norm"), "hard_swish", name="depthwise.hard_swish")
        return net.conv(y, 9, kernel=1, name="project")

    graph = record(shape, define)
    assert "expand_depthwise" in kernels_of(graph, parameters_of(graph))
    compare_by_largest(graph, shape[0], units=64)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (4, 3), (7, 2)])
@pytest.mark.parametrize("depthwise", [(3, 1), (3, 2), (5, 1), (5, 2), (7, 3)])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 9, 7), (16, 3, 90), (40, 33, 61)])
def test_a_convolution_of_the_picture_and_the_depthwise_one_behind_it_equal_the_reference(
    kernel: int, stride: int, depthwise: tuple[int, int], channels: int, height: int, width: int
) -> None:
    net = Builder((3, height, width))
    y = net.conv(net.image, channels, kernel=kernel, stride=stride, padding="same", bias=False, name="stem")
    y = net.activation(net.batch_norm(y, name="stem.norm"), "swish", name="stem.swish")
    y = net.conv(y, channels, kernel=depthwise[0], stride=depthwise[1], groups=channels, padding="same", name="deep")
    graph = net.graph([net.conv(net.activation(y, "relu6", name="deep.relu6"), 9, kernel=1, name="project")])
    assert kernels_of(graph, parameters_of(graph)) == ["expand_depthwise", "conv2d_direct"]
    compare_by_largest(graph, 2, units=64)


@pytest.mark.parametrize("precision", ["direct", "winograd", "bf16x3"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("order", ["residual first", "residual last"])
def test_a_residual_is_added_after_the_activation(kernel: int, order: str, precision: str) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        y = net.conv_bn(x, x.shape[0], kernel=kernel, activation="leaky_relu", name="block")
        pair = [x, y] if order == "residual first" else [y, x]
        return net.conv(net.add(pair, name="add"), 6, kernel=1, name="end")

    graph = record((1, 19, 11, 6), define)
    assert "weighted_sum" not in kernels_of(graph, parameters_of(graph), precision=precision)
    compare_by_largest(graph, units=200, precision=precision)


def test_a_map_that_a_view_in_a_concatenation_needs_a_border_for_has_one() -> None:
    def define(net: Builder, x: Tensor) -> list[Tensor]:
        a = net.conv_bn(x, 2 * LANES, kernel=3, activation="relu", name="a")
        b = net.upsample(net.max_pool(a, kernel=2, stride=2, name="half"), factor=2, name="b")
        both = net.concat([b, a, x], name="both")
        return [net.conv(both, 5, kernel=3, name="end"), net.conv(a, 3, kernel=5, name="other")]

    compare_by_largest(record((2, 7, 8, 6), define), 2, units=200)


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu", "swish"])
def test_a_sum_of_maps_takes_in_its_activation(activation: str) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        y = net.activation(x, "leaky_relu", name="other")
        return net.activation(net.weighted_add([x, y, x], name="sum"), activation, name="activation")

    graph = record((1, 19, 5, 7), define)
    assert kernels_of(graph, parameters_of(graph))[-1] == "weighted_sum"
    compare_by_largest(graph)


def test_channels_that_are_copied_into_a_concatenation_get_a_border_of_zeros() -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        other = net.conv(x, 3 * LANES, kernel=3, name="other")  # leaves something behind where the border will lie
        first = net.concat([x, x], name="first")
        both = net.concat([net.conv(first, LANES, kernel=1, name="conv"), first, x], name="both")
        up = net.upsample_to(net.conv(other, 4, kernel=1, name="few"), size=x.shape[1:], name="up")
        return net.conv(net.concat([both, up], name="all"), 5, kernel=3, name="end")

    compare_by_largest(record((2, 11, 8, 6), define), 2, units=200)


def test_a_picture_read_by_something_else_than_a_convolution_goes_to_the_reference_kernels() -> None:
    net = Builder((3, 6, 8))
    pooled = net.max_pool(net.image, kernel=2, stride=2, name="pool")
    both = net.concat([pooled, net.conv(pooled, 4, kernel=3, name="conv")], name="both")
    compare_by_largest(net.graph([net.conv(both, 2, kernel=1, name="end")]), units=64)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (63, 65), (8, 4), (3, 5)])
def test_outputs_lie_in_planes_whatever_their_size_and_whatever_is_before_them(height: int, width: int) -> None:
    """The first is so large that it is written past the caches, in whole lines; so is the one behind the odd one."""

    def define(net: Builder, x: Tensor) -> list[Tensor]:
        odd = net.max_pool(x, kernel=3, stride=3, name="pool")
        return [net.conv(y, channels, kernel=1, name=f"end{channels}") for y, channels in ((x, 70), (odd, 3), (x, 72))]

    graph = record((1, 20, height, width), define)
    assert not [at for at in FastExecutor(graph, parameters_of(graph)).plan().planar.values() if at % LINE]
    compare_by_largest(graph, units=64)


def test_every_row_of_the_kernel_table_is_reached_by_a_small_network() -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        y = net.conv(x, 8, kernel=3, name="winograd")
        y = net.conv(y, 8, kernel=3, stride=2, name="direct")
        y = net.conv(net.max_pool(y, kernel=2, stride=1, padding=(0, 0, 1, 1), name="max"), 8, kernel=3, groups=8,
                     name="depthwise")  # fmt: skip
        y = squeeze(net, y, 3, "1x1")
        y = net.conv(net.conv(y, 112, kernel=1, name="wide"), 112, kernel=3, groups=112, name="wide.depthwise")
        y = net.conv(y, 64, kernel=1, name="amx")
        y = net.upsample(net.batch_norm(net.add([y, y], name="sum"), name="norm"), factor=2, name="up")
        return net.channel_slice(net.concat([y, y], name="both"), start=3, stop=40, name="part")

    graph = record((1, 16, 40, 32), define)
    placed = Placement(graph, graph.outputs, "bf16x3", kernel_for)
    missing = set() if amx.is_available() else {"conv2d_amx"}
    assert {row.name for row in KERNELS} - missing <= set(placed.kernels)
    compare_by_largest(graph, units=200, precision="bf16x3")
