"""The fast executor: whole networks, kept activations, threads, forks, memory and other processors."""

from __future__ import annotations

import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pure_detect
from pure_detect import jit
from pure_detect.engine import amx, team
from pure_detect.engine.executor import MOST_KEPT, FastExecutor
from pure_detect.engine.simd import isa_of
from pure_detect.models.ssdlite import SSDLITE_SMALL
from pure_detect.models.yolov3 import YOLOV3_TINY
from pure_detect.network import Network
from pure_detect.random_weights import noise_pictures, random_parameters
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import NETWORKS
from tests.subprocesses import run_python
from tests.tolerances import FAST_NETWORK, FAST_NETWORK_ILL_CONDITIONED

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(not jit.is_compiling(), reason="the fast engine exists compiled only")

# One network of each kind of block, at sizes that leave odd maps; the others of a line repeat the same rows.
SMALL_SIZES = {
    "yolo-fastest-1.1": (96, 160), "yolov2-tiny": (96, 64), "yolov2": (96, 64), "yolov3-tiny": (96, 160),
    "yolov3": (64, 96), "yolov3-spp": (64, 96), "yolov4": (64, 96), "yolov4-tiny": (96, 64),
    "ssdlite-mobilenetv3-large": (160, 224), "ssdlite-mobilenetv3-small": (224, 96),
    "ssdlite320-mobilenetv3-large": (193, 160), "efficientdet-d0": (128, 192), "efficientdet-d1": (128, 128),
    "efficientdet-d0-effdet": (192, 128), "efficientdet-lite0": (128, 160), "darknet19": (64, 96),
    "darknet53": (64, 96), "tiny-darknet": (96, 64), "mobilenetv3-small": (99, 128),
    "mobilenetv3-large-minimalistic-keras": (96, 64), "efficientnet-b0": (97, 64), "demo-yolo": (96, 160),
    "demo-ssdlite": (97, 160), "demo-efficientdet": (160, 96),
}  # fmt: skip


def noise(network: Network, height: int, width: int, n: int = 1) -> Array:
    return noise_pictures((n, network.input_shape[0], height, width), np.random.default_rng(7))


def worst(ours: dict[str, Array], theirs: dict[str, Array]) -> float:
    """Return the largest error of any output as a share of that output's largest value."""
    assert set(ours) == set(theirs)
    return max(float(np.abs(ours[k] - v).max() / np.abs(v).max()) for k, v in theirs.items())


@pytest.mark.parametrize("name", SMALL_SIZES)
def test_a_network_of_the_registry_agrees_with_the_reference(name: str) -> None:
    network, size = NETWORKS[name], SMALL_SIZES[name]
    graph, parameters, x = network.build(*size), random_parameters(network, seed=1), noise(network, *size)
    exact, limit = ReferenceExecutor(graph, parameters)(x), FAST_NETWORK_ILL_CONDITIONED.get(name, FAST_NETWORK)
    assert worst(FastExecutor(graph, parameters)(x), exact) <= limit
    if amx.is_available():
        assert worst(FastExecutor(graph, parameters, precision="bf16x3")(x), exact) <= limit
    assert worst(FastExecutor(graph, parameters, precision="direct")(x), exact) <= limit / 2


@pytest.fixture(scope="module")
def small() -> tuple[FastExecutor, ReferenceExecutor, Array]:
    """Return TensorFlow's small SSDLite on both executors, and a picture."""
    network = SSDLITE_SMALL
    graph, parameters = network.build(96, 128), random_parameters(network, seed=2)
    return FastExecutor(graph, parameters), ReferenceExecutor(graph, parameters), noise(network, 96, 128)


def test_every_activation_can_be_kept_whatever_it_is_fused_into(
    small: tuple[FastExecutor, ReferenceExecutor, Array],
) -> None:
    fast, reference, x = small
    assert worst(fast(x, keep=["*"]), reference(x, keep=["*"])) <= FAST_NETWORK


def test_keeping_one_activation_changes_nothing_else(small: tuple[FastExecutor, ReferenceExecutor, Array]) -> None:
    fast, reference, x = small
    name = "backbone.bottleneck3.expand.conv"
    kept, plain = fast(x, keep=[name]), fast(x)
    assert set(kept) == {*plain, name}
    np.testing.assert_allclose(kept[name], reference(x, keep=[name])[name], rtol=0, atol=1e-4)
    assert worst({k: kept[k] for k in plain}, plain) <= FAST_NETWORK


