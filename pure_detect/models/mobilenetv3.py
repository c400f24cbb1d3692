"""MobileNetV3, Large and Small: backbones of SSDLite, and the ImageNet classifiers.

Source: Howard et al. 2019, "Searching for MobileNetV3", Tables 1 and 2; torchvision 0.28 `models/mobilenetv3.py`; Keras
3.15 `applications/mobilenet_v3.py`; TensorFlow models `slim/nets/mobilenet/mobilenet_v3.py`. Differs from the paper:

* Table 2 marks squeeze-and-excite on Small's last 1x1 convolution, which no implementation has.
* Batch norm's epsilon is 1e-3 everywhere.
* The minimalistic variants are not in it; TensorFlow models introduced them.

Differs from Keras: a model that is built without an `input_shape` pads each depthwise convolution of stride 2 as for
even maps, also where the map is odd; ours are its models of a fixed shape. At multiples of 32 they are the same.
Differs from torchvision: its published figures shrink the shorter side to 256 (or 232) before they take the central
224 pixels; "crop" shrinks it to 224.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from pure_detect.graph import BatchNormRule, Builder, Tensor
from pure_detect.image import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pure_detect.models.blocks import SqueezeExcite, inverted_residual, make_divisible
from pure_detect.network import Definition, Network

Nonlinearity = Literal["relu", "hard_swish"]


class Bottleneck(NamedTuple):
    """A row of Table 1 or 2, column by column."""

    kernel: int
    expanded: int
    out: int
    squeeze_excite: bool
    nonlinearity: Nonlinearity
    stride: int


LARGE = (
    Bottleneck(3, 16, 16, False, "relu", 1),
    Bottleneck(3, 64, 24, False, "relu", 2),
    Bottleneck(3, 72, 24, False, "relu", 1),
    Bottleneck(5, 72, 40, True, "relu", 2),
    Bottleneck(5, 120, 40, True, "relu", 1),
    Bottleneck(5, 120, 40, True, "relu", 1),
    Bottleneck(3, 240, 80, False, "hard_swish", 2),
    Bottleneck(3, 200, 80, False, "hard_swish", 1),
    Bottleneck(3, 184, 80, False, "hard_swish", 1),
    Bottleneck(3, 184, 80, False, "hard_swish", 1),
    Bottleneck(3, 480, 112, True, "hard_swish", 1),
    Bottleneck(3, 672, 112, True, "hard_swish", 1),
    Bottleneck(5, 672, 160, True, "hard_swish", 2),  # its expansion, at stride 16, feeds SSDLite's first map
    Bottleneck(5, 960, 160, True, "hard_swish", 1),
    Bottleneck(5, 960, 160, True, "hard_swish", 1),
)

SMALL = (
    Bottleneck(3, 16, 16, True, "relu", 2),
    Bottleneck(3, 72, 24, False, "relu", 2),
    Bottleneck(3, 88, 24, False, "relu", 1),
    Bottleneck(5, 96, 40, True, "hard_swish", 2),
    Bottleneck(5, 240, 40, True, "hard_swish", 1),
    Bottleneck(5, 240, 40, True, "hard_swish", 1),
    Bottleneck(5, 120, 48, True, "hard_swish", 1),
    Bottleneck(5, 144, 48, True, "hard_swish", 1),
    Bottleneck(5, 288, 96, True, "hard_swish", 2),
    Bottleneck(5, 576, 96, True, "hard_swish", 1),
    Bottleneck(5, 576, 96, True, "hard_swish", 1),
)


class Convention(NamedTuple):
    """What the implementations of the same tables do differently."""

    padding: Literal["same"] | None  # None: kernel // 2 on all sides
    gate: Literal["hard_sigmoid", "hard_sigmoid_tf"]  # of squeeze-and-excite


TENSORFLOW = Convention(padding="same", gate="hard_sigmoid_tf")
KERAS = Convention(padding="same", gate="hard_sigmoid")
TORCHVISION = Convention(padding=None, gate="hard_sigmoid")


class Features(NamedTuple):
    """What heads can take from the backbone."""

    expansions: list[Tensor]  # of each row, before its depthwise convolution
    last: Tensor  # of the 1x1 convolution after the rows


def reduced_tail(rows: Sequence[Bottleneck]) -> tuple[Bottleneck, ...]:
    """Halve the channels of the last stage, as detectors do: section 6.3, last paragraph."""
    first, *rest = rows[-3:]
    return (
        *rows[:-3],
        first._replace(out=first.out // 2),
        *(row._replace(expanded=row.expanded // 2, out=row.out // 2) for row in rest),
    )


def widened(rows: Sequence[Bottleneck], multiplier: float) -> tuple[Bottleneck, ...]:
    """Multiply all channels, and round them to multiples of 8: the width multiplier of section 6.1.1."""
    return tuple(
        row._replace(expanded=make_divisible(row.expanded * multiplier), out=make_divisible(row.out * multiplier))
        for row in rows
    )


def minimalistic(rows: Sequence[Bottleneck]) -> tuple[Bottleneck, ...]:
    """Leave out what some hardware is slow at: 5x5 kernels, squeeze-and-excite, hard swish."""
    return tuple(row._replace(kernel=3, squeeze_excite=False, nonlinearity="relu") for row in rows)


def mobilenetv3(
    net: Builder, image: Tensor, rows: Sequence[Bottleneck], convention: Convention, stem: Nonlinearity = "hard_swish"
) -> Features:
    """Record the stem, one bottleneck a row, and the 1x1 convolution behind them.

    The stem has as many filters as the first row expands to, which therefore has no expansion.
    """
    x = net.conv_bn(
        image, rows[0].expanded, kernel=3, stride=2, padding=convention.padding, activation=stem, name="backbone.stem"
    )
    expansions = []
    for i, row in enumerate(rows):
        expansion, x = bottleneck(net, x, row, convention, name=f"backbone.bottleneck{i}")
        expansions.append(expansion)
    last = net.conv_bn(x, 6 * x.shape[0], kernel=1, activation=stem, name="backbone.last")
    return Features(expansions, last)


def bottleneck(net: Builder, x: Tensor, row: Bottleneck, convention: Convention, name: str) -> tuple[Tensor, Tensor]:
    """Record one row; return its expansion and its output."""
    squeeze = SqueezeExcite(make_divisible(row.expanded / 4), "relu", convention.gate)
    return inverted_residual(
        net,
        x,
        kernel=row.kernel,
        expanded=row.expanded,
        out=row.out,
        stride=row.stride,
        activation=row.nonlinearity,
        squeeze=squeeze if row.squeeze_excite else None,
        padding=convention.padding,
        name=name,
    )


def mobilenetv3_classifier(
    net: Builder, rows: Sequence[Bottleneck], hidden: int, convention: Convention, outer: Nonlinearity = "hard_swish"
) -> Definition:
    """Record the ImageNet classifier: `hidden` channels from the pooled map, then 1000 probabilities.

    `outer` is the nonlinearity outside of the rows: of the stem, the last convolution and the hidden layer.
    """
    x = mobilenetv3(net, net.image, rows, convention, stem=outer).last
    x = net.global_average_pool(x, name="pool")
    x = net.conv(x, hidden, kernel=1, name="classifier.hidden")
    x = net.activation(x, outer, name="classifier.hidden.activation")
    x = net.conv(x, 1000, kernel=1, name="classifier.logits")
    return Definition([net.softmax(x, name="probabilities")])


LARGE_HIDDEN, SMALL_HIDDEN = 1280, 1024
TORCHVISION_PIXELS = Preprocessing("crop", mean=IMAGENET_MEAN, std=IMAGENET_STD)
KERAS_PIXELS = Preprocessing("crop", scale=1 / 127.5, mean=(1.0, 1.0, 1.0))


def _network(
    name: str,
    rows: Sequence[Bottleneck],
    hidden: int,
    convention: Convention = KERAS,
    outer: Nonlinearity = "hard_swish",
) -> Network:
    return Network(
        name,
        "classifier",
        partial(mobilenetv3_classifier, rows=rows, hidden=hidden, convention=convention, outer=outer),
        (3, 224, 224),
        preprocessing=TORCHVISION_PIXELS if convention is TORCHVISION else KERAS_PIXELS,
        batch_norm_rule=BatchNormRule(1e-3),
    )


MOBILENETV3_LARGE = _network("mobilenetv3-large", LARGE, LARGE_HIDDEN, TORCHVISION)
MOBILENETV3_SMALL = _network("mobilenetv3-small", SMALL, SMALL_HIDDEN, TORCHVISION)
MOBILENETV3_LARGE_KERAS = _network("mobilenetv3-large-keras", LARGE, LARGE_HIDDEN)
MOBILENETV3_SMALL_KERAS = _network("mobilenetv3-small-keras", SMALL, SMALL_HIDDEN)
MOBILENETV3_LARGE_MINIMALISTIC_KERAS = _network(
    "mobilenetv3-large-minimalistic-keras", minimalistic(LARGE), LARGE_HIDDEN, outer="relu"
)
MOBILENETV3_SMALL_MINIMALISTIC_KERAS = _network(
    "mobilenetv3-small-minimalistic-keras", minimalistic(SMALL), SMALL_HIDDEN, outer="relu"
)
