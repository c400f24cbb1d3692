"""What the rows of numbers have in common, and the memory they refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import packing, run, step
from pure_detect.engine.fuse import Task
from pure_detect.engine.layout import Map
from pure_detect.engine.placement import MIN_ITEMS, Placement, even_parts
from pure_detect.engine.simd import LANES
from pure_detect.engine.weights import Packed
from pure_detect.graph import Node

Array = NDArray[Any]

L2_SHARE = 32 * 1024  # float32 that an item may bring into the second-level cache


@dataclass
class Step:
    """One row of the plan, and what to say of it.

    Attributes
    ----------
    kernel : str
    task : Task
    numbers : dict of int to int
        By the columns of `step.py` and the kernel's own.
    items : int
        Independent pieces of work.
    multiply_adds : int
    maps : tuple of Map
        Its main input, if any, and its output.
    reads, writes : tuple of Map
        All that it reads and writes in the arena.
    """

    kernel: str
    task: Task
    numbers: dict[int, int]
    items: int
    multiply_adds: int = 0
    maps: tuple[Map, ...] = ()
    reads: tuple[Map, ...] = ()
    writes: tuple[Map, ...] = ()


class Emitter:
    """Collects steps, packed weights and tables of offsets while a plan is made."""

    def __init__(self, placement: Placement, parameters: Mapping[str, Array]) -> None:
        self.placement, self.parameters = placement, parameters
        self.graph, self.maps, self.users = placement.graph, placement.maps, placement.users
        self.picture = placement.picture
        self.packed = Packed()
        self.table_parts: list[Array] = []
        self.table_size = 0
        self.steps: list[Step] = []
        self.scratch = 0
        self.planar: dict[str, int] = {}
        self.output_size = 0

    def step(
        self,
        code: int,
        task: Task,
        items: int,
        numbers: Mapping[int, int],
        y: Map | None = None,
        x: Map | None = None,
        reads: Sequence[Map] = (),
        writes: Sequence[Map] = (),
    ) -> None:
        """Add one step; `numbers` go before what is derived from the maps and the task here.

        `reads` and `writes` are what it reads beside `x` and the residual, and writes beside `y`.
        """
        row = {step.KERNEL: code, step.ITEMS: items, step.R: -1}
        if x is not None and x is not self.picture:
            row.update(zip((step.X, step.X_PLANE, step.X_ROW), x.place))
        if y is not None:
            row.update(zip((step.Y, step.Y_PLANE, step.Y_ROW), y.place))
            row.update({step.HEIGHT: y.height, step.COLUMNS: y.width, step.BLOCKS: y.blocks})
            row.update(zip((step.TOP, step.LEFT, step.BOTTOM, step.RIGHT), y.root.border))
        row.update(self.activation_numbers(task.activation))
        row.update(numbers)
        adds = sum(node.multiply_adds for node in task.all_nodes)
        used = tuple(m for m in (x, y) if m is not None)
        inputs = [m for m in (x, task.residual and self.maps[task.residual], *reads) if m and m is not self.picture]
        outputs = [m for m in (y, *writes) if m]
        self.steps.append(Step(run.NAMES[code], task, row, items, adds, used, tuple(inputs), tuple(outputs)))

    def activation_numbers(self, activation: str | None) -> dict[int, int]:
        """Return how an activation is said in a row."""
        clamp = np.array(packing.limits(activation), np.float32)
        return {step.ACTIVATION: packing.activation_code(activation), step.LIMITS: self.packed.values(clamp)}

    def residual_numbers(self, task: Task) -> dict[int, int]:
        """Return where the map lies that is added last."""
        if task.residual is None:
            return {}
        return dict(zip((step.R, step.R_PLANE, step.R_ROW), self.maps[task.residual].place))

    def by_rows(self, y: Map) -> dict[int, int]:
        """Return how a kernel that goes over a map once splits it: by blocks, and by rows where blocks are few."""
        parts = max(1, -(-MIN_ITEMS // y.blocks), y.height * y.width * LANES * 2 // L2_SHARE)
        return {step.CHUNKS: even_parts(y.height, parts)}

    def offsets(self, node: Node, x: Map, groups: int, inputs: int, unroll: int) -> tuple[int, int]:
        """Add the table of offsets of a convolution; return where it begins and how many entries a group has.

        An entry stands for `unroll` inputs that lie side by side: channels, or columns of a kernel on planes.
        """
        top, left, _, _ = node.attributes["padding"]
        dy, dx = node.attributes["dilation"]
        _, _, KH, KW = node.parameters["weight"].shape
        channels, columns = (1, unroll) if x.lanes == 1 else (unroll, 1)
        g, i, j, c = np.ix_(range(groups), range(KH), range(0, KW, columns), range(0, inputs, channels))
        block, lane = np.divmod(g * inputs + c, x.lanes)
        table = block * x.plane + lane + (i * dy - top) * x.row + (j * dx - left) * x.lanes
        at = self.table_size
        self.table_parts.append(table.ravel().astype(np.int64))
        self.table_size += table.size
        return at, table.size // groups

    def bias(self, task: Task) -> int:
        """Pack the bias of a convolution with its batch norm."""
        blocks = -(-task.main.shape[0] // LANES)
        return self.packed.values(packing.folded_bias(task.main, task.norm, self.parameters), blocks * LANES)
