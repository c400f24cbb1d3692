"""Two networks small enough to count by hand, and random parameters for any graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pure_detect.graph import Builder, Graph


def counted_network() -> Graph:
    """Return a network of every kind of layer that has parameters; `tests/test_graph.py` counts them."""
    net = Builder((3, 8, 6))
    x = net.conv_bn(net.image, 8, kernel=3, stride=2, activation="leaky_relu", name="stem")
    y = net.conv(x, 8, kernel=3, groups=8, name="depthwise")
    x = net.weighted_add([x, y], name="fusion", per_channel=True)
    x = net.conv(x, 5, kernel=1, name="head")
    x = net.connected(x, 4, name="classes")
    return net.graph([x])


def network_of_every_op() -> Graph:
    """Return a network with every operation of `pure_detect.ops`."""
    net = Builder((3, 9, 6))
    x = net.conv_bn(net.image, 8, kernel=3, stride=(2, 1), activation="mish", name="stem")  # (8, 5, 6)
    left = net.channel_slice(x, start=0, stop=4, name="left")
    pooled = net.max_pool(left, kernel=2, stride=1, padding=(0, 0, 1, 1), name="pooled")
    averaged = net.average_pool(x, kernel=3, stride=1, padding=(1, 1, 1, 1), name="averaged")
    x = net.concat([pooled, averaged, left], name="joined")  # (16, 5, 6)
    squeezed = net.global_average_pool(x, name="squeezed")
    gate = net.activation(squeezed, "hard_sigmoid", name="gate")
    x = net.multiply(x, gate, name="gated")
    x = net.upsample(x, factor=2, name="upsampled")  # (16, 10, 12)
    x = net.reorg(x, stride=2, name="rearranged")  # (64, 5, 6)
    x = net.weighted_add([x, averaged, x], name="fused", normalization="softmax")
    x = net.add([x, net.constant((7, 5, 6), name="offset")], name="shifted")
    x = net.connected(x, 10, name="classes")
    return net.graph([net.softmax(x, groups=2, temperature=2.0, name="probabilities"), averaged])


def random_values(graph: Graph, seed: int = 0, dtype: DTypeLike = np.float32) -> dict[str, NDArray[Any]]:
    """Return small values for every parameter; variances are positive."""
    random = np.random.default_rng(seed)
    values = {name: random.normal(0, 0.3, p.shape).astype(dtype) for name, p in graph.parameters.items()}
    return {name: np.abs(value) if name.endswith("variance") else value for name, value in values.items()}
