"""An ONNX file as a PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import fx


def module_of(model: onnx.ModelProto) -> fx.GraphModule:
    """Return a module whose code is one line an operator, as a person would write it by hand."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    root, graph = torch.nn.Module(), fx.Graph()
    image = model.graph.input[0].name
    values: dict[str, Any] = {image: graph.placeholder("image")}
    translator = Translator(root, graph, values, constants)
    for node in model.graph.node:
        if node.op_type not in TRANSLATIONS:
            raise NotImplementedError(f"ONNX operator {node.op_type} ({node.name})")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = TRANSLATIONS[node.op_type](translator, list(node.input), attributes)
    graph.output(tuple(values[output.name] for output in model.graph.output))
    graph.eliminate_dead_code()
    return fx.GraphModule(root, graph)


class Translator:
    """Where translated nodes go: the module's weights and the graph's calls."""

    def __init__(
        self, root: torch.nn.Module, graph: fx.Graph, values: Mapping[str, Any], constants: Mapping[str, NDArray[Any]]
    ) -> None:
        self.root, self.graph, self.values, self.constants = root, graph, values, constants

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> fx.Node:
        """Record a call; names among the arguments stand for values."""
        return self.graph.call_function(function, tuple(map(self.value, arguments)), options)

    def value(self, name: Any) -> Any:
        """Return the value of a name, storing a constant in the module on its first use."""
        if not isinstance(name, str):
            return name
        if name in self.values:
            return self.values[name]
        stored = "weight_" + "".join(c if c.isalnum() else "_" for c in name)
        if not hasattr(self.root, stored):
            tensor = torch.from_numpy(np.array(self.constants[name]))
            self.root.register_parameter(stored, torch.nn.Parameter(tensor, requires_grad=False))
        return self.graph.get_attr(stored)


def conv(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    x, padding = _padded(t, names[0], a["pads"], 0.0)
    bias = names[2] if len(names) > 2 else None
    return t.call(F.conv2d, x, names[1], bias, tuple(a["strides"]), padding, tuple(a["dilations"]), a["group"])


def max_pool(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    x, padding = _padded(t, names[0], a["pads"], float("-inf"))
    return t.call(F.max_pool2d, x, tuple(a["kernel_shape"]), tuple(a["strides"]), padding)


def _padded(t: Translator, x: str, pads: list[int], value: float) -> tuple[Any, tuple[int, int]]:
    """Return the input and the padding that the operator does itself: what is not symmetric it cannot."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return x, (top, left)
    return t.call(F.pad, x, (left, right, top, bottom), mode="constant", value=value), (0, 0)


def clip(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    low, high = (float(t.constants[name]) for name in names[1:])
    return t.call(F.relu6, names[0]) if (low, high) == (0, 6) else t.call(torch.clamp, names[0], low, high)


def multiply(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    """Translate a product, and in one word what PyTorch has one for: swish and mish."""
    x, gate = map(t.value, names)
    if gate.target is torch.sigmoid and gate.args == (x,):
        return t.call(F.silu, x)
    if gate.target is torch.tanh and gate.args[0].target is F.softplus and gate.args[0].args == (x,):
        return t.call(F.mish, x)
    return t.call(torch.mul, x, gate)


def resize(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    factors = tuple(float(factor) for factor in t.constants[names[2]][2:])
    return t.call(F.interpolate, names[0], scale_factor=factors, mode="nearest")


def channel_slice(t: Translator, names: list[str], a: dict[str, Any]) -> fx.Node:
    start, stop, axis = (int(t.constants[name][0]) for name in names[1:])
    return t.call(torch.narrow, names[0], axis, start, stop - start)


TRANSLATIONS: dict[str, Callable[[Translator, list[str], dict[str, Any]], fx.Node]] = {
    "Conv": conv,
    "MaxPool": max_pool,
    "Clip": clip,
    "Resize": resize,
    "Slice": channel_slice,
    "LeakyRelu": lambda t, names, a: t.call(F.leaky_relu, names[0], a["alpha"]),
    "Relu": lambda t, names, a: t.call(F.relu, names[0]),
    "Sigmoid": lambda t, names, a: t.call(torch.sigmoid, names[0]),
    "HardSigmoid": lambda t, names, a: t.call(F.hardsigmoid, names[0]),
    "HardSwish": lambda t, names, a: t.call(F.hardswish, names[0]),
    "Softplus": lambda t, names, a: t.call(F.softplus, names[0]),
    "Tanh": lambda t, names, a: t.call(torch.tanh, names[0]),
    "Add": lambda t, names, a: t.call(torch.add, *names),
    "Mul": multiply,
    "Concat": lambda t, names, a: t.call(torch.cat, [t.value(name) for name in names], a["axis"]),
    "GlobalAveragePool": lambda t, names, a: t.call(F.adaptive_avg_pool2d, names[0], (1, 1)),
}
