"""Darknet-19: the backbone of YOLOv2, and the ImageNet classifier that it was trained as.

Source: Redmon and Farhadi 2017, "YOLO9000: Better, Faster, Stronger", Table 6; `cfg/darknet19.cfg` of
pjreddie/darknet. Differs from the paper: the table gives the input as 224, the cfg says 256.
"""

from __future__ import annotations

from pure_detect.graph import Builder, Tensor
from pure_detect.image import Preprocessing
from pure_detect.models.blocks import Conv, convolutional_classifier, pooled_stages
from pure_detect.network import Definition, Network

# Table 6, read downwards; each new line is a row "Maxpool, 2x2/2".
STAGES = (
    (Conv(32, 3),),
    (Conv(64, 3),),
    (Conv(128, 3), Conv(64, 1), Conv(128, 3)),
    (Conv(256, 3), Conv(128, 1), Conv(256, 3)),
    (Conv(512, 3), Conv(256, 1), Conv(512, 3), Conv(256, 1), Conv(512, 3)),  # stride 16: YOLOv2's passthrough
    (Conv(1024, 3), Conv(512, 1), Conv(1024, 3), Conv(512, 1), Conv(1024, 3)),
)


def darknet19(net: Builder, image: Tensor) -> list[Tensor]:
    """Record the 18 convolutions before the classifier; return the output of each of the six stages."""
    return pooled_stages(net, image, STAGES)


def darknet19_classifier(net: Builder) -> Definition:
    """Record the ImageNet classifier: 1000 probabilities."""
    return Definition([convolutional_classifier(net, darknet19(net, net.image)[-1])])


DARKNET19 = Network(
    name="darknet19",
    family="classifier",
    define=darknet19_classifier,
    input_shape=(3, 256, 256),
    preprocessing=Preprocessing(resize="crop"),
)