def test_a_batch_gives_what_its_pictures_give_alone(small: tuple[FastExecutor, ReferenceExecutor, Array]) -> None:
    fast, _, x = small
    pictures = np.concatenate([x, x[:, ::-1], -x])
    together = fast(pictures)
    for i in range(len(pictures)):
        alone = fast(pictures[i : i + 1])
        assert all(np.array_equal(together[name][i : i + 1], value) for name, value in alone.items())


def test_an_empty_batch_gives_empty_outputs(small: tuple[FastExecutor, ReferenceExecutor, Array]) -> None:
    fast, reference, x = small
    shapes = {name: value.shape for name, value in reference(x[:0]).items()}
    assert {name: value.shape for name, value in fast(x[:0]).items()} == shapes


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    network = YOLOV3_TINY
    graph, parameters, x = network.build(96, 96), random_parameters(network, 3), noise(network, 96, 96)
    one = FastExecutor(graph, parameters, threads=1)(x)
    many = FastExecutor(graph, parameters, threads=threads)
    for _ in range(5):
        assert all(np.array_equal(one[name], value) for name, value in many(x).items())


@pytest.mark.parametrize("pictures", [1, 2, MOST_KEPT, MOST_KEPT + 1])
def test_outputs_stay_as_they_are_while_somebody_holds_them(
    small: tuple[FastExecutor, ReferenceExecutor, Array], pictures: int
) -> None:
    fast, _, x = small
    x = np.concatenate([x * (1 + i) for i in range(pictures)])
    held, copies = [], []
    for scale in (1.0, 0.5, 0.25, -1.0, 2.0, 3.0):
        held.append(fast(x * scale))
        copies.append({name: value.copy() for name, value in held[-1].items()})
    for outputs, copied in zip(held, copies):  # before another call can write the same again
        assert all(np.array_equal(value, outputs[name]) for name, value in copied.items())
    for scale, outputs in zip((1.0, 0.5, 0.25, -1.0, 2.0, 3.0), held):
        assert all(np.array_equal(value, outputs[name]) for name, value in fast(x * scale).items())


