"""A Darknet cfg as a PyTorch module whose parameters go by our graph's names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pure_detect.graph import Graph, Node

# PyTorch's names of a batch norm's parameters, and ours.
BATCH_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}


class DarknetModule(nn.Module):
    """A network of convolutions, batch norms, leaky ReLUs, max pools, upsamplings and routes.

    Parameters
    ----------
    graph : Graph
        Of a cfg, at any size: the module takes every size that the strides divide.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        shapes = {graph.input.name: graph.input.shape, **{node.name: node.shape for node in graph.nodes}}
        self.heights = {name: shape[1] for name, shape in shapes.items()}
        self.layers = nn.ModuleDict(
            {_key(node): LAYERS[node.op](node, shapes[node.inputs[0]][0]) for node in graph.nodes if node.op in LAYERS}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the raw heads (N, B (5 + C), h, w) by node name for pictures (N, 3, H, W) from 0 to 1."""
        values = {self.graph.input.name: x}
        for node in self.graph.nodes:
            inputs = [values[name] for name in node.inputs]
            if node.op in LAYERS:
                values[node.name] = self.layers[_key(node)](*inputs)
            elif node.op == "upsample_nearest":
                factor = node.shape[1] // self.heights[node.inputs[0]]
                values[node.name] = F.interpolate(*inputs, scale_factor=factor, mode="nearest")
            else:
                values[node.name] = FUNCTIONS[node.op](node, *inputs)
        return {name: values[name] for name in self.graph.outputs}

    def parameters_by_name(self) -> dict[str, np.ndarray]:
        """Return every parameter and statistic under the graph's name, as `write_darknet` takes them."""
        return {name: tensor.detach().contiguous().numpy() for name, tensor in self._stored().items()}

    @torch.no_grad()
    def load(self, parameters: Mapping[str, np.ndarray]) -> None:
        """Take all parameters and statistics from arrays by the graph's names."""
        for name, tensor in self._stored().items():
            tensor.copy_(torch.from_numpy(np.array(parameters[name], np.float32)))

    def _stored(self) -> dict[str, Tensor]:
        stored = {}
        for node in self.graph.nodes:
            if node.op not in LAYERS:
                continue
            layer = self.layers[_key(node)]
            names = BATCH_NORM if node.op == "batch_norm" else {key: key for key in node.parameters}
            stored.update({node.parameters[ours].name: getattr(layer, theirs) for theirs, ours in names.items()})
        return stored


def _key(node: Node) -> str:
    return node.name.replace(".", "_")  # PyTorch takes no dots


def _conv2d(node: Node, channels: int) -> nn.Module:
    a, (top, left, bottom, right) = node.attributes, node.attributes["padding"]
    if (top, left) != (bottom, right):
        raise ValueError(f"{node.name}: expected the same padding on opposite sides, found {a['padding']}")
    filters, _, height, width = node.parameters["weight"].shape
    return nn.Conv2d(
        channels, filters, (height, width), a["stride"], (top, left), a["dilation"], a["groups"],
        bias="bias" in node.parameters,
    )  # fmt: skip


def _batch_norm(node: Node, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=node.attributes["epsilon"], momentum=0.03)


def _activation(node: Node, x: Tensor) -> Tensor:
    if node.attributes["function"] != "leaky_relu":
        raise ValueError(f"{node.name}: expected activation=leaky, found {node.attributes['function']}")
    return F.leaky_relu(x, 0.1, inplace=True)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    top, left, bottom, right = node.attributes["padding"]
    size, step = node.attributes["kernel"], node.attributes["stride"]
    stays = [(x.shape[axis] - size[axis - 2]) % step[axis - 2] == 0 for axis in (2, 3)]
    if step == size and all(stays):  # the padding at right and bottom is in no window
        return F.max_pool2d(x, size, step)
    return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=float("-inf")), size, step)


LAYERS = {"conv2d": _conv2d, "batch_norm": _batch_norm}
FUNCTIONS = {"activation": _activation, "max_pool": _max_pool, "concat": lambda node, *inputs: torch.cat(inputs, 1)}
