"""A detector small enough for any test, with random weights."""

from __future__ import annotations

from pathlib import Path

from pure_detect.models.darknet import darknet_network
from pure_detect.random_weights import random_parameters
from weights_convert.hdf5_layout import write_weights

CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=20,30, 40,20
num=2
classes=2
"""


def write_tiny_detector(path: Path, labels: tuple[str, ...] = ("cat", "dog"), seed: int = 0) -> Path:
    """Write the weight file of a detector with two classes and 32 boxes; return its path."""
    network = darknet_network(CFG, f"{path.stem}.cfg")
    write_weights(path, network, random_parameters(network, seed), labels=labels)
    return path
