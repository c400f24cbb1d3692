"""EfficientNet B0 to B7 and the Lite variants: backbones of EfficientDet, and the ImageNet classifiers.

Source: Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", Table 1 and section
3.3; google/automl 6a54c87 `efficientdet/backbone/efficientnet_builder.py`, `efficientnet_lite_builder.py`,
`efficientnet_model.py`; Keras 3.15 `applications/efficientnet.py`; timm 1.0.31 `models/efficientnet.py`. Differs from
the paper:

* Squeeze-and-excite, which the table leaves out, passes through a quarter of the block's *input* channels.
* B1 to B7 take the coefficients of the code, which are rounded from the paper's alpha, beta and phi.

    224 x 224 --> stem --> stage1 --> stage2 --> stage3 --> stage4 --> stage5 --> stage6 --> stage7 --> head
    stride           2          2          4          8         16         16         32         32
    EfficientDet takes                              P3                    P4                    P5
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

from pure_detect.graph import BatchNormRule, Builder, Tensor
from pure_detect.image import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pure_detect.models.blocks import SqueezeExcite, inverted_residual, make_divisible
from pure_detect.network import Definition, Network


class MBConv(NamedTuple):
    """A row of Table 1, column by column: `layers` blocks, of which the first has the stride.

    `fused` is EfficientNetV2's Fused-MBConv, which no network of the first paper has.
    """

    expansion: int
    kernel: int
    stride: int
    channels: int
    layers: int
    fused: bool = False


STEM_CHANNELS = 32
STAGES = (
    MBConv(1, 3, 1, 16, 1),
    MBConv(6, 3, 2, 24, 2),
    MBConv(6, 5, 2, 40, 2),  # P3
    MBConv(6, 3, 2, 80, 3),
    MBConv(6, 5, 1, 112, 3),  # P4
    MBConv(6, 5, 2, 192, 4),
    MBConv(6, 3, 1, 320, 1),  # P5
)
HEAD_CHANNELS = 1280


class Scaling(NamedTuple):
    """How a variant is wider, deeper and sees more pixels than B0: the width and depth of section 3.3.

    `stages` and `stem` (its channels) are B0's, but for networks with a table of their own.
    """

    width: float
    depth: float
    resolution: int
    stages: tuple[MBConv, ...] = STAGES
    stem: int = STEM_CHANNELS


B = (
    Scaling(1.0, 1.0, 224),
    Scaling(1.0, 1.1, 240),
    Scaling(1.1, 1.2, 260),
    Scaling(1.2, 1.4, 300),
    Scaling(1.4, 1.8, 380),
    Scaling(1.6, 2.2, 456),
    Scaling(1.8, 2.6, 528),
    Scaling(2.0, 3.1, 600),
)
LITE = (
    Scaling(1.0, 1.0, 224),
    Scaling(1.0, 1.1, 240),
    Scaling(1.1, 1.2, 260),
    Scaling(1.2, 1.4, 280),
    Scaling(1.4, 1.8, 300),
)


class Convention(NamedTuple):
    """What the lines of the same table do differently."""

    padding: Literal["same"] | None  # None: kernel // 2 on all sides
    activation: str
    squeeze_excite: bool
    fixed_ends: bool  # whether stem and head, and the layers of the first and the last stage, are not scaled


TENSORFLOW = Convention("same", "swish", squeeze_excite=True, fixed_ends=False)
LITE_CONVENTION = Convention("same", "relu6", squeeze_excite=False, fixed_ends=True)
TIMM = Convention(None, "swish", squeeze_excite=True, fixed_ends=False)


def round_filters(channels: int, width: float) -> int:
    """Scale channels by the width coefficient, to a multiple of 8, never down by more than 10 %."""
    return make_divisible(channels * width)


def round_repeats(layers: int, depth: float) -> int:
    """Scale a stage's layers by the depth coefficient, up."""
    return math.ceil(depth * layers)


