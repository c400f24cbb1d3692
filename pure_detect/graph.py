"""A network as data: tensors, nodes, and the Builder that records them.

A network is written once, as a function over a :class:`Builder`. The recorded :class:`Graph` knows every shape,
parameter and multiply-add before any weight is loaded; the executors, the summary and the weight files all read it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from pure_detect.ops import OPS
from pure_detect.ops.geometry import Padding, Pair, Shape, same_padding, symmetric_padding


class Tensor(NamedTuple):
    """A value in the graph: the name of the node that makes it, and (channels, height, width)."""

    name: str
    shape: Shape


class Parameter(NamedTuple):
    """A stored tensor: its name in weight files, its shape, and whether training moves it by gradients."""

    name: str
    shape: tuple[int, ...]
    learnable: bool = True

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


class BatchNormRule(NamedTuple):
    """The epsilon of batch norm and its place; see :func:`pure_detect.ops.batch_norm`."""

    epsilon: float = 1e-5
    inside: bool = True


@dataclass(frozen=True)
class Node:
    """One operation of the graph.

    Attributes
    ----------
    name : str
        Unique, and what a person would say: `backbone.stage4.block2.expand.conv`.
    op : str
        A key of :data:`pure_detect.ops.OPS`.
    inputs : tuple of str
        Names of the nodes (or the graph's input) that it reads.
    parameters : mapping of str to Parameter
        By the argument name that the op's function takes.
    attributes : mapping
        The op's other keyword arguments.
    shape : (channels, height, width)
    multiply_adds : int
        For one picture; convolutions and matrix products only, as the field counts.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    attributes: Mapping[str, Any]
    shape: Shape
    multiply_adds: int


@dataclass(frozen=True)
class Graph:
    """A whole network at one input size.

    Attributes
    ----------
    input : Tensor
    nodes : tuple of Node
        In an order in which they can run.
    outputs : tuple of str
        Names of the nodes whose values the network gives.
    heads : tuple
        How a detector's outputs are decoded: the dataclasses of `boxes/decode_*.py`. Empty for a classifier.
    """

    input: Tensor
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    heads: tuple[Any, ...] = ()

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Return every stored tensor by name, in the order of the nodes; nodes may share one."""
        return {p.name: p for node in self.nodes for p in node.parameters.values()}

    @property
    def output_shapes(self) -> list[Shape]:
        """Return (channels, height, width) of each output."""
        shapes = {node.name: node.shape for node in self.nodes}
        return [shapes[name] for name in self.outputs]

    @property
    def class_count(self) -> int:
        """Return the number of classes: the heads', or a classifier's output channels."""
        return int(self.heads[0].classes) if self.heads else self.output_shapes[0][0]

    @property
    def learnable_count(self) -> int:
        """Return the number of learnable values: what papers call the number of parameters."""
        return sum(p.size for p in self.parameters.values() if p.learnable)

    @property
    def statistics_count(self) -> int:
        """Return the number of stored batch-norm means and variances."""
        return sum(p.size for p in self.parameters.values() if not p.learnable)

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one picture."""
        return sum(node.multiply_adds for node in self.nodes)

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of nodes, parameters, attributes, shapes and heads: graphs share it only if they are equal."""
        rows: list[Any] = [
            [self.input.name, self.input.shape],
            self.outputs,
            [[type(head).__name__, asdict(head)] for head in self.heads],
        ]
        for n in self.nodes:
            stored = {key: [p.name, p.shape] for key, p in n.parameters.items()}
            rows.append([n.name, n.op, n.inputs, stored, dict(n.attributes), n.shape])
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


@dataclass
class Builder:
    """Records a network, node by node.

    Every method takes and returns :class:`Tensor`; shapes are checked at once, and an error names the node.

    Parameters
    ----------
    shape : (channels, height, width)
        Of the network's input.
    batch_norm_rule : BatchNormRule
        What batch norm uses where a call does not say otherwise.

    Attributes
    ----------
    nodes : dict of str to Node
        What was recorded so far, by name, in order.
    """

    shape: Shape
    batch_norm_rule: BatchNormRule = BatchNormRule()
    nodes: dict[str, Node] = field(default_factory=dict)
    _stored: dict[str, Parameter] = field(default_factory=dict)

    @property
    def image(self) -> Tensor:
        """Return the network's input."""
        return Tensor("image", self.shape)

    def graph(self, outputs: Sequence[Tensor], heads: Sequence[Any] = ()) -> Graph:
        """Return what was recorded, less the nodes that no output needs."""
        needed = {tensor.name for tensor in outputs}
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        nodes = tuple(node for node in self.nodes.values() if node.name in needed)
        return Graph(self.image, nodes, tuple(tensor.name for tensor in outputs), tuple(heads))

    def add_node(
        self,
        op: str,
        name: str,
        inputs: Sequence[Tensor],
        parameters: Mapping[str, Parameter] | None = None,
        **attributes: Any,
    ) -> Tensor:
        """Record one node and return its output; the other methods are shorthands for this one."""
        if name in self.nodes or name == self.image.name:
            raise ValueError(f"{name}: there is a node of this name already")
        if op not in OPS:
            raise ValueError(f"{name}: unknown operation {op!r}; known are {', '.join(OPS)}")
        parameters = parameters or {}
        for tensor in inputs:
            if tensor != self.image and (
                tensor.name not in self.nodes or self.nodes[tensor.name].shape != tensor.shape
            ):
                raise ValueError(f"{name} ({op}): input {tensor.name} {tensor.shape} is no node of this network")
        for parameter in parameters.values():
            if self._stored.setdefault(parameter.name, parameter) != parameter:
                raise ValueError(f"{name} ({op}): parameter {parameter.name} is stored with another shape already")
        in_shapes = [tensor.shape for tensor in inputs]
        stored = {key: parameter.shape for key, parameter in parameters.items()}
        try:
            shape = OPS[op].shape(in_shapes, stored, **attributes)
        except ValueError as error:
            raise ValueError(f"{name} ({op}): {error}") from None
        multiply_adds = OPS[op].multiply_adds(in_shapes, stored, shape)
        names = tuple(tensor.name for tensor in inputs)
        self.nodes[name] = Node(name, op, names, parameters, attributes, shape, multiply_adds)
        return Tensor(name, shape)

    def conv(
        self,
        x: Tensor,
        channels: int,
        *,
        kernel: int,
        name: str,
        stride: int | Pair = 1,
        padding: int | Padding | Literal["same"] | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        stored_as: str | None = None,
    ) -> Tensor:
        """Add a square convolution.

        Without `padding` it is kernel // 2 on all sides, as Darknet's `pad=1`; "same" is TensorFlow's SAME. Nodes with
        one `stored_as`, the node's name by default, share their weights.
        """
        stored_as = stored_as or name
        if padding is None:
            padding = kernel // 2
        elif padding == "same":
            if not isinstance(stride, int):
                raise ValueError(f"{name}: padding 'same' expects one stride for both axes, got {stride}")
            padding = same_padding(x.shape, kernel, stride, dilation)
        weight = Parameter(f"{stored_as}.weight", (channels, x.shape[0] // max(groups, 1), kernel, kernel))
        return self.add_node(
            "conv2d",
            name,
            [x],
            {"weight": weight, **({"bias": Parameter(f"{stored_as}.bias", (channels,))} if bias else {})},
            stride=(stride, stride) if isinstance(stride, int) else stride,
            padding=symmetric_padding(padding) if isinstance(padding, int) else padding,
            dilation=(dilation, dilation),
            groups=groups,
        )

    def batch_norm(self, x: Tensor, *, name: str, rule: BatchNormRule | None = None) -> Tensor:
        """Add a batch norm with its four vectors."""
        rule = rule or self.batch_norm_rule
        stored = {
            key: Parameter(f"{name}.{key}", (x.shape[0],), learnable=key in ("scale", "bias"))
            for key in ("scale", "bias", "mean", "variance")
        }
        return self.add_node("batch_norm", name, [x], stored, epsilon=rule.epsilon, epsilon_inside=rule.inside)

    def conv_bn(
        self, x: Tensor, channels: int, *, kernel: int, name: str, activation: str | None, **options: Any
    ) -> Tensor:
        """Add convolution, batch norm and activation as `name.conv`, `name.batch_norm`, `name.activation`."""
        x = self.conv(x, channels, kernel=kernel, name=f"{name}.conv", bias=False, **options)
        x = self.batch_norm(x, name=f"{name}.batch_norm")
        return self.activation(x, activation, name=f"{name}.activation") if activation else x

    def activation(self, x: Tensor, function: str, *, name: str) -> Tensor:
        """Add an activation function."""
        return self.add_node("activation", name, [x], function=function)

    def max_pool(
        self, x: Tensor, *, kernel: int, stride: int | Pair, name: str, padding: Padding = (0, 0, 0, 0)
    ) -> Tensor:
        """Add a maximum over square windows."""
        stride = (stride, stride) if isinstance(stride, int) else stride
        return self.add_node("max_pool", name, [x], kernel=(kernel, kernel), stride=stride, padding=padding)

    def average_pool(
        self, x: Tensor, *, kernel: int, stride: int | Pair, name: str, padding: Padding = (0, 0, 0, 0)
    ) -> Tensor:
        """Add a mean over square windows, padding not counted."""
        stride = (stride, stride) if isinstance(stride, int) else stride
        return self.add_node("average_pool", name, [x], kernel=(kernel, kernel), stride=stride, padding=padding)

    def global_average_pool(self, x: Tensor, *, name: str) -> Tensor:
        """Add a mean over the whole map."""
        return self.add_node("global_average_pool", name, [x])

    def upsample(self, x: Tensor, *, factor: int, name: str) -> Tensor:
        """Add a nearest-neighbour enlargement by a whole factor."""
        return self.upsample_to(x, size=(x.shape[1] * factor, x.shape[2] * factor), name=name)

    def upsample_to(self, x: Tensor, *, size: Pair, name: str) -> Tensor:
        """Add a nearest-neighbour enlargement to a height and width."""
        return self.add_node("upsample_nearest", name, [x], size=size)

    def concat(self, inputs: Sequence[Tensor], *, name: str) -> Tensor:
        """Stack maps along the channels."""
        return self.add_node("concat", name, inputs)

    def channel_slice(self, x: Tensor, *, start: int, stop: int, name: str) -> Tensor:
        """Take some of the channels."""
        return self.add_node("channel_slice", name, [x], start=start, stop=stop)

    def reorg(self, x: Tensor, *, stride: int, name: str) -> Tensor:
        """Add YOLOv2's rearrangement."""
        return self.add_node("reorg", name, [x], stride=stride)

    def add(self, inputs: Sequence[Tensor], *, name: str) -> Tensor:
        """Add maps; the first one's channels count."""
        return self.add_node("add", name, inputs)

    def weighted_add(
        self, inputs: Sequence[Tensor], *, name: str, per_channel: bool = False, normalization: str = "none"
    ) -> Tensor:
        """Add maps with trained weights, one a map or one a map and channel."""
        weight = Parameter(f"{name}.weight", (len(inputs), inputs[0].shape[0] if per_channel else 1))
        return self.add_node("weighted_add", name, inputs, {"weight": weight}, normalization=normalization)

    def multiply(self, x: Tensor, factor: Tensor, *, name: str) -> Tensor:
        """Multiply a map by a factor a channel, a factor a position, or another map."""
        return self.add_node("multiply", name, [x, factor])

    def softmax(self, x: Tensor, *, name: str, groups: int = 1, temperature: float = 1.0) -> Tensor:
        """Turn values into probabilities."""
        return self.add_node("softmax", name, [x], groups=groups, temperature=temperature)

    def connected(self, x: Tensor, channels: int, *, name: str, bias: bool = True) -> Tensor:
        """Add a fully connected layer over the flattened map."""
        weight = Parameter(f"{name}.weight", (channels, math.prod(x.shape)))
        stored = {"weight": weight, **({"bias": Parameter(f"{name}.bias", (channels,))} if bias else {})}
        return self.add_node("connected", name, [x], stored)

    def constant(self, shape: Shape, *, name: str) -> Tensor:
        """Add a trained tensor that does not depend on the picture."""
        return self.add_node("constant", name, [self.image], {"value": Parameter(f"{name}.value", shape)})
