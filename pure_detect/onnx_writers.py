"""How each operation is said in ONNX: one function an operation, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from pure_detect.graph import Graph, Node
from pure_detect.ops.add import normalized_weights
from pure_detect.ops.geometry import Shape

Array = NDArray[Any]

DYNAMIC_BATCH = "N"


class Writer:
    """Collects ONNX nodes and constants while the graph is walked.

    Parameters
    ----------
    graph : Graph
    parameters : mapping of str to array
    batch : int or None
    folded : mapping of str to Node
        The convolutions that vanish into the batch norm after them.
    """

    def __init__(
        self, graph: Graph, parameters: Mapping[str, Array], batch: int | None, folded: Mapping[str, Node]
    ) -> None:
        self.image = graph.input.name
        self.batch = batch
        self.parameters = parameters
        self.shapes: dict[str, Shape] = {graph.input.name: graph.input.shape}
        self.shapes.update((node.name, node.shape) for node in graph.nodes)
        by_name = {node.name: node for node in graph.nodes}
        self.convolution_before = {norm.name: by_name[name] for name, norm in folded.items()}
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}

    def add(self, op: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Record one ONNX node with the one output `name`, and return that name."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        """Store an array, rounded to `dtype`, and return its name; one that is stored already is not stored twice."""
        if name not in self.initializers:
            array: Array = np.array(value, dtype, order="C")
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Store whole numbers, as shapes and indices are given."""
        return self.constant(name, values, np.int64)

    def parameter(self, node: Node, key: str) -> Array:
        """Return one of the node's parameters."""
        return self.parameters[node.parameters[key].name]

    def stored(self, node: Node, key: str) -> str:
        """Store one of the node's parameters as it is, and return its name; nodes may share one."""
        return self.constant(node.parameters[key].name, self.parameter(node, key))

    def value_info(self, name: str, shape: Shape) -> ValueInfoProto:
        """Return the declaration of an input or output."""
        batch: int | str = DYNAMIC_BATCH if self.batch is None else self.batch
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape])


def write_conv2d(w: Writer, node: Node) -> None:
    """Write a convolution as it stands."""
    names = [w.stored(node, key) for key in ("weight", "bias") if key in node.parameters]
    _add_convolution(w, node, node.name, names)


def _add_convolution(w: Writer, node: Node, name: str, constants: Sequence[str]) -> None:
    """Add Conv. ONNX's pads are ours: both list the beginnings of height and width, then their ends."""
    w.add(
        "Conv",
        name,
        [*node.inputs, *constants],
        kernel_shape=node.parameters["weight"].shape[2:],
        strides=node.attributes["stride"],
        pads=node.attributes["padding"],
        dilations=node.attributes["dilation"],
        group=node.attributes["groups"],
    )


