"""From a graph's nodes to tasks: which nodes one kernel does at once.

A convolution takes in the batch norm, activation and residual sum behind it; a squeeze-and-excite becomes channel sums,
gates, and factors in the weights of the convolution behind it. A node whose value is wanted from outside (an output,
or one that `keep` names) is never taken into the middle of a task.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from pure_detect.graph import Graph, Node


@dataclass
class Squeeze:
    """The parts of a squeeze-and-excite: how the gates of `source`'s channels are computed."""

    source: str
    reduce: Node
    reduce_activation: str | None
    expand: Node
    gate: str | None

    @property
    def name(self) -> str:
        """Return what the memory of its parts is named after."""
        return self.reduce.name


@dataclass
class Task:
    """What one kernel does.

    Attributes
    ----------
    kind : str
        The main node's op, or "gates" for a squeeze-and-excite.
    nodes : list of Node
        All that are done here, in order; the last one's value is the result.
    inputs : tuple of str
    norm : Node, optional
        The batch norm that follows the main node.
    activation : str, optional
    residual : str, optional
        The map that is added last.
    squeeze : Squeeze, optional
        Of a "gates" task; and of the convolution whose weights the gates go into.
    expand : Task, optional
        Of a depthwise convolution: the convolution before it, which is done row by row on the way.
    """

    kind: str
    nodes: list[Node]
    inputs: tuple[str, ...]
    norm: Node | None = None
    activation: str | None = None
    residual: str | None = None
    squeeze: Squeeze | None = None
    expand: Task | None = None

    @property
    def main(self) -> Node:
        """Return the node that gives the task its kind."""
        return self.nodes[0]

    @property
    def reads(self) -> tuple[str, ...]:
        """Return every value that the task needs, each once."""
        return tuple(dict.fromkeys([*self.inputs, *([self.residual] if self.residual else [])]))

    @property
    def all_nodes(self) -> list[Node]:
        """Return the nodes that are done here, those of the expansion before the others."""
        return [*(self.expand.nodes if self.expand else []), *self.nodes]

    @property
    def output(self) -> str:
        """Return the name of the value that the task makes."""
        return f"{self.nodes[0].name}:gates" if self.kind == "gates" else self.nodes[-1].name


