"""Blocks that more than one network uses."""

from __future__ import annotations

from pure_detect.graph import Builder, Tensor


def darknet_conv(net: Builder, x: Tensor, filters: int, kernel: int, name: str, stride: int = 1) -> Tensor:
    """Convolution, batch norm and leaky ReLU: what YOLOv2 and YOLOv3 mean by a convolutional layer."""
    return net.conv_bn(x, filters, kernel=kernel, stride=stride, activation="leaky_relu", name=name)


def darknet_head(net: Builder, x: Tensor, anchors: int, classes: int, name: str) -> Tensor:
    """Add the 1x1 convolution that predicts, for each anchor, four coordinates, objectness and the classes."""
    return net.conv(x, anchors * (4 + 1 + classes), kernel=1, name=name)
