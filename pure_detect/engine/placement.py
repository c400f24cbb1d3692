"""Which kernel does each task of a graph, and where in the arena the maps lie."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pure_detect.engine import packing, winograd_plan
from pure_detect.engine.fuse import Squeeze, Task, fuse
from pure_detect.engine.layout import Map
from pure_detect.engine.simd import LANES
from pure_detect.graph import Graph, Node
from pure_detect.ops.geometry import Padding, window_span

SMALL_MAP = 64 * 1024  # float32; the memory of such a map is not used again for KEPT tasks, which need not wait for it
KEPT = 2
MIN_ITEMS = 12  # of a step, so that threads that come late or are held up find something to do


class Placement:
    """The tasks of a graph, their kernels' names and their maps.

    Attributes
    ----------
    tasks : list of Task
    kernels : list of str
        A name in :data:`pure_detect.engine.kernel_table.KERNELS` for each task, or "reference".
    users : dict of str to list of Task
        Who reads a value.
    maps : dict of str to Map
        By the value's name, and memory of the kernels' own.
    picture : Map
        The network's input, which is not in the arena.
    """

    def __init__(
        self, graph: Graph, wanted: Collection[str], precision: str, kernel_for: Callable[[Task, Placement], str]
    ) -> None:
        self.graph, self.precision = graph, precision
        self.tasks = fuse(graph, wanted)
        self.shapes = {graph.input.name: graph.input.shape} | {node.name: node.shape for node in graph.nodes}
        self.users: dict[str, list[Task]] = {}
        for task in self.tasks:
            for name in task.reads:
                self.users.setdefault(name, []).append(task)
        self.kernels = [kernel_for(task, self) for task in self.tasks]
        self.picture = Map(graph.input.name, *graph.input.shape, lanes=1)
        self.maps: dict[str, Map] = {graph.input.name: self.picture}
        for index in range(len(self.tasks)):
            self._place(index)
        self._note_lives(wanted)

    def in_arena(self) -> dict[str, Map]:
        """Return the maps that lie in the arena."""
        return {name: m for name, m in self.maps.items() if m is not self.picture}

    def kernel_of(self, value: str) -> str:
        """Return the kernel that makes a value."""
        return next(k for task, k in zip(self.tasks, self.kernels) if task.output == value)

    def _place(self, index: int) -> None:
        task, kernel = self.tasks[index], self.kernels[index]
        if kernel == "channel_gates":
            self._place_gates(task, index)
            return
        made = Map(task.output, *self.shapes[task.output], first=index, last=index)
        self.maps[task.output] = made
        if kernel == "channel_slice":
            self._place_slice(task, made)
        elif kernel == "concat":
            self._place_concat(task, made)
        elif kernel == "conv2d_winograd":
            self._place_points(task, index)
            self.maps[task.inputs[0]].need_border(winograd_border(task.main, self.shapes[task.inputs[0]]))
        elif kernel in ("conv2d_direct", "depthwise_conv2d", "expand_depthwise"):
            first = task.expand.main if task.expand else task.main
            self.maps[task.inputs[0]].need_border(window_border(first, self.shapes[task.inputs[0]]))

    def _place_gates(self, task: Task, index: int) -> None:
        """Reserve memory for the channels' sums, the gates and the scaled weights of a squeeze-and-excite."""
        squeeze = task.squeeze
        assert squeeze
        channels = self.maps[squeeze.source].blocks * LANES
        outputs = -(-self.gated(squeeze).main.shape[0] // LANES) * LANES
        producer = next(i for i, t in enumerate(self.tasks) if t.output == squeeze.source)
        rows = depthwise_parts(self.tasks[producer]) if self.sums_on_the_way(squeeze) else 1
        self.reserve(f"{squeeze.name}:sums", rows * channels, index).live(producer)
        self.reserve(f"{squeeze.name}:hidden", 2 * squeeze.reduce.shape[0] + MIN_ITEMS * LANES, index)
        self.reserve(f"{squeeze.name}:gates", channels, index)
        if self.scales_weights(squeeze):
            self.reserve(f"{squeeze.name}:weights", (channels + 1) * outputs, index)

    def reserve(self, name: str, size: int, index: int) -> Map:
        """Reserve memory for a kernel's own use from a task on."""
        self.maps[name] = Map(name, 1, 1, size, lanes=1, first=index, last=index)
        return self.maps[name]

    def gated(self, squeeze: Squeeze) -> Task:
        """Return the convolution whose weights the gates go into."""
        return next(t for t in self.tasks if t.squeeze is squeeze and t.kind == "conv2d")

    def scales_weights(self, squeeze: Squeeze) -> bool:
        """Tell whether the gates go into the weights; on tile registers they are multiplied into the input instead."""
        return self.kernel_of(self.gated(squeeze).output) != "conv2d_amx"

    def sums_on_the_way(self, squeeze: Squeeze) -> bool:
        """Tell whether the kernel that makes the map takes its channels' sums as well."""
        return self.kernel_of(squeeze.source) in ("depthwise_conv2d", "expand_depthwise")

    def _place_points(self, task: Task, index: int) -> None:
        """Reserve memory for the transformed input of a convolution by Winograd's method that is done by panels."""
        b = winograd_plan.blocking(task.main)
        if not b.strips:
            self.reserve(f"{task.output}:points", b.points * b.points_plane, index)

    def _place_slice(self, task: Task, made: Map) -> None:
        """Let a slice be a view where it begins with a block."""
        start = task.main.attributes["start"]
        if start % LANES == 0:
            made.parent, made.parent_block = self.maps[task.inputs[0]], start // LANES

    def _place_concat(self, task: Task, made: Map) -> None:
        """Let the inputs be views into the whole where they begin with a block and are in no other whole yet."""
        start = 0
        for name in task.inputs:
            part = self.maps[name]
            if start % LANES == 0 and part.parent is None and part is not made:
                border, part.parent, part.parent_block = part.border, made, start // LANES
                made.need_border(border)
                made.live(part.first)
            start += part.channels

    def _note_lives(self, wanted: Collection[str]) -> None:
        for index, task in enumerate(self.tasks):
            for name in task.reads:
                small = self.maps[name].root.size < SMALL_MAP
                self.maps[name].live(index + KEPT if small else index)
            if task.output in self.maps:
                self.maps[task.output].live(index)
            if task.squeeze and task.kind == "conv2d":
                part = "weights" if self.scales_weights(task.squeeze) else "gates"
                self.maps[f"{task.squeeze.name}:{part}"].live(index)
        for name in wanted:
            self.maps[name].live(len(self.tasks))


def even_parts(length: int, parts: int) -> int:
    """Return about so many parts of so many rows: an even number, so that two threads, or four, end at one time."""
    return min(parts + parts % 2, length) if parts > 1 else 1


def depthwise_parts(task: Task) -> int:
    """Return into how many parts the rows of a depthwise convolution are split."""
    channels, height, _ = task.main.shape
    blocks = -(-channels // LANES)
    beside = packing.panels_of(blocks).panels if task.expand else blocks
    return even_parts(height, -(-MIN_ITEMS // beside))


def window_border(conv: Node, shape: tuple[int, int, int]) -> Padding:
    """Return how many pixels beyond each side of its input a convolution reads."""
    top, left, _, _ = conv.attributes["padding"]
    (sy, sx), (dy, dx) = conv.attributes["stride"], conv.attributes["dilation"]
    _, _, KH, KW = conv.parameters["weight"].shape
    bottom = (conv.shape[1] - 1) * sy + window_span(KH, dy) - top - shape[1]
    right = (conv.shape[2] - 1) * sx + window_span(KW, dx) - left - shape[2]
    return (top, left, max(0, bottom), max(0, right))


def winograd_border(conv: Node, shape: tuple[int, int, int]) -> Padding:
    """Return the same for Winograd's method, which reads whole tiles."""
    top, left, _, _ = conv.attributes["padding"]
    b = winograd_plan.blocking(conv)
    bottom = (b.tiles_y - 1) * b.advance + b.side - top - shape[1]
    right = (b.tiles_x - 1) * b.advance + b.side - left - shape[2]
    return (top, left, max(0, bottom), max(0, right))