@dataclass
class _Fuser:
    graph: Graph
    wanted: frozenset[str]
    tasks: list[Task] = field(default_factory=list)
    absorbed: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.users: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.users.setdefault(name, []).append(node)
        self.made.add(self.graph.input.name)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.squeezed: dict[str, Squeeze] = {}  # by the convolution that the gates go into

    def only_user(self, node: Node, op: str) -> Node | None:
        """Return the one node that reads `node` if it is of this op, and nobody else wants the value."""
        users = self.users.get(node.name, [])
        if node.name in self.wanted or len(users) != 1 or users[0].op != op:
            return None
        return users[0]

    def run(self) -> list[Task]:
        for node in self.graph.nodes:
            if node.name in self.absorbed:
                continue
            task = self.squeeze(node) or self.chain(node)
            self.tasks.append(task)
            self.absorbed.update(n.name for n in task.nodes)
            self.made.add(task.output)
        return self.tasks

    def chain(self, node: Node) -> Task:
        """Return the task of a node with what it can take in behind it."""
        task = Task(node.op, [node], node.inputs)
        if node.op == "conv2d":
            if node.name in self.squeezed:
                task.squeeze = self.squeezed[node.name]
                task.inputs = (task.squeeze.source,)
            self.take_norm(task)
        if node.op in ("conv2d", "batch_norm", "add", "weighted_add"):
            self.take_activation(task)
        if node.op == "conv2d":
            self.take_residual(task)
            self.take_expansion(task)
        return task

    def take_expansion(self, task: Task) -> None:
        """Take in a 1x1 convolution before a depthwise one, or a wider one of the picture, that nobody else reads."""
        before = self.tasks[-1] if self.tasks else None
        if before is None or not is_depthwise(task.main) or task.inputs != (before.output,):
            return
        alone = len(self.users[before.output]) == 1 and before.output not in self.wanted
        plain = before.kind == "conv2d" and before.residual is None and before.squeeze is None
        of_picture = before.inputs == (self.graph.input.name,) and before.main.attributes["groups"] == 1
        if alone and plain and is_pointwise(before.main) != of_picture:
            task.expand = self.tasks.pop()
            task.inputs = before.inputs

    def take_norm(self, task: Task) -> None:
        norm = self.only_user(task.nodes[-1], "batch_norm")
        if norm:
            task.norm = norm
            task.nodes.append(norm)

    def take_activation(self, task: Task) -> None:
        node = self.only_user(task.nodes[-1], "activation")
        if node:
            task.activation = node.attributes["function"]
            task.nodes.append(node)

    def take_residual(self, task: Task) -> None:
        last = task.nodes[-1]
        add = self.only_user(last, "add")
        if not add or len(add.inputs) != 2 or add.inputs[0] == add.inputs[1]:
            return
        other = add.inputs[1] if add.inputs[0] == last.name else add.inputs[0]
        shape = self.graph.input.shape if other == self.graph.input.name else self.nodes[other].shape
        if other in self.made and other != self.graph.input.name and shape == last.shape:
            task.residual = other
            task.nodes.append(add)

    def squeeze(self, pool: Node) -> Task | None:
        """Return the task of the gates if `pool` begins a squeeze-and-excite whose gates can go into weights."""
        if pool.op != "global_average_pool":
            return None
        nodes, parts = [pool], []
        for _ in range(2):
            conv = self.only_user(nodes[-1], "conv2d")
            if conv is None or not is_pointwise(conv):
                return None
            nodes.append(conv)
            activation = self.only_user(conv, "activation")
            if activation:
                nodes.append(activation)
            parts.append((conv, activation.attributes["function"] if activation else None))
        multiply = self.only_user(nodes[-1], "multiply")
        source = pool.inputs[0]
        if multiply is None or multiply.inputs != (source, nodes[-1].name):
            return None
        conv = self.only_user(multiply, "conv2d")
        if conv is None or not is_pointwise(conv) or source not in self.made:
            return None
        found = Squeeze(source, parts[0][0], parts[0][1], parts[1][0], parts[1][1])
        self.squeezed[conv.name] = found
        return Task("gates", [*nodes, multiply], (source,), squeeze=found)


def is_depthwise(conv: Node) -> bool:
    """Tell whether a convolution keeps every channel apart, one output channel for each."""
    channels, per_group = conv.parameters["weight"].shape[:2]
    return conv.attributes["groups"] == channels > 1 and per_group == 1


def is_pointwise(conv: Node) -> bool:
    """Tell whether a convolution mixes the channels of each pixel alone."""
    a = conv.attributes
    return (
        conv.parameters["weight"].shape[2:] == (1, 1)
        and a["stride"] == (1, 1)
        and not any(a["padding"])
        and a["groups"] == 1
    )


def interleaved(tasks: list[Task]) -> list[Task]:
    """Return tasks in the order in which they become ready, so that neighbours seldom have to wait for each other."""
    makers = {task.output: task for task in tasks}
    missing: dict[str, int] = {}
    users: dict[str, list[Task]] = {}
    for task in tasks:
        needed = [makers[name] for name in task.reads if name in makers]
        if task.squeeze and task.kind != "gates":
            needed.append(next(t for t in tasks if t.kind == "gates" and t.squeeze is task.squeeze))
        missing[task.output] = len(needed)
        for maker in needed:
            users.setdefault(maker.output, []).append(task)
    ready = [task for task in tasks if missing[task.output] == 0]
    for task in ready:  # grows
        for user in users.get(task.output, []):
            missing[user.output] -= 1
            if missing[user.output] == 0:
                ready.append(user)
    return ready


def fuse(graph: Graph, wanted: Collection[str]) -> list[Task]:
    """Return the tasks of a graph, in an order in which they can run; values named in `wanted` are kept whole."""
    return interleaved(_Fuser(graph, frozenset(wanted)).run())
