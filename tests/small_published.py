"""A registry row with a network small enough to serve, download and convert in no time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pure_detect.boxes.decode_yolo import YoloHead
from pure_detect.graph import Builder
from pure_detect.models.blocks import darknet_conv
from pure_detect.network import Definition, Network
from pure_detect.random_weights import random_parameters
from pure_detect.registry import NETWORKS, PUBLISHED, Published
from weights_convert.readers.darknet import Header, write_darknet


def define(net: Builder) -> Definition:
    """Record two convolutions and a head."""
    x = darknet_conv(net, net.image, 8, kernel=3, stride=4, name="conv1")
    x = net.conv(x, 7, kernel=1, name="head")
    return Definition([x], [YoloHead("head", ((20, 30),), 2)])


NETWORK = Network("small", "yolo", define, (3, 64, 64), stride=4, labels=("cat", "dog"))


def official_file(folder: Path, seed: int = 0) -> bytes:
    """Return the bytes of `small-official.weights`."""
    path = folder / f"seed{seed}.weights"
    write_darknet(path, NETWORK.build(), random_parameters(NETWORK, seed), Header(0, 2, 5, 0, 20))
    content = path.read_bytes()
    path.unlink()
    return content


def publish(content: bytes, *bases: str, checked: bool = True) -> None:
    """Put the network into the registry, as if these bytes were published under these addresses."""
    sha256 = hashlib.sha256(content).hexdigest() if checked else ""
    addresses = tuple(f"{base}/small-official.weights" for base in bases)
    NETWORKS["small"] = NETWORK
    PUBLISHED["small"] = Published(NETWORK, addresses, size=len(content) if checked else None, sha256=sha256)


def withdraw() -> None:
    """Take the network out of the registry."""
    NETWORKS.pop("small", None)
    PUBLISHED.pop("small", None)
