"""Random parameters under which a network behaves like a trained one: for tests and benchmarks.

Plain random weights make the activations of a deep network vanish, explode or forget the picture. Here the network
is run once, layer by layer, on noise; every batch norm gets the statistics of what really reaches it, and every
other layer is scaled so that its output has unit deviation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.graph import Graph, Node
from pure_detect.network import Network
from pure_detect.ops import OPS

Array = NDArray[Any]

# Statistics of a 4 x 4 map of two pictures rest on 32 values: fewer, or maps that are mostly border, and YOLOv3's
# activations grow twentyfold at other input sizes.
PICTURES = 2
SMALLEST_SIZE = 128


def random_parameters(network: Network, seed: int = 0) -> dict[str, Array]:
    """Draw every parameter of a network.

    Parameters
    ----------
    network : Network
    seed : int
        Same seed, same parameters.

    Returns
    -------
    dict of str to float32 array
        Batch-norm statistics are those of the network's own activations, scale and bias vary by channel.
    """
    rng = np.random.default_rng(seed)
    graph = _small_graph(network)
    values = {graph.input.name: rng.random((PICTURES, *graph.input.shape), np.float32)}
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    drawn: dict[str, Array] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        parameters = _draw(node, inputs, rng)
        values[node.name] = OPS[node.op].run(*inputs, **parameters, **node.attributes)
        drawn.update({node.parameters[key].name: value for key, value in parameters.items()})
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del values[name]
    return drawn


def _small_graph(network: Network) -> Graph:
    """Build at a small input, unless parameter shapes depend on the input's size."""
    published = network.build()
    size = max(2 * network.stride, SMALLEST_SIZE)
    try:
        small = network.build(size, size)
    except ValueError:  # a fully connected layer after a pool that no longer fits
        return published
    return small if small.parameters == published.parameters else published


def _draw(node: Node, inputs: list[Array], rng: np.random.Generator) -> dict[str, Array]:
    shapes = {key: parameter.shape for key, parameter in node.parameters.items()}
    if node.op == "batch_norm":
        return _batch_norm(inputs[0], rng)
    if node.op in ("conv2d", "connected"):
        return _scaled_layer(node, inputs[0], shapes, rng)
    return {key: rng.uniform(0.5, 1.5, shape).astype(np.float32) for key, shape in shapes.items()}


def _batch_norm(x: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Take the statistics of `x`; pull each variance toward the mean one, since few values stand behind it."""
    channels = x.shape[1]
    variance = x.var(axis=(0, 2, 3), dtype=np.float64)
    values = {
        "scale": rng.uniform(0.7, 1.3, channels),
        "bias": rng.normal(0, 0.2, channels),
        "mean": x.mean(axis=(0, 2, 3), dtype=np.float64),
        "variance": 0.5 * (variance + variance.mean()),
    }
    return {key: value.astype(np.float32) for key, value in values.items()}


def _scaled_layer(
    node: Node, x: Array, shapes: dict[str, tuple[int, ...]], rng: np.random.Generator
) -> dict[str, Array]:
    """Draw normal weights; without a batch norm behind it, centre the output and give it unit deviation."""
    fan_in = int(np.prod(shapes["weight"][1:]))
    weight = rng.standard_normal(shapes["weight"], np.float32) / np.float32(np.sqrt(fan_in))
    if "bias" not in shapes:
        return {"weight": weight}
    out = OPS[node.op].run(x, weight, **node.attributes)
    weight /= np.float32(out.std(dtype=np.float64) + 1e-6)
    centre = out.mean(axis=(0, 2, 3), dtype=np.float64) / (out.std(dtype=np.float64) + 1e-6)
    bias = rng.normal(0, 0.2, shapes["bias"]) - centre
    return {"weight": weight, "bias": bias.astype(np.float32)}