def scaled_stages(scaling: Scaling, convention: Convention = TENSORFLOW) -> tuple[MBConv, ...]:
    """Return the table of a variant."""
    rows = []
    for row in scaling.stages:
        fixed = convention.fixed_ends and row in (scaling.stages[0], scaling.stages[-1])
        layers = row.layers if fixed else round_repeats(row.layers, scaling.depth)
        rows.append(row._replace(channels=round_filters(row.channels, scaling.width), layers=layers))
    return tuple(rows)


def efficientnet(net: Builder, image: Tensor, scaling: Scaling, convention: Convention = TENSORFLOW) -> list[Tensor]:
    """Record stem and stages; return each stage's output, linear: after the projection and its batch norm."""
    stem = scaling.stem if convention.fixed_ends else round_filters(scaling.stem, scaling.width)
    act, padding = convention.activation, convention.padding
    x = net.conv_bn(image, stem, kernel=3, stride=2, padding=padding, activation=act, name="backbone.stem")
    features = []
    for i, row in enumerate(scaled_stages(scaling, convention), start=1):
        for j in range(1, row.layers + 1):
            stride = row.stride if j == 1 else 1
            block = fused_mbconv if row.fused else mbconv
            x = block(net, x, row, stride, convention, name=f"backbone.stage{i}.block{j}")
        features.append(x)
    return features


def mbconv(net: Builder, x: Tensor, row: MBConv, stride: int, convention: Convention, name: str) -> Tensor:
    """Record one block of a stage."""
    channels, act = x.shape[0], convention.activation
    squeeze = SqueezeExcite(max(1, channels // 4), act, "sigmoid")
    _, y = inverted_residual(
        net,
        x,
        kernel=row.kernel,
        expanded=row.expansion * channels,
        out=row.channels,
        stride=stride,
        activation=act,
        squeeze=squeeze if convention.squeeze_excite else None,
        padding=convention.padding,
        name=name,
    )
    return y


def fused_mbconv(net: Builder, x: Tensor, row: MBConv, stride: int, convention: Convention, name: str) -> Tensor:
    """Record one block of a fused stage: one convolution in place of expansion and depthwise convolution.

    Where the expansion is 1 that convolution is all. No squeeze-and-excite.

    Source: Tan and Le 2021, "EfficientNetV2: Smaller Models and Faster Training", section 3.2, Figure 2, Table 4; timm
    1.0.31 `models/_efficientnet_blocks.py`, EdgeResidual and ConvBnAct.
    """
    y = net.conv_bn(
        x,
        row.expansion * x.shape[0] if row.expansion > 1 else row.channels,
        kernel=row.kernel,
        stride=stride,
        padding=convention.padding,
        activation=convention.activation,
        name=f"{name}.fused",
    )
    if row.expansion > 1:
        y = net.conv_bn(y, row.channels, kernel=1, activation=None, name=f"{name}.project")
    return net.add([x, y], name=f"{name}.add") if stride == 1 and row.channels == x.shape[0] else y


def efficientnet_classifier(net: Builder, scaling: Scaling, convention: Convention = TENSORFLOW) -> Definition:
    """Record the ImageNet classifier: a 1x1 convolution, the mean of its map, 1000 probabilities."""
    x = efficientnet(net, net.image, scaling, convention)[-1]
    head = HEAD_CHANNELS if convention.fixed_ends else round_filters(HEAD_CHANNELS, scaling.width)
    x = net.conv_bn(x, head, kernel=1, activation=convention.activation, name="head")
    x = net.global_average_pool(x, name="pool")
    x = net.conv(x, 1000, kernel=1, name="classifier")
    return Definition([net.softmax(x, name="probabilities")])


def _classifier(i: int, scaling: Scaling) -> Network:
    return Network(
        f"efficientnet-b{i}",
        "classifier",
        partial(efficientnet_classifier, scaling=scaling),
        (3, scaling.resolution, scaling.resolution),
        preprocessing=Preprocessing("crop", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        batch_norm_rule=BatchNormRule(1e-3),
    )


EFFICIENTNETS = tuple(_classifier(i, scaling) for i, scaling in enumerate(B))
