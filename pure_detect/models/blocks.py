"""Blocks that more than one network uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

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


class SqueezeExcite(NamedTuple):
    """How many channels a squeeze-and-excite passes through, and its two nonlinearities."""

    channels: int
    activation: str
    gate: str


def inverted_residual(
    net: Builder,
    x: Tensor,
    *,
    kernel: int,
    expanded: int,
    out: int,
    stride: int,
    activation: str,
    squeeze: SqueezeExcite | None,
    padding: Literal["same"] | None,
    name: str,
) -> tuple[Tensor, Tensor]:
    """Record expansion, depthwise convolution, squeeze-and-excite, projection; return the expansion and the output.

    Sandler et al. 2018, "MobileNetV2", Figure 3; with squeeze-and-excite Howard et al. 2019, "MobileNetV3", Figure 4.
    Where the expansion has as many channels as the input there is none; where the stride is 1 and the channels agree,
    the input is added. EfficientNet calls the block MBConv.
    """
    expansion = x
    if expanded != x.shape[0]:
        expansion = net.conv_bn(x, expanded, kernel=1, activation=activation, name=f"{name}.expand")
    y = net.conv_bn(
        expansion,
        expanded,
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=expanded,
        activation=activation,
        name=f"{name}.depthwise",
    )
    if squeeze:
        y = squeeze_excite(net, y, squeeze, name=f"{name}.squeeze_excite")
    y = net.conv_bn(y, out, kernel=1, activation=None, name=f"{name}.project")
    if stride == 1 and out == x.shape[0]:
        y = net.add([x, y], name=f"{name}.add")
    return expansion, y


def squeeze_excite(net: Builder, x: Tensor, squeeze: SqueezeExcite, name: str) -> Tensor:
    """Scale each channel by a gate that two 1x1 convolutions compute from the channels' means."""
    y = net.global_average_pool(x, name=f"{name}.pool")
    y = net.conv(y, squeeze.channels, kernel=1, name=f"{name}.reduce")
    y = net.activation(y, squeeze.activation, name=f"{name}.{squeeze.activation}")
    y = net.conv(y, x.shape[0], kernel=1, name=f"{name}.expand")
    y = net.activation(y, squeeze.gate, name=f"{name}.gate")
    return net.multiply(x, y, name=f"{name}.scale")


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of 8, never down by more than 10 %: `_make_divisible` of every implementation."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
