"""YOLOv2 and YOLOv2-tiny.

Source: Redmon and Farhadi 2017, "YOLO9000: Better, Faster, Stronger", section 2; `cfg/yolov2.cfg` and
`yolov2-tiny.cfg` of pjreddie/darknet. Differs from the paper:

* the paper's input is 416, the cfg of YOLOv2 says 608 (416 for tiny);
* the passthrough is first reduced to 64 channels by a 1x1 convolution, so 256 reach the concatenation, not 2048;
* the passthrough moves values about in another order than neighbours into channels: see `ops/rearrange.py`;
* the tiny network is not in the paper.

    stage 5 (stride 16)           stage 6 (stride 32)
         |                             |
      reduce -> reorg (2x2 cells)  conv1, conv2
                  |                    |
                  +--> concat <--------+
                          |
                        conv3 ---> head: all five anchors
"""

from __future__ import annotations

from pure_detect.boxes.decode_yolo import Anchors, RegionHead
from pure_detect.graph import Builder, Tensor
from pure_detect.labels import COCO_80
from pure_detect.models.blocks import Conv, darknet_conv, darknet_head, darknet_max_pool, pooled_stages
from pure_detect.models.darknet19 import darknet19
from pure_detect.network import Definition, Network

# Width and height in cells of the head's grid, from k-means on the boxes of COCO: section 2, "Dimension Clusters".
ANCHORS: Anchors = (
    (0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828),
)  # fmt: skip

FILTERS = 1024
PASSTHROUGH_FILTERS = 64


def yolov2(net: Builder, anchors: Anchors = ANCHORS, classes: int = 80) -> Definition:
    """Record YOLOv2: Darknet-19, and three convolutions of which the last sees the finer map as well."""
    *_, fine, x = darknet19(net, net.image)
    for j in (1, 2):
        x = darknet_conv(net, x, FILTERS, kernel=3, name=f"detection.conv{j}")
    passthrough = darknet_conv(net, fine, PASSTHROUGH_FILTERS, kernel=1, name="detection.reduce")
    passthrough = net.reorg(passthrough, stride=2, name="detection.reorg")
    x = net.concat([passthrough, x], name="detection.concat")
    x = darknet_conv(net, x, FILTERS, kernel=3, name="detection.conv3")
    return region(net, x, anchors, classes)


# YOLOv2-tiny's backbone as far as stride 32; each new line is a max pool of 2x2/2.
TINY_STAGES = (
    (Conv(16, 3),),
    (Conv(32, 3),),
    (Conv(64, 3),),
    (Conv(128, 3),),
    (Conv(256, 3),),
    (Conv(512, 3),),
)


def yolov2_tiny(net: Builder, anchors: Anchors = ANCHORS, classes: int = 80) -> Definition:
    """Record YOLOv2-tiny: eight convolutions and no passthrough. The sixth max pool keeps the map's size."""
    x = pooled_stages(net, net.image, TINY_STAGES)[-1]
    x = darknet_max_pool(net, x, kernel=2, name="backbone.pool6")
    x = darknet_conv(net, x, 1024, kernel=3, name="detection.conv1")
    x = darknet_conv(net, x, 512, kernel=3, name="detection.conv2")
    return region(net, x, anchors, classes)


def region(net: Builder, x: Tensor, anchors: Anchors, classes: int) -> Definition:
    """Record the one head, which predicts a box for every anchor at every cell."""
    output = darknet_head(net, x, len(anchors), classes, name="detection.head")
    return Definition([output], [RegionHead(output.name, anchors, classes)])


YOLOV2 = Network("yolov2", "yolo", yolov2, (3, 608, 608), stride=32, labels=COCO_80)
YOLOV2_TINY = Network("yolov2-tiny", "yolo", yolov2_tiny, (3, 416, 416), stride=32, labels=COCO_80)
