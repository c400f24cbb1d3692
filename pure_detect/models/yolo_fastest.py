"""Yolo-Fastest 1.1 and Yolo-Fastest 1.1-xl: detectors of 0.33 and 0.90 million parameters for small computers.

Source: dog-qiuqiu/Yolo-Fastest (commit 96a2900), `ModelZoo/yolo-fastest-1.1_coco/yolo-fastest-1.1.cfg` and
`yolo-fastest-1.1-xl.cfg`. There is no paper. The blocks are the inverted residuals of Sandler et al. 2018,
"MobileNetV2", section 3; what differs from that paper:

* leaky ReLU where it has ReLU6;
* the expansion varies between 2 and 6 from row to row, where it has 6;
* the first block, of expansion 1, keeps its first 1x1 convolution.

    stage at stride 16          last stage (stride 32)
         |                             |
         |                         SPP, reduce ---> separable, separable ---> head 1: anchors 3, 4, 5
         |                             |
      concat <------ upsample ---------+
         |
      separable, separable ---> head 2: anchors 0, 1, 2
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pure_detect.boxes.decode_yolo import Anchors, YoloHead
from pure_detect.graph import Builder, Tensor
from pure_detect.labels import COCO_80
from pure_detect.models.blocks import darknet_conv, darknet_head, pyramid_pools
from pure_detect.network import Definition, Network

# Width and height in pixels of the input.
ANCHORS: Anchors = ((12, 18), (37, 49), (52, 132), (115, 73), (119, 199), (242, 238))


class Bottlenecks(NamedTuple):
    """A row as in MobileNetV2's Table 2: `repeats` blocks, of which only the first has the stride."""

    expanded: int  # channels between the two 1x1 convolutions
    filters: int
    stride: int
    repeats: int


# Of Yolo-Fastest 1.1; the xl network has twice the channels in every row.
STEM_FILTERS = 8
BACKBONE = (
    Bottlenecks(8, 4, 1, 2),
    Bottlenecks(24, 8, 2, 1),
    Bottlenecks(32, 8, 1, 2),
    Bottlenecks(32, 8, 2, 1),
    Bottlenecks(48, 8, 1, 2),
    Bottlenecks(48, 16, 1, 1),
    Bottlenecks(96, 16, 1, 4),
    Bottlenecks(96, 24, 2, 1),
    Bottlenecks(136, 24, 1, 4),  # its output, at stride 16, feeds the second head
    Bottlenecks(136, 48, 2, 1),
    Bottlenecks(224, 48, 1, 5),  # at stride 32, the first
)
FINE_ROW = 8

SPP_KERNELS = (3, 5, 9)
SPP_FILTERS = 96  # in both networks


def yolo_fastest(net: Builder, anchors: Anchors = ANCHORS, classes: int = 80, widen: int = 1) -> Definition:
    """Record Yolo-Fastest 1.1 with the backbone's channels times `widen`: inverted residuals and two scales."""
    features = backbone(net, net.image, widen)
    x = pyramid_pools(net, features[-1], SPP_KERNELS, name="spp")
    branch = darknet_conv(net, x, SPP_FILTERS, kernel=1, name="spp.reduce")
    x = detection_convs(net, branch, name="detection1")
    coarse_output = darknet_head(net, x, 3, classes, name="detection1.head")
    x = net.upsample(branch, factor=2, name="detection2.upsample")
    x = net.concat([x, features[FINE_ROW]], name="detection2.concat")
    x = detection_convs(net, x, name="detection2")
    fine_output = darknet_head(net, x, 3, classes, name="detection2.head")
    heads = [
        YoloHead(coarse_output.name, anchors[3:6], classes),
        YoloHead(fine_output.name, anchors[0:3], classes),
    ]
    return Definition([coarse_output, fine_output], heads)


def backbone(net: Builder, image: Tensor, widen: int) -> list[Tensor]:
    """Record the stem and all bottlenecks; return the output of each row of the table."""
    x = darknet_conv(net, image, widen * STEM_FILTERS, kernel=3, stride=2, name="backbone.stem")
    features = []
    for i, row in enumerate(BACKBONE, start=1):
        for j in range(row.repeats):
            stride = row.stride if j == 0 else 1
            name = f"backbone.row{i}.block{j}"
            x = bottleneck(net, x, widen * row.expanded, widen * row.filters, stride, name)
        features.append(x)
    return features


def bottleneck(net: Builder, x: Tensor, expanded: int, filters: int, stride: int, name: str) -> Tensor:
    """Expand, convolve each channel by itself, project without activation; add the input where it fits."""
    y = darknet_conv(net, x, expanded, kernel=1, name=f"{name}.expand")
    y = darknet_conv(net, y, expanded, kernel=3, stride=stride, groups=expanded, name=f"{name}.depthwise")
    y = darknet_conv(net, y, filters, kernel=1, activation=None, name=f"{name}.project")
    return net.add([y, x], name=f"{name}.add") if y.shape == x.shape else y


def detection_convs(net: Builder, x: Tensor, name: str) -> Tensor:
    """Record two separable convolutions: 5x5 on each channel by itself, then 1x1 without activation."""
    channels = x.shape[0]
    for j in (1, 2):
        x = darknet_conv(net, x, channels, kernel=5, groups=channels, name=f"{name}.depthwise{j}")
        x = darknet_conv(net, x, channels, kernel=1, activation=None, name=f"{name}.pointwise{j}")
    return x


YOLO_FASTEST = Network("yolo-fastest-1.1", "yolo", yolo_fastest, (3, 320, 320), stride=32, labels=COCO_80)
YOLO_FASTEST_XL = Network(
    "yolo-fastest-1.1-xl", "yolo", partial(yolo_fastest, widen=2), (3, 320, 320), stride=32, labels=COCO_80
)
