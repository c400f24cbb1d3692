"""From a graph to a plan: fused tasks, maps in an arena, packed weights, and rows of numbers for `run.py`.

Nothing here looks at a value of a map; all that is decided is in the plan and can be printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import step
from pure_detect.engine.emitter import Emitter, Step
from pure_detect.engine.fuse import Task
from pure_detect.engine.kernel_table import BY_NAME, REFERENCE, kernel_for
from pure_detect.engine.layout import LINE, Map, share_memory
from pure_detect.engine.order import set_order
from pure_detect.engine.placement import Placement
from pure_detect.engine.simd import ISA
from pure_detect.engine.weights import Packed
from pure_detect.graph import Graph

Array = NDArray[Any]

PRECISIONS = ("winograd", "direct", "bf16x3")


@dataclass
class Plan:
    """A network ready to run.

    Attributes
    ----------
    graph : Graph
    parameters : mapping of str to array
    steps : list of Step
    rows : (S, WIDTH) int64
        The steps as `run.walk` reads them.
    segments : list of (first, last, Task or None)
        Steps to walk, then a task for the reference kernels, and so on.
    maps : dict of str to Map
        What lies in the arena.
    planar : dict of str to int
        Where in the array of outputs the kernels themselves put the output of that name, plane after plane.
    output_size, arena_size, scratch_size : int
        In float32 elements; the scratch is for each thread.
    tables : (...,) int64
    packed : Packed
    """

    graph: Graph
    parameters: Mapping[str, Array]
    steps: list[Step]
    rows: Array
    segments: list[tuple[int, int, Task | None]]
    maps: dict[str, Map]
    planar: dict[str, int]
    output_size: int
    arena_size: int
    scratch_size: int
    tables: Array
    packed: Packed

    @cached_property
    def weights(self) -> Array:
        """Return the packed weights (...,) float32, which are written when they are first asked for."""
        return self.packed.write()

    @property
    def has_tiles(self) -> bool:
        """Tell whether anything is done on tile registers."""
        return any(made.kernel == "conv2d_amx" for made in self.steps)

    def table(self) -> str:
        """Return the plan for people: a line a step, what it does by which kernel, and what that takes."""
        lines = [
            f"{ISA.name}: {ISA.lanes} lanes, {ISA.registers} registers{', tile registers' * self.has_tiles}",
            f"{'kernel':30} {'output':>14} {'items':>5} {'MB':>6} {'GFLOP':>7}  does",
        ]
        for made in self.steps:
            shape = "x".join(str(n) for n in _shape(made.maps[-1])) if made.maps else ""
            megabytes = sum(m.channels * m.height * m.width for m in made.maps) * 4e-6
            lines.append(
                f"{made.kernel:30} {shape:>14} {made.items:5} {megabytes:6.2f} {2e-9 * made.multiply_adds:7.3f}  "
                f"{_said(made.task)}".rstrip()
            )
        for _, _, task in self.segments:
            if task is not None:
                lines.append(f"{REFERENCE:30} {'':14} {'':5} {'':6} {'':7}  {_said(task)}")
        alone = sum(m.size for m in self.maps.values() if m.parent is None)
        lines.append(
            f"maps {4e-6 * self.arena_size:.1f} MB (each on its own: {4e-6 * alone:.1f}), "
            f"packed weights {4e-6 * self.packed.size:.1f} MB, "
            f"scratch {4e-6 * self.scratch_size:.1f} MB a thread"
        )
        return "\n".join(lines)


def _shape(m: Map) -> tuple[int, int, int]:
    return m.channels, m.height, m.width


def _said(task: Task) -> str:
    """Return the main node's name, and what else is done with it."""
    more = [part for part in (task.norm and "batch norm", task.activation, task.residual and "add") if part]
    before = [f"{task.expand.main.name}, then "] if task.expand else []
    return "".join([*before, task.main.name, *(f" + {part}" for part in more)])


def make_plan(
    graph: Graph, parameters: Mapping[str, Array], keep: Sequence[str] = (), precision: str = "winograd"
) -> Plan:
    """Plan how a graph is run.

    Parameters
    ----------
    graph : Graph
    parameters : mapping of str to array
    keep : sequence of str
        Nodes whose values are wanted beside the outputs.
    precision : "winograd", "direct" or "bf16x3"
        By "direct" every sum is one of float32 products. By the others 3x3 convolutions may be computed by Winograd's
        method, which rounds more coarsely; by "bf16x3" wide 1x1 convolutions may be as well on AMX's tile registers,
        from numbers taken apart (see `amx.py`), which rounds more finely. Without AMX that is "winograd".
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    placement = Placement(graph, {*graph.outputs, *keep}, precision, kernel_for)
    maps = placement.in_arena()
    arena = share_memory([m for m in maps.values() if m.parent is None])
    emitter = Emitter(placement, parameters)
    segments: list[tuple[int, int, Task | None]] = []
    first = 0
    for task, kernel in zip(placement.tasks, placement.kernels):
        if kernel == REFERENCE:
            segments.append((first, len(emitter.steps), task))
            first = len(emitter.steps)
        else:
            BY_NAME[kernel].emit(emitter, task)
    segments.append((first, len(emitter.steps), None))
    set_order(emitter.steps)
    tables = np.concatenate(emitter.table_parts) if emitter.table_parts else np.zeros(1, np.int64)
    return Plan(
        graph,
        parameters,
        emitter.steps,
        _rows(emitter.steps),
        segments,
        maps,
        emitter.planar,
        emitter.output_size,
        arena,
        -(-emitter.scratch // LINE) * LINE + LINE,
        tables,
        emitter.packed,
    )


def plan_without_weights(graph: Graph) -> Plan:
    """Plan a graph to look at the plan: parameters are taken as ones, which take no memory."""
    one = np.float32(1)
    return make_plan(graph, {name: np.broadcast_to(one, p.shape) for name, p in graph.parameters.items()})


def _rows(steps: Sequence[Step]) -> Array:
    rows = np.zeros((max(1, len(steps)), step.WIDTH), np.int64)
    for row, made in zip(rows, steps):
        for number, value in made.numbers.items():
            row[number] = value
    return rows
