"""The fast executor: plans a graph once, then walks the plan for every picture."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.engine import team
from pure_detect.engine.fuse import Task
from pure_detect.engine.layout import LINE, Map
from pure_detect.engine.plan import Plan, make_plan
from pure_detect.engine.run import COUNTERS, machine_code, walk
from pure_detect.engine.weights import aligned, from_line
from pure_detect.graph import Graph
from pure_detect.ops import OPS
from pure_detect.ops.geometry import Padding
from pure_detect.reference import checked_input, checked_parameters, matching_names

Array = NDArray[Any]


class FastExecutor:
    """Runs a graph on the fast kernels, in float32; same interface as the reference executor.

    Parameters
    ----------
    graph : Graph
    parameters : mapping of str to array
        Every parameter of the graph by name, with its shape.
    precision : "winograd", "direct" or "bf16x3"
        See :func:`pure_detect.engine.plan.make_plan`.
    threads : int, optional
        How many threads work together; by default as many as :func:`pure_detect.jit.threads` says.

    Raises
    ------
    ValueError
        If a parameter is missing or has another shape.
    """

    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Array],
        *,
        precision: str = "winograd",
        threads: int | None = None,
    ) -> None:
        self.graph = graph
        self._parameters = checked_parameters(graph, parameters)
        self._precision, self._threads = precision, threads
        self._plans: dict[tuple[str, ...], Runner] = {}
        self._lock = threading.Lock()

    def __call__(self, x: Array, keep: Sequence[str] = ()) -> dict[str, Array]:
        """Run the network; as :meth:`pure_detect.reference.ReferenceExecutor.__call__`.

        Nodes that `keep` names are computed on their own, so that their values exist.
        """
        x = checked_input(self.graph, x, np.dtype(np.float32))
        runner = self.runner(tuple(matching_names(self.graph, keep)) if len(keep) else ())
        if len(x) == 0:
            return {name: np.zeros((0, *shape), np.float32) for name, shape in runner.shapes.items()}
        return runner.run(x)

    def plan(self, keep: Sequence[str] = ()) -> Plan:
        """Return the plan, which can be printed."""
        return self.runner(tuple(matching_names(self.graph, keep))).plan

    def runner(self, kept: tuple[str, ...] = ()) -> Runner:
        """Return the plan for these kept nodes with its memory, made when it is first asked for."""
        with self._lock:
            if kept not in self._plans:
                self._plans[kept] = Runner(
                    make_plan(self.graph, self._parameters, kept, self._precision), kept, self._threads
                )
            return self._plans[kept]


def _references(arrays: list[Array], index: int) -> int:
    """Return how many references an array has; how many this look adds differs between versions of Python."""
    return sys.getrefcount(arrays[index])


MOST_OUTPUTS = 4  # arrays of outputs that are kept to be used again
MOST_KEPT = 8  # pictures of a batch whose outputs are kept
HELD_BY_NOBODY = _references([np.empty(1, np.float32)], 0)


class Runner:
    """A plan with its memory; runs one picture after another."""

    def __init__(self, plan: Plan, kept: Sequence[str], threads: int | None) -> None:
        self.plan = plan
        self.threads = threads or jit.threads()
        self.arena = aligned(plan.arena_size + self.threads * plan.scratch_size)
        self.lock = threading.Lock()
        self.outputs: list[Array] = []
        self.weights = plan.weights  # written here, before several threads ask for them at once
        wanted = {*kept, *plan.graph.outputs}
        self.shapes = {node.name: node.shape for node in plan.graph.nodes if node.name in wanted}
        nothing = np.zeros(1, np.float32)
        self.kernels, self.parts = machine_code([made.numbers for made in plan.steps])
        arrays = (nothing, nothing, plan.tables, nothing, nothing, self.parts)
        jit.run(walk, 0, 0, plan.rows, self.kernels, *arrays, np.zeros(1, np.int64), 0, 0)

    def run(self, pictures: Array) -> dict[str, Array]:
        """Return the outputs and what is kept, (N, C, H, W) by name, for N pictures, at least one."""
        with self.lock:
            out = self._output(len(pictures))
            others = [self._run(picture, row) for picture, row in zip(pictures, out)]
            return {name: self._result(name, out, others) for name in self.shapes}

    def _run(self, picture: Array, out: Array) -> dict[str, Array]:
        """Run one picture; return what the kernels do not write into `out` themselves, (C, H, W) by name."""
        image = np.ascontiguousarray(picture).reshape(-1)
        counters = np.zeros(len(self.plan.steps) * COUNTERS + 1, np.int64)
        for first, last, task in self.plan.segments:
            self._walk(first, last, out, image, counters)
            if task is not None:
                self._run_reference(task, picture)
        return {name: self._values(self.plan.maps[name]) for name in self.shapes if name not in self.plan.planar}

    def _result(self, name: str, out: Array, others: Sequence[Mapping[str, Array]]) -> Array:
        """Return a value of all pictures, (N, C, H, W); an output is a part of `out`, which nobody writes again."""
        if name not in self.plan.planar:
            return np.stack([values[name] for values in others])
        at, shape = self.plan.planar[name], self.shapes[name]
        return out[:, at : at + math.prod(shape)].reshape(-1, *shape)

    def _walk(self, first: int, last: int, out: Array, image: Array, counters: Array) -> None:
        plan = self.plan
        if first == last:
            return

        def work(number: int) -> None:
            scratch = plan.arena_size + number * plan.scratch_size
            arrays = (self.arena, self.weights, plan.tables, out, image, self.parts)
            walk(first, last, plan.rows, self.kernels, *arrays, counters, scratch, number)

        team.together(work, self.threads)

    def _output(self, pictures: int) -> Array:
        """Return memory for outputs, a row a picture: some that nobody holds any more, else new.

        Fresh pages from the system cost more than the smaller networks' last layers.
        """
        row = -(-self.plan.output_size // LINE) * LINE
        size = pictures * row + LINE
        for index in range(len(self.outputs)):
            if self.outputs[index].size == size and _references(self.outputs, index) == HELD_BY_NOBODY:
                return from_line(self.outputs[index])[: size - LINE].reshape(pictures, row)
        new = np.empty(size, np.float32)
        if pictures <= MOST_KEPT:
            self.outputs.append(new)
            del self.outputs[: -MOST_OUTPUTS if pictures == 1 else -2]
        return from_line(new)[: size - LINE].reshape(pictures, row)

    def _values(self, m: Map) -> Array:
        """Return a copy of a map as (C, H, W)."""
        blocks = self._blocks(m).transpose(0, 3, 1, 2)
        return blocks.reshape(-1, m.height, m.width)[: m.channels].copy()  # for some shapes all of it is a view

    def _blocks(self, m: Map, border: Padding = (0, 0, 0, 0)) -> Array:
        """Return a map as it lies in the arena, (blocks, H, W, lanes), with so much of its border."""
        top, left, bottom, right = border
        start = m.place.offset - top * m.row - left * m.lanes
        strides = [4 * n for n in (m.plane, m.row, m.lanes, 1)]
        shape = (m.blocks, top + m.height + bottom, left + m.width + right, m.lanes)
        return np.lib.stride_tricks.as_strided(self.arena[start:], shape, strides)

    def _run_reference(self, task: Task, picture: Array) -> None:
        """Do a task that no fast kernel does on the reference kernels."""
        node = task.main
        graph, plan = self.plan.graph, self.plan
        inputs = [picture if n == graph.input.name else self._values(plan.maps[n]) for n in node.inputs]
        parameters = {key: plan.parameters[p.name] for key, p in node.parameters.items()}
        value = OPS[node.op].run(*(x[None] for x in inputs), **parameters, **node.attributes)[0]
        made = plan.maps[task.output]
        top, left, bottom, right = border = made.root.border
        spare = made.blocks * made.lanes - made.channels
        padded = np.pad(value, ((0, spare), (top, bottom), (left, right)))
        blocks = padded.reshape(made.blocks, made.lanes, *padded.shape[1:])
        self._blocks(made, border)[:] = blocks.transpose(0, 2, 3, 1)
