"""Tiny Darknet: an ImageNet classifier of 4 MB that labels as well as AlexNet.

Source: Redmon, https://pjreddie.com/darknet/tiny-darknet; `cfg/tiny.cfg` of pjreddie/darknet. There is no paper.
"""

from __future__ import annotations

from pure_detect.graph import Builder
from pure_detect.image import Preprocessing
from pure_detect.models.blocks import Conv, convolutional_classifier, pooled_stages
from pure_detect.network import Definition, Network

# The layers as the page lists them; each new line is a max pool of 2x2/2.
STAGES = (
    (Conv(16, 3),),
    (Conv(32, 3),),
    (Conv(16, 1), Conv(128, 3), Conv(16, 1), Conv(128, 3)),
    (Conv(32, 1), Conv(256, 3), Conv(32, 1), Conv(256, 3)),
    (Conv(64, 1), Conv(512, 3), Conv(64, 1), Conv(512, 3), Conv(128, 1)),
)


def tiny_darknet(net: Builder) -> Definition:
    """Record the classifier: 1000 probabilities."""
    return Definition([convolutional_classifier(net, pooled_stages(net, net.image, STAGES)[-1])])


TINY_DARKNET = Network(
    name="tiny-darknet",
    family="classifier",
    define=tiny_darknet,
    input_shape=(3, 224, 224),
    preprocessing=Preprocessing(resize="crop"),
)