def test_a_thousand_inferences_from_8_threads_are_right_and_take_no_more_memory(
    small: tuple[FastExecutor, ReferenceExecutor, Array],
) -> None:
    fast, _, x = small
    pictures = [x * scale for scale in (1.0, 0.5, -1.0)]
    expected = [{name: value.copy() for name, value in fast(picture).items()} for picture in pictures]

    def infer(number: int) -> bool:
        outputs = fast(pictures[number % 3])
        return all(np.array_equal(outputs[name], value) for name, value in expected[number % 3].items())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(infer, range(200)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert all(pool.map(infer, range(800)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KiB


def test_two_detectors_can_run_at_one_time(small: tuple[FastExecutor, ReferenceExecutor, Array]) -> None:
    fast, _, x = small
    other = FastExecutor(fast.graph, random_parameters(SSDLITE_SMALL, seed=5))
    expected = fast(x), other(x)
    failures: list[bool] = []

    def infer(executor: FastExecutor, right: dict[str, Array]) -> None:
        outputs = (executor(x) for _ in range(20))
        failures.extend(not all(np.array_equal(right[k], v) for k, v in output.items()) for output in outputs)

    threads = [threading.Thread(target=infer, args=pair) for pair in zip((fast, other), expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(failures)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_infers_with_threads_of_its_own() -> None:
    result = run_python(
        """
import os, numpy as np, pure_detect
detector = pure_detect.load("yolov3-tiny", weights="random", size=64, threads=2)
x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
before = detector.forward(x)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        after = detector.forward(x)
        os._exit(0 if all(np.array_equal(before[k], v) for k, v in after.items()) else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert all(np.array_equal(before[k], v) for k, v in detector.forward(x).items())
print(codes)
""",
        timeout=300,
    )
    assert result == "[0, 0, 0]"


def test_helper_threads_that_come_late_disturb_no_later_inference(
    small: tuple[FastExecutor, ReferenceExecutor, Array],
) -> None:
    """As on a machine where another process holds the other cores: the caller does all of the work itself."""
    fast, _, x = small
    expected = {name: value.copy() for name, value in fast(x).items()}
    held = threading.Event()
    with team._lock:
        helpers = list(team._helpers)
    for helper in helpers:
        helper.put(lambda number: held.wait(30))
    try:
        for _ in range(3):
            assert all(np.array_equal(expected[name], value) for name, value in fast(x).items())
    finally:
        held.set()
    for _ in range(20):
        assert all(np.array_equal(expected[name], value) for name, value in fast(x).items())


def test_a_network_waits_for_its_own_kernels_and_for_no_others(tmp_path: Path) -> None:
    run_python(
        """
import numpy as np
from pure_detect.engine.executor import FastExecutor
from pure_detect.graph import Builder
net = Builder((3, 8, 8))
graph = net.graph([net.conv(net.image, 4, kernel=3, bias=False, name="conv")])
FastExecutor(graph, {"conv.weight": np.ones((4, 3, 3, 3), np.float32)})(np.ones((1, 3, 8, 8), np.float32))
print()
""",
        timeout=300,
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    compiled = {path.name.split("-")[0].split(".")[1] for path in tmp_path.rglob("*.nbi")}
    assert compiled == {"walk", "conv2d_direct", "columns_tile_row", "activate_and_add"}


@pytest.mark.parametrize(
    ("cpu", "features", "expected"),
    [("haswell", None, "AVX2"), ("generic", "", "generic"), ("x86-64-v3", None, "AVX2")],
)
def test_kernels_are_right_on_other_processors(cpu: str, features: str | None, expected: str) -> None:
    """The same machine stands in for older ones: other vectors, tiles and code."""
    environment = {"NUMBA_CPU_NAME": cpu, **({"NUMBA_CPU_FEATURES": features} if features is not None else {})}
    result = run_python(
        """
import numpy as np, pure_detect
from pure_detect.engine.simd import ISA
errors = []
for name, size in (("ssdlite-mobilenetv3-small", 96), ("yolov3-tiny", 96), ("efficientdet-d0", 128)):
    x = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    fast, reference = (
        pure_detect.load(name, weights="random", size=size, engine=e).forward(x) for e in ("fast", "reference")
    )
    errors.append(max(float(np.abs(fast[k] - v).max() / np.abs(v).max()) for k, v in reference.items()))
print(ISA.name, max(errors))
""",
        timeout=600,
        **environment,
    )
    name, error = result.split()
    assert name == expected
    assert float(error) <= FAST_NETWORK


def test_the_instruction_set_is_told_from_what_the_compiler_says_of_the_processor() -> None:
    assert isa_of("znver4", "+avx2,+fma,+avx512f,+avx512vl,+avx512dq", "x86_64").name == "AVX-512"
    assert isa_of("haswell", "+avx2,+fma,+avx512f,+avx512vl,+avx512dq", "x86_64").name == "AVX2"
    assert isa_of("znver3", "+avx2,+fma,-avx512f", "x86_64").name == "AVX2"
    assert isa_of("cortex-a72", "+neon", "aarch64").name == "NEON"
    assert isa_of("generic", "", "x86_64").name == "generic"


def test_maps_share_memory_by_lifetime() -> None:
    plan = FastExecutor(YOLOV3_TINY.build(), random_parameters(YOLOV3_TINY)).plan()
    alone = sum(m.size for m in plan.maps.values() if m.parent is None)
    assert plan.arena_size < 0.6 * alone
    lives = [(m.first, m.last, m.offset, m.offset + m.size) for m in plan.maps.values() if m.parent is None]
    for i, (first, last, start, end) in enumerate(lives):
        for other_first, other_last, other_start, other_end in lives[:i]:
            together = first <= other_last and other_first <= last
            assert not (together and start < other_end and other_start < end)


def test_the_plan_can_be_read() -> None:
    table = FastExecutor(YOLOV3_TINY.build(), random_parameters(YOLOV3_TINY)).plan().table()
    assert "conv2d_winograd F(4x4, 3x3)" in table
    assert "backbone.conv3.conv + batch norm + leaky_relu" in table
    assert max(map(len, table.splitlines())) <= 130


def test_options_that_the_engine_does_not_have_are_refused() -> None:
    for options, message in (
        ({"engine": "gpu"}, "engine: expected one of fast, reference"),
        ({"engine": "fast", "dtype": "float64"}, "expected float32 for engine 'fast'"),
        ({"precision": "half"}, "precision: expected one of winograd, direct, bf16x3"),
        ({"threads": 0}, "threads must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            pure_detect.load("yolov3-tiny", weights="random", size=64, **options)
