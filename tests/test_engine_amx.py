"""1x1 convolutions of many channels with precision "bf16x3": on tile registers, where there are any."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.engine import amx, conv2d_amx
from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine.executor import FastExecutor
from pure_detect.engine.kernel_table import BY_NAME
from pure_detect.graph import Builder, Graph, Tensor
from pure_detect.reference import ReferenceExecutor
from tests.adversarial_shapes import signed
from tests.subprocesses import run_python
from tests.test_engine_kernels import compare_by_largest, kernels_of, parameters_of, record, squeeze
from tests.tolerances import FLOAT32_EPSILON

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(not jit.is_compiling(), reason="the fast engine exists compiled only")

BF16X3 = {"precision": "bf16x3"}
KERNEL = "conv2d_amx" if amx.is_available() else "conv2d_direct"
# (channels, output channels, height, width): blocks even and odd in number, tiles that overlap, are full, are few.
SHAPES = (
    (112, 64, 8, 8), (113, 65, 9, 11), (128, 79, 7, 10), (160, 96, 1, 64), (200, 64, 13, 5), (480, 546, 10, 10),
    (672, 546, 20, 20), (120, 200, 33, 31),
)  # fmt: skip


def name_of(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def wide(shape: tuple[int, int, int, int], behind: str = "nothing") -> Graph:
    """Record a wide 1x1 convolution with something behind it that decides how its output lies."""
    channels, outputs, height, width = shape

    def define(net: Builder, x: Tensor) -> list[Tensor]:
        y = net.conv(x, outputs, kernel=1, name="wide")
        if behind == "nothing":
            return [y]
        pool = net.max_pool(y, kernel=1, stride=1, name="pool")
        return [pool, net.conv(y, outputs, kernel=3, groups=outputs, name="border")] if behind == "border" else [pool]

    return record((1, channels, height, width), define)


@pytest.mark.parametrize("behind", ["nothing", "border", "map"])
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_a_wide_convolution_equals_the_reference_within_its_sums_roundings(
    shape: tuple[int, int, int, int], behind: str
) -> None:
    graph = wide(shape, behind)
    parameters = parameters_of(graph)
    assert KERNEL in kernels_of(graph, parameters, **BF16X3)
    x = signed((2, *graph.input.shape), seed=1)
    fast = FastExecutor(graph, parameters, **BF16X3)(x, keep=["wide"])["wide"]
    exact = ReferenceExecutor(graph, parameters, np.float64)(x, keep=["wide"])["wide"]
    absolute = {name: np.abs(value) for name, value in parameters.items()}
    magnitude = ReferenceExecutor(graph, absolute, np.float64)(np.abs(x), keep=["wide"])["wide"]
    assert (np.abs(fast - exact) <= BY_NAME[KERNEL].units * FLOAT32_EPSILON * magnitude).all()
    compare_by_largest(graph, 2, units=64, **BF16X3)


@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu", "swish", "hard_swish", "mish", "sigmoid"])
@pytest.mark.parametrize("behind", [1, 3])
def test_a_wide_convolution_takes_in_its_activation_and_a_residual(activation: str, behind: int) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        y = net.conv_bn(x, 128, kernel=1, activation=activation, name="wide")
        return net.conv(net.add([x, y], name="add"), 6, kernel=behind, name="end")

    graph = record((1, 128, 9, 14), define)
    kernels = kernels_of(graph, parameters_of(graph), **BF16X3)
    assert KERNEL in kernels
    assert "weighted_sum" not in kernels
    compare_by_largest(graph, units=200, **BF16X3)


@pytest.mark.parametrize("channels", [112, 113, 130])
def test_the_gates_of_a_squeeze_and_excite_are_multiplied_in(channels: int) -> None:
    def define(net: Builder, x: Tensor) -> Tensor:
        return net.conv(
            squeeze(net, net.activation(x, "relu6", name="before"), 5, "1x1", outputs=70), 3, kernel=1, name="end"
        )

    graph = record((1, channels, 9, 14), define)
    kernels = kernels_of(graph, parameters_of(graph), **BF16X3)
    assert KERNEL in kernels
    assert ("scale_weights" in kernels) == (KERNEL == "conv2d_direct")
    compare_by_largest(graph, 2, units=64, **BF16X3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_its_own_pixel_and_no_other(value: float) -> None:
    graph = wide((128, 80, 8, 9))
    parameters = parameters_of(graph)
    x = signed((1, *graph.input.shape), seed=1)
    whole = FastExecutor(graph, parameters, **BF16X3)(x)["wide"]
    x[0, :, 3, 4] = value
    spoilt = FastExecutor(graph, parameters, **BF16X3)(x)["wide"]
    assert not np.isfinite(spoilt[0, :, 3, 4]).any()
    spoilt[0, :, 3, 4] = whole[0, :, 3, 4]
    np.testing.assert_array_equal(spoilt, whole)


def test_other_precisions_keep_to_sums_of_float32_products() -> None:
    graph = wide(SHAPES[0])
    for precision in ("winograd", "direct"):
        assert "conv2d_direct" in kernels_of(graph, parameters_of(graph), precision=precision)


def test_a_float32_is_exactly_the_sum_of_three_parts_of_eight_bits() -> None:
    random = np.random.default_rng(0)
    numbers = (random.normal(0, 1, 10_000) * 10.0 ** random.integers(-28, 38, 10_000)).astype(np.float32)
    numbers = np.concatenate([numbers, np.float32([0, -0.0, 1, 1 + 2**-23, 2 - 2**-23, 2**-100, 3e38])])
    first, second, third = amx.apart(numbers)
    total = sum(part.view(np.float32).astype(np.float64) for part in (first, second, third))
    np.testing.assert_array_equal(total, numbers)
    assert not ((first | second | third) & 0xFFFF).any()
    together = amx.words(first, second).view(np.uint32)
    np.testing.assert_array_equal(together << 16, first)
    np.testing.assert_array_equal(together & 0xFFFF0000, second)


def test_a_plan_says_which_convolutions_run_on_tile_registers() -> None:
    graph = wide(SHAPES[0])
    table = FastExecutor(graph, parameters_of(graph), **BF16X3).plan().table()
    assert KERNEL in table
    assert ("tile registers" in table.splitlines()[0]) == amx.is_available()


def test_an_item_of_few_pixels_takes_some_of_the_output_channels() -> None:
    graph = wide((480, 546, 10, 10))
    made = next(s for s in FastExecutor(graph, parameters_of(graph), **BF16X3).plan().steps if s.kernel == KERNEL)
    assert made.items >= 4
    if amx.is_available():
        assert made.numbers[direct.PANEL_CHUNK] % conv2d_amx.TOGETHER == 0


def test_a_processor_asked_for_by_name_is_one_without_tile_registers() -> None:
    said = run_python(
        "from pure_detect.engine import amx; print(amx.is_available())", timeout=120, NUMBA_CPU_NAME="skylake-avx512"
    )
    assert said.strip() == "False"
