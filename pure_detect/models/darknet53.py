"""Darknet-53: the backbone of YOLOv3, and the ImageNet classifier that it was trained as.

Source: Redmon and Farhadi 2018, "YOLOv3: An Incremental Improvement", Table 1; `cfg/darknet53.cfg` of
pjreddie/darknet. Differs from the paper: nothing; the table's last rows (average pool, connected, softmax) are an
average pool, a 1x1 convolution and a softmax in the cfg.
"""

from __future__ import annotations

from typing import NamedTuple

from pure_detect.graph import Builder, Tensor
from pure_detect.image import Preprocessing
from pure_detect.models.blocks import darknet_conv
from pure_detect.network import Definition, Network


class Stage(NamedTuple):
    """A group of rows in Table 1: a 3x3 convolution of stride 2, then the residual blocks in the box beside it."""

    filters: int
    blocks: int


STEM_FILTERS = 32
STAGES = (
    Stage(64, 1),
    Stage(128, 2),
    Stage(256, 8),  # its output, at stride 8, feeds YOLOv3's third head
    Stage(512, 8),  # at stride 16, the second
    Stage(1024, 4),  # at stride 32, the first
)


def darknet53(net: Builder, image: Tensor) -> list[Tensor]:
    """Record the 52 convolutions before the classifier; return the output of each of the five stages."""
    x = darknet_conv(net, image, STEM_FILTERS, kernel=3, name="backbone.stem")
    features = []
    for i, stage in enumerate(STAGES, start=1):
        x = darknet_conv(net, x, stage.filters, kernel=3, stride=2, name=f"backbone.stage{i}.down")
        for j in range(stage.blocks):
            x = residual(net, x, name=f"backbone.stage{i}.block{j}")
        features.append(x)
    return features


def residual(net: Builder, x: Tensor, name: str) -> Tensor:
    """Halve the channels by a 1x1 convolution, restore them by a 3x3 one, and add the input."""
    y = darknet_conv(net, x, x.shape[0] // 2, kernel=1, name=f"{name}.reduce")
    y = darknet_conv(net, y, x.shape[0], kernel=3, name=f"{name}.expand")
    return net.add([y, x], name=f"{name}.add")


def darknet53_classifier(net: Builder) -> Definition:
    """Record the ImageNet classifier: 1000 probabilities."""
    x = net.global_average_pool(darknet53(net, net.image)[-1], name="pool")
    x = net.conv(x, 1000, kernel=1, name="classifier")
    return Definition([net.softmax(x, name="probabilities")])


DARKNET53 = Network(
    name="darknet53",
    family="classifier",
    define=darknet53_classifier,
    input_shape=(3, 256, 256),
    preprocessing=Preprocessing(resize="crop"),
)
