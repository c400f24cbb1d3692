"""Blocks that more than one network uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pure_detect.graph import Builder, Tensor
from pure_detect.ops.geometry import darknet_pool_padding


class Conv(NamedTuple):
    """A row of YOLO9000's Table 6: a convolution of stride 1 with batch norm and leaky ReLU."""

    filters: int
    size: int


def darknet_conv(
    net: Builder,
    x: Tensor,
    filters: int,
    kernel: int,
    name: str,
    stride: int = 1,
    groups: int = 1,
    activation: str | None = "leaky_relu",
) -> Tensor:
    """Convolution, batch norm and leaky ReLU: what YOLOv2 and YOLOv3 mean by a convolutional layer."""
    return net.conv_bn(x, filters, kernel=kernel, stride=stride, groups=groups, activation=activation, name=name)


def darknet_max_pool(net: Builder, x: Tensor, kernel: int, name: str, stride: int = 1) -> Tensor:
    """Add a max pool padded as Darknet does without `padding=`: at stride 1 the map keeps its size."""
    return net.max_pool(x, kernel=kernel, stride=stride, padding=darknet_pool_padding(kernel - 1), name=name)


def pooled_stages(net: Builder, x: Tensor, stages: Sequence[Sequence[Conv]]) -> list[Tensor]:
    """Record groups of convolutions with a max pool of 2x2/2 between them; return each group's output."""
    features: list[Tensor] = []
    for i, stage in enumerate(stages, start=1):
        if features:
            x = darknet_max_pool(net, x, kernel=2, stride=2, name=f"backbone.pool{i - 1}")
        for j, row in enumerate(stage, start=1):
            x = darknet_conv(net, x, row.filters, kernel=row.size, name=f"backbone.stage{i}.conv{j}")
        features.append(x)
    return features


def pyramid_pools(net: Builder, x: Tensor, kernels: Sequence[int], name: str) -> Tensor:
    """Stack max pools of several sizes, the largest first, on the map itself: spatial pyramid pooling (SPP)."""
    pools = [darknet_max_pool(net, x, kernel=k, name=f"{name}.pool{k}") for k in kernels]
    return net.concat([*reversed(pools), x], name=f"{name}.concat")


def darknet_head(net: Builder, x: Tensor, anchors: int, classes: int, name: str) -> Tensor:
    """Add the 1x1 convolution that predicts, for each anchor, four coordinates, objectness and the classes."""
    return net.conv(x, anchors * (4 + 1 + classes), kernel=1, name=name)


def convolutional_classifier(net: Builder, x: Tensor, classes: int = 1000) -> Tensor:
    """Score every position by a 1x1 convolution, average the scores, then turn them into probabilities."""
    x = net.conv(x, classes, kernel=1, name="classifier")
    x = net.global_average_pool(x, name="pool")
    return net.softmax(x, name="probabilities")
