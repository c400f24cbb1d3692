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
AFFORDABLE = 1_000_000_000  # multiply-adds


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
    values = {graph.input.name: _network_input(network, graph, rng)}
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


def noise_pictures(shape: tuple[int, int, int, int], rng: np.random.Generator) -> Array:
    """Return pictures (N, C, H, W) float32 from 0 to 1: noise with patches of every size.

    As in photographs, there is something to see at every scale. Noise of single pixels averages out on the way: deep
    layers would see next to nothing, and a batch norm fitted to that would blow up the rounding errors of floats.
    """
    batch, channels, height, width = shape
    total, count = np.zeros(shape, np.float32), 0
    while (patch := 2**count) <= max(height, width):
        coarse = rng.random((batch, channels, -(-height // patch), -(-width // patch)), np.float32) - np.float32(0.5)
        total += coarse.repeat(patch, axis=2).repeat(patch, axis=3)[:, :, :height, :width]
        count += 1
    return (np.float32(0.5) + total / np.float32(np.sqrt(count))).clip(0, 1)


def _network_input(network: Network, graph: Graph, rng: np.random.Generator) -> Array:
    """Return pictures of noise, scaled as the network's preprocessing scales pixels."""
    pixels = 255 * noise_pictures((PICTURES, *graph.input.shape), rng)
    rule = network.preprocessing
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (rule.mean, rule.std))
    return (pixels * np.float32(rule.scale) - mean) / std


def _small_graph(network: Network) -> Graph:
    """Build at a small input, unless the published one is cheap, or parameter shapes depend on the input's size."""
    published = network.build()
    if published.multiply_adds <= AFFORDABLE:
        return published
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
    """Draw normal weights; without a batch norm behind it, centre the output and give it unit deviation.

    A map of one cell, as in squeeze-and-excite, is only scaled: what little its few values differ by says nothing about
    other pictures.
    """
    fan_in = int(np.prod(shapes["weight"][1:]))
    weight = rng.standard_normal(shapes["weight"], np.float32) / np.float32(np.sqrt(fan_in))
    if "bias" not in shapes:
        return {"weight": weight}
    out = OPS[node.op].run(x, weight, **node.attributes).astype(np.float64)
    bias = rng.normal(0, 0.2, shapes["bias"])
    if out.shape[2:] == (1, 1):
        deviation = np.sqrt(np.mean(out**2)) + 1e-6
    else:
        deviation = out.std() + 1e-6
        bias -= out.mean(axis=(0, 2, 3)) / deviation
    return {"weight": weight / np.float32(deviation), "bias": bias.astype(np.float32)}