def batch_norm_factors(node: Node, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return a batch norm as factor and summand a channel, in float64: out = factor * in + summand."""
    scale, bias, mean, variance = (
        np.asarray(parameters[node.parameters[key].name], np.float64) for key in ("scale", "bias", "mean", "variance")
    )
    factor = scale / np.sqrt(_variance_with_epsilon(node, variance))
    return factor, bias - mean * factor


def _variance_with_epsilon(node: Node, variance: Array) -> Array:
    """Return the square of batch norm's divisor, wherever its epsilon stands."""
    epsilon = node.attributes["epsilon"]
    if node.attributes["epsilon_inside"]:
        return variance + epsilon
    return np.square(np.sqrt(variance) + epsilon)


def write_batch_norm(w: Writer, node: Node) -> None:
    """Write a batch norm, or the convolution that it is folded into."""
    if node.name in w.convolution_before:
        _write_folded(w, node, w.convolution_before[node.name])
        return
    variance, epsilon = w.stored(node, "variance"), node.attributes["epsilon"]
    if not node.attributes["epsilon_inside"]:
        value = _variance_with_epsilon(node, np.asarray(w.parameter(node, "variance"), np.float64))
        variance, epsilon = w.constant(f"{node.name}/squared_divisor", value), 0.0
    scale, bias, mean = (w.stored(node, key) for key in ("scale", "bias", "mean"))
    w.add("BatchNormalization", node.name, [*node.inputs, scale, bias, mean, variance], epsilon=epsilon)


def _write_folded(w: Writer, norm: Node, convolution: Node) -> None:
    factor, summand = batch_norm_factors(norm, w.parameters)
    weight = np.asarray(w.parameter(convolution, "weight"), np.float64) * factor[:, None, None, None]
    if "bias" in convolution.parameters:
        summand = summand + factor * w.parameter(convolution, "bias")
    names = [w.constant(f"{norm.name}/weight", weight), w.constant(f"{norm.name}/bias", summand)]
    _add_convolution(w, convolution, norm.name, names)


def write_activation(w: Writer, node: Node) -> None:
    """Write an activation function."""
    ACTIVATION_WRITERS[node.attributes["function"]](w, node.name, node.inputs[0])


def _write_relu6(w: Writer, name: str, x: str) -> str:
    return w.add("Clip", name, [x, w.constant("constant/0", 0.0), w.constant("constant/6", 6.0)])


def _write_hard_sigmoid_tf(w: Writer, name: str, x: str) -> str:
    """Write relu6(x + 3) * 0.16667 as 1.00002 times HardSigmoid.

    Spelt out as in TensorFlow, engines take it for HardSigmoid itself, and lose the factor.
    """
    gate = _write_hard_sigmoid(w, f"{name}/gate", x)
    return w.add("Mul", name, [gate, w.constant("constant/1.00002", 6 * 0.16667)])


def _write_hard_sigmoid(w: Writer, name: str, x: str) -> str:
    return w.add("HardSigmoid", name, [x], alpha=1 / 6, beta=0.5)


def _write_swish(w: Writer, name: str, x: str) -> str:
    return w.add("Mul", name, [x, w.add("Sigmoid", f"{name}/sigmoid", [x])])


def _write_mish(w: Writer, name: str, x: str) -> str:
    """Spell Mish out: opset 18 has it in one word, but engines know this form of PyTorch's exports."""
    softplus = w.add("Softplus", f"{name}/softplus", [x])
    return w.add("Mul", name, [x, w.add("Tanh", f"{name}/tanh", [softplus])])


ACTIVATION_WRITERS: dict[str, Callable[[Writer, str, str], str]] = {
    "leaky_relu": lambda w, name, x: w.add("LeakyRelu", name, [x], alpha=0.1),
    "relu": lambda w, name, x: w.add("Relu", name, [x]),
    "relu6": _write_relu6,
    "sigmoid": lambda w, name, x: w.add("Sigmoid", name, [x]),
    "hard_sigmoid": _write_hard_sigmoid,
    "hard_sigmoid_tf": _write_hard_sigmoid_tf,
    "hard_swish": lambda w, name, x: w.add("HardSwish", name, [x]),
    "swish": _write_swish,
    "mish": _write_mish,
}


def write_max_pool(w: Writer, node: Node) -> None:
    """Write a maximum over windows; ONNX's padding takes no part either."""
    w.add("MaxPool", node.name, node.inputs, **_window(node))


def write_average_pool(w: Writer, node: Node) -> None:
    """Write a mean over windows, padding not counted."""
    w.add("AveragePool", node.name, node.inputs, count_include_pad=0, **_window(node))


def _window(node: Node) -> dict[str, Any]:
    attributes = node.attributes
    return {"kernel_shape": attributes["kernel"], "strides": attributes["stride"], "pads": attributes["padding"]}


def write_global_average_pool(w: Writer, node: Node) -> None:
    """Write a mean over the whole map."""
    w.add("GlobalAveragePool", node.name, node.inputs)


def write_upsample_nearest(w: Writer, node: Node) -> None:
    """Write an enlargement: Resize at whole factors; else Gather, since engines' Resize rounds in float32."""
    _, height, width = w.shapes[node.inputs[0]]
    out_height, out_width = node.attributes["size"]
    if out_height % height == 0 and out_width % width == 0:
        factors = [1, 1, out_height // height, out_width // width]
        scales = w.constant(f"{node.name}/scales", factors)
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        w.add("Resize", node.name, [*node.inputs, "", scales], **attributes)
        return
    rows = w.integers(f"{node.name}/row_indices", [i * height // out_height for i in range(out_height)])
    columns = w.integers(f"{node.name}/column_indices", [i * width // out_width for i in range(out_width)])
    taken = w.add("Gather", f"{node.name}/rows", [*node.inputs, rows], axis=2)
    w.add("Gather", node.name, [taken, columns], axis=3)


def write_concat(w: Writer, node: Node) -> None:
    """Write a stack of maps along the channels."""
    w.add("Concat", node.name, node.inputs, axis=1)


def write_channel_slice(w: Writer, node: Node) -> None:
    """Write a run of channels."""
    _add_slice(w, node.name, node.inputs[0], node.attributes["start"], node.attributes["stop"])


def _add_slice(w: Writer, name: str, x: str, start: int, stop: int) -> str:
    bounds = [w.integers(f"constant/[{value}]", [value]) for value in (start, stop, 1)]  # the axis is 1
    return w.add("Slice", name, [x, *bounds])


def write_reorg(w: Writer, node: Node) -> None:
    """Write Darknet's reorg: the flat map read in another shape, and space-to-depth of that."""
    channels, height, width = w.shapes[node.inputs[0]]
    stride = node.attributes["stride"]
    seen = _add_reshape(
        w, f"{node.name}/seen", node.inputs[0], (channels // stride**2, height * stride, width * stride)
    )
    moved = w.add("SpaceToDepth", f"{node.name}/moved", [seen], blocksize=stride)
    _add_reshape(w, node.name, moved, node.shape)


def _add_reshape(w: Writer, name: str, x: str, shape: Sequence[int]) -> str:
    """Add a Reshape that leaves the batch alone, which 0 says."""
    return w.add("Reshape", name, [x, w.integers(f"{name}/shape", [0, *shape])])


def write_add(w: Writer, node: Node) -> None:
    """Write a sum of maps."""
    _add_sum(w, node.name, _equal_channels(w, node))


def write_weighted_add(w: Writer, node: Node) -> None:
    """Write a sum of maps, each times its weight as normalised in float64."""
    weight = np.asarray(w.parameter(node, "weight"), np.float64)
    options = {key: node.attributes[key] for key in ("normalization", "epsilon") if key in node.attributes}
    terms = []
    for i, (x, factors) in enumerate(zip(_equal_channels(w, node), normalized_weights(weight, **options))):
        factor = w.constant(f"{node.name}/weight{i}", factors.reshape(1, -1, 1, 1))
        terms.append(w.add("Mul", f"{node.name}/scaled{i}", [x, factor]))
    _add_sum(w, node.name, terms)


def _add_sum(w: Writer, name: str, terms: Sequence[str]) -> None:
    """Add the terms from left to right."""
    total, last = terms[0], len(terms) - 1
    for i, term in enumerate(terms[1:], start=1):
        total = w.add("Add", name if i == last else f"{name}/sum{i}", [total, term])


def _equal_channels(w: Writer, node: Node) -> list[str]:
    """Return the node's inputs with as many channels as the first: cut, or continued with zeros."""
    channels, fitting = node.shape[0], []
    for i, x in enumerate(node.inputs):
        found, name = w.shapes[x][0], f"{node.name}/input{i}"
        if found > channels:
            x = _add_slice(w, name, x, 0, channels)
        elif found < channels:
            pads = w.integers(f"{name}/pads", [0, 0, 0, 0, 0, channels - found, 0, 0])
            x = w.add("Pad", name, [x, pads])
        fitting.append(x)
    return fitting


def write_multiply(w: Writer, node: Node) -> None:
    """Write a product; the factor's sizes of 1 stretch as in NumPy."""
    w.add("Mul", node.name, node.inputs)


def write_softmax(w: Writer, node: Node) -> None:
    """Write a softmax over each of the groups of a picture's values."""
    groups, temperature = node.attributes["groups"], node.attributes["temperature"]
    x = _add_reshape(w, f"{node.name}/rows", node.inputs[0], (groups, math.prod(node.shape) // groups))
    if temperature != 1:
        x = w.add("Div", f"{node.name}/cooled", [x, w.constant(f"{node.name}/temperature", temperature)])
    _add_reshape(w, node.name, w.add("Softmax", f"{node.name}/powers", [x], axis=2), node.shape)


def write_connected(w: Writer, node: Node) -> None:
    """Write a fully connected layer."""
    rows = w.add("Flatten", f"{node.name}/rows", node.inputs, axis=1)
    names = [w.stored(node, key) for key in ("weight", "bias") if key in node.parameters]
    _add_reshape(w, node.name, w.add("Gemm", f"{node.name}/product", [rows, *names], transB=1), node.shape)


def write_constant(w: Writer, node: Node) -> None:
    """Write a trained tensor, once for each picture."""
    value = w.constant(node.parameters["value"].name, w.parameter(node, "value")[None])
    if w.batch is None:
        shape = w.add("Shape", f"{node.name}/batch", [w.image], start=0, end=1)
        shape = w.add("Concat", f"{node.name}/shape", [shape, w.integers("constant/[1, 1, 1]", [1, 1, 1])], axis=0)
    else:
        shape = w.integers(f"{node.name}/shape", [w.batch, 1, 1, 1])
    w.add("Expand", node.name, [value, shape])


WRITERS: dict[str, Callable[[Writer, Node], None]] = {
    "conv2d": write_conv2d,
    "batch_norm": write_batch_norm,
    "activation": write_activation,
    "max_pool": write_max_pool,
    "average_pool": write_average_pool,
    "global_average_pool": write_global_average_pool,
    "upsample_nearest": write_upsample_nearest,
    "concat": write_concat,
    "channel_slice": write_channel_slice,
    "reorg": write_reorg,
    "add": write_add,
    "weighted_add": write_weighted_add,
    "multiply": write_multiply,
    "softmax": write_softmax,
    "connected": write_connected,
    "constant": write_constant,
}
