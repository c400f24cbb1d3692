"""SSDLite on MobileNetV3: TensorFlow's line and torchvision's.

Source: Sandler et al. 2018, "MobileNetV2", section 6.2 (SSDLite); Howard et al. 2019, section 6.3; TensorFlow Object
Detection API, `samples/configs/ssdlite_mobilenet_v3_{large,small}_320x320_coco.config`; torchvision 0.28
`models/detection/ssdlite.py`.

    320 x 320 --> backbone --> 20 x 20, the expansion of the last stage's first bottleneck --> head 0
                           --> 10 x 10, the last 1x1 convolution                           --> head 1
                  extras   --> 5 x 5 --> 3 x 3 --> 2 x 2 --> 1 x 1                         --> heads 2 to 5

The two lines share the picture above and almost no number; :class:`Line` shows where they differ. Rows, channels,
anchors, classes and the input's size are parameters: :func:`ssdlite_network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from pure_detect.boxes.anchors import AnchorMap, tensorflow_anchors, torchvision_anchors
from pure_detect.boxes.decode_ssd import TORCHVISION_LARGEST_EXPONENT, SsdHead
from pure_detect.graph import BatchNormRule, Builder, Tensor
from pure_detect.image import Preprocessing
from pure_detect.labels import COCO_91
from pure_detect.models.mobilenetv3 import (
    LARGE,
    SMALL,
    TENSORFLOW,
    TORCHVISION,
    Bottleneck,
    Convention,
    mobilenetv3,
    reduced_tail,
)
from pure_detect.network import Definition, Network

EXTRA_CHANNELS = (512, 256, 256, 128)
SMALLEST_EXTRA = 16
CODER = (10.0, 10.0, 5.0, 5.0)  # x, y, width, height are divided by these


class Line(NamedTuple):
    """Where the two published lines differ."""

    convention: Convention
    anchors: tuple[AnchorMap, ...]
    score_function: Literal["sigmoid", "softmax"]
    box_order: Literal["yxhw", "xywh"]
    largest_exponent: float | None
    clip_first: bool  # before the suppression; TensorFlow clips after it
    preprocessing: Preprocessing
    iou: float
    candidates_per_class: int
    limit: int


TENSORFLOW_LINE = Line(
    convention=TENSORFLOW,
    anchors=tensorflow_anchors(),
    score_function="sigmoid",
    box_order="yxhw",
    largest_exponent=None,
    clip_first=False,
    preprocessing=Preprocessing("tensorflow", scale=2 / 255, mean=(1.0, 1.0, 1.0)),
    iou=0.6,
    candidates_per_class=100,
    limit=100,
)
TORCHVISION_LINE = Line(
    convention=TORCHVISION,
    anchors=torchvision_anchors(),
    score_function="softmax",
    box_order="xywh",
    largest_exponent=TORCHVISION_LARGEST_EXPONENT,
    clip_first=True,
    preprocessing=Preprocessing("stretch-float", scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    iou=0.55,
    candidates_per_class=300,
    limit=300,
)


def widened_extras(multiplier: float) -> tuple[int, ...]:
    """Return the channels of the extra layers under a width multiplier: rounded down, at least 16.

    Source: torchvision 0.28 `models/detection/ssdlite.py`, SSDLiteFeatureExtractorMobileNet.
    """
    return tuple(max(SMALLEST_EXTRA, int(channels * multiplier)) for channels in EXTRA_CHANNELS)


def ssdlite(
    net: Builder,
    rows: Sequence[Bottleneck],
    line: Line,
    columns: int,
    extras: Sequence[int] = EXTRA_CHANNELS,
    first: int = -3,
) -> Definition:
    """Record the detector: `columns` class scores an anchor, the first of them the background.

    The first head takes the expansion of the row `first`.
    """
    features = mobilenetv3(net, net.image, rows, line.convention)
    maps = [features.expansions[first], features.last]
    for i, channels in enumerate(extras):
        maps.append(extra_layer(net, maps[-1], channels, line.convention, name=f"extras.{i}"))
    boxes, classes = [], []
    for i, (x, anchors) in enumerate(zip(maps, line.anchors)):
        count = len(anchors.sizes_wh)
        boxes.append(predictor(net, x, 4 * count, line.convention, name=f"heads.{i}.boxes"))
        classes.append(predictor(net, x, columns * count, line.convention, name=f"heads.{i}.classes"))
    head = SsdHead(
        box_tensors=tuple(tensor.name for tensor in boxes),
        class_tensors=tuple(tensor.name for tensor in classes),
        anchors=line.anchors,
        classes=columns - 1,
        coder=CODER,
        score_function=line.score_function,
        box_order=line.box_order,
        largest_exponent=line.largest_exponent,
    )
    return Definition([*boxes, *classes], [head])


def extra_layer(net: Builder, x: Tensor, channels: int, convention: Convention, name: str) -> Tensor:
    """Halve the map: 1x1 to half the channels, depthwise 3x3 of stride 2, 1x1 to all of them; ReLU6 throughout."""
    half = channels // 2
    x = net.conv_bn(x, half, kernel=1, activation="relu6", name=f"{name}.reduce")
    x = depthwise(net, x, convention, stride=2, name=f"{name}.depthwise")
    return net.conv_bn(x, channels, kernel=1, activation="relu6", name=f"{name}.expand")


def predictor(net: Builder, x: Tensor, channels: int, convention: Convention, name: str) -> Tensor:
    """Predict from one map: depthwise 3x3, then a 1x1 convolution with bias. This is what makes SSD SSDLite."""
    x = depthwise(net, x, convention, stride=1, name=f"{name}.depthwise")
    return net.conv(x, channels, kernel=1, name=f"{name}.predict")


def depthwise(net: Builder, x: Tensor, convention: Convention, stride: int, name: str) -> Tensor:
    """Add a 3x3 depthwise convolution with batch norm and ReLU6."""
    groups, padding = x.shape[0], convention.padding
    return net.conv_bn(
        x, groups, kernel=3, stride=stride, padding=padding, groups=groups, activation="relu6", name=name
    )


def ssdlite_network(
    name: str,
    rows: Sequence[Bottleneck],
    line: Line,
    *,
    labels: tuple[str, ...] = COCO_91,
    extras: Sequence[int] = EXTRA_CHANNELS,
    first: int = -3,
    size: int = 320,
) -> Network:
    """Return a detector of a line: on these rows of MobileNetV3, for these classes, at this height and width."""
    return Network(
        name,
        "ssdlite",
        partial(ssdlite, rows=rows, line=line, columns=1 + len(labels), extras=extras, first=first),
        (3, size, size),
        labels=labels,
        preprocessing=line.preprocessing,
        batch_norm_rule=BatchNormRule(1e-3),
        iou=line.iou,
        candidates_per_class=line.candidates_per_class,
        limit=line.limit,
        clip_first=line.clip_first,
    )


SSDLITE_LARGE = ssdlite_network("ssdlite-mobilenetv3-large", reduced_tail(LARGE), TENSORFLOW_LINE)
SSDLITE_SMALL = ssdlite_network("ssdlite-mobilenetv3-small", reduced_tail(SMALL), TENSORFLOW_LINE)
SSDLITE320_LARGE = ssdlite_network("ssdlite320-mobilenetv3-large", reduced_tail(LARGE), TORCHVISION_LINE)
