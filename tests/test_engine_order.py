"""Steps wait for what they need and for nothing else: any order that they allow gives the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.engine import step
from pure_detect.engine.emitter import Step
from pure_detect.engine.executor import FastExecutor, Runner
from pure_detect.engine.fuse import Task
from pure_detect.engine.layout import Map
from pure_detect.engine.order import set_order
from pure_detect.engine.run import walk
from pure_detect.graph import Builder
from pure_detect.random_weights import random_parameters
from pure_detect.registry import NETWORKS
from tests.test_engine import SMALL_SIZES, noise
from tests.test_engine_kernels import parameters_of

Array = NDArray[Any]

pytestmark = pytest.mark.skipif(not jit.is_compiling(), reason="the fast engine exists compiled only")


def walk_backwards(self: Runner, first: int, last: int, out: Array, image: Array, counters: Array) -> None:
    """Do the steps one by one, always the last one that may begin; at the start the arena holds nothing of use."""
    plan, undone = self.plan, list(range(first, last))
    if first == 0:
        self.arena[:] = np.nan
    while undone:
        index = max(i for i in undone if undone[0] > plan.steps[i].numbers[step.AFTER])
        undone.remove(index)
        arrays = (self.arena, self.weights, plan.tables, out, image, self.parts)
        walk(index, index + 1, plan.rows, self.kernels, *arrays, counters, plan.arena_size, 0)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "winograd") for name in SMALL_SIZES),
        ("ssdlite-mobilenetv3-small", "bf16x3"),
        ("efficientdet-d0", "bf16x3"),
    ],
)
def test_the_last_step_that_may_begin_can_always_be_the_next(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, size = NETWORKS[name], SMALL_SIZES[name]
    executor = FastExecutor(network.build(*size), random_parameters(network, seed=1), precision=precision)
    x = noise(network, *size)
    expected = executor(x)
    monkeypatch.setattr(Runner, "_walk", walk_backwards)
    for key, value in executor(x).items():
        np.testing.assert_array_equal(value, expected[key])


def two_branches() -> FastExecutor:
    net = Builder((3, 16, 16))
    x = net.conv(net.image, 16, kernel=1, name="stem")
    outputs = []
    for branch in ("a", "b"):
        y = net.conv(x, 16, kernel=3, groups=16, name=f"{branch}.depthwise")
        outputs.append(net.conv(y, 8, kernel=1, name=f"{branch}.end"))
    graph = net.graph(outputs)
    return FastExecutor(graph, parameters_of(graph))


def test_a_step_does_not_wait_for_a_branch_that_it_needs_nothing_of() -> None:
    steps = two_branches().plan().steps
    assert [made.task.output for made in steps if made.task.nodes] == [
        "stem", "a.depthwise", "b.depthwise", "a.end", "b.end",
    ]  # fmt: skip
    index = {made.task.output: i for i, made in enumerate(steps) if made.task.nodes}
    assert steps[index["b.depthwise"]].numbers[step.AFTER] == index["stem"]
    assert steps[index["a.end"]].numbers[step.AFTER] == index["a.depthwise"]
    assert steps[index["b.end"]].numbers[step.AFTER] == index["b.depthwise"]
    assert steps[0].numbers[step.AFTER] == -1


def order_of(*uses: tuple[str, str]) -> list[int]:
    """Return what steps wait for that read and write maps of these letters; a capital one lies where the small does."""
    at = {letter: 1024 * (ord(letter.lower()) - ord("a")) for letter in "abcdABCD"}
    maps = {letter: Map(letter, 1, 1, 16, lanes=1, offset=offset) for letter, offset in at.items()}
    steps = [
        Step("", Task("", [], ()), {}, 1, reads=tuple(maps[r] for r in reads), writes=tuple(maps[w] for w in writes))
        for reads, writes in uses
    ]
    set_order(steps)
    return [made.numbers[step.AFTER] for made in steps]


def test_a_step_waits_for_the_last_one_that_it_conflicts_with() -> None:
    assert order_of(("", "a"), ("a", "b"), ("b", "c")) == [-1, 0, 1]  # reads what was written
    assert order_of(("", "a"), ("a", "b"), ("a", "c"), ("a", "d")) == [-1, 0, 0, 0]  # reads what others only read
    assert order_of(("", "a"), ("a", "b"), ("", "c"), ("d", "a")) == [-1, 0, -1, 1]  # writes what was read
    assert order_of(("", "a"), ("", "b"), ("", "a")) == [-1, -1, 0]  # writes what was written
    assert order_of(("", "a"), ("a", "b"), ("", "c"), ("c", "A"), ("B", "d")) == [-1, 0, -1, 2, 1]  # memory used again
