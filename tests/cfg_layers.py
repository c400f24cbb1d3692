"""Short cfgs of one or a few layers, as graphs and as runs on hand-made parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from pure_detect.graph import Graph
from pure_detect.models.darknet import darknet_network
from pure_detect.network import Network
from pure_detect.reference import ReferenceExecutor

CONV = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
# What a layer can refer to without changing it: maps of 4 and of 2 channels.
FOUR, TWO = CONV.format(4), CONV.format(2)
HEAD = CONV.format(6) + "[yolo]\nclasses=1\nanchors=1,2\n"


def network(body: str, channels: int = 3, height: int = 8, width: int = 8) -> Network:
    return darknet_network(f"[net]\nchannels={channels}\nheight={height}\nwidth={width}\n{body}", "x.cfg")


def graph(body: str, channels: int = 3, height: int = 8, width: int = 8) -> Graph:
    return network(body, channels, height, width).build()


def last(body: str, *size: int) -> Any:
    """Return the last node."""
    return graph(body, *size).nodes[-1]


def run(body: str, x: np.ndarray, **parameters: np.ndarray) -> np.ndarray:
    """Return the output for one picture (C, H, W); parameters by name, a double underscore for the dot."""
    built = graph(body, *x.shape)
    values = {name.replace("__", "."): np.asarray(value, np.float32) for name, value in parameters.items()}
    return ReferenceExecutor(built, values, np.float64)(x[None], ())[built.outputs[0]][0]


def identity(layer: int, channels: int) -> dict[str, np.ndarray]:
    """Return the parameters that make a 1x1 convolution copy its input."""
    weight = np.eye(channels).reshape(channels, channels, 1, 1)
    return {f"layer{layer:03d}__conv__weight": weight, f"layer{layer:03d}__conv__bias": np.zeros(channels)}


def counting(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
