"""YOLOv3, YOLOv3-SPP and YOLOv3-tiny.

Source: Redmon and Farhadi 2018, "YOLOv3: An Incremental Improvement", sections 2.1 to 2.4; `cfg/yolov3.cfg`,
`yolov3-spp.cfg` and `yolov3-tiny.cfg` of pjreddie/darknet. Differs from the paper: the paper gives the input as 416
and 608, the cfgs say 608 (416 for tiny); the SPP block and the tiny network are not in the paper.

               stage 3 (stride 8)      stage 4 (stride 16)     stage 5 (stride 32)
                    |                       |                       |
                    |                       |                    detection 1 ---> head 1: anchors 6, 7, 8
                    |                    concat <--- upsample <--- reduce
                    |                    detection 2 ---> head 2: anchors 3, 4, 5
                 concat <--- upsample <--- reduce
                 detection 3 ---> head 3: anchors 0, 1, 2
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pure_detect.boxes.decode_yolo import Anchors, YoloHead
from pure_detect.graph import Builder, Tensor
from pure_detect.labels import COCO_80
from pure_detect.models.blocks import darknet_conv, darknet_head, darknet_max_pool, pyramid_pools
from pure_detect.models.darknet53 import darknet53
from pure_detect.network import Definition, Network

# Width and height in pixels of the input, from k-means on COCO: section 2.3. Large objects belong to the coarse grid.
ANCHORS: Anchors = (
    (10, 13), (16, 30), (33, 23),
    (30, 61), (62, 45), (59, 119),
    (116, 90), (156, 198), (373, 326),
)  # fmt: skip
TINY_ANCHORS: Anchors = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))

SPP_KERNELS = (5, 9, 13)


class Scale(NamedTuple):
    """One of the three detection scales."""

    stage: int  # of the backbone, counted from 1
    filters: int  # of the 1x1 convolutions; the 3x3 ones have twice as many
    mask: tuple[int, ...]  # which of the anchors


SCALES = (Scale(5, 512, (6, 7, 8)), Scale(4, 256, (3, 4, 5)), Scale(3, 128, (0, 1, 2)))


def yolov3(net: Builder, anchors: Anchors = ANCHORS, classes: int = 80, spp: bool = False) -> Definition:
    """Record YOLOv3: Darknet-53 and three detection scales, each fed by the one before and an earlier stage."""
    features = darknet53(net, net.image)
    outputs: list[Tensor] = []
    heads: list[YoloHead] = []
    branch: Tensor | None = None
    for i, scale in enumerate(SCALES, start=1):
        name, x = f"detection{i}", features[scale.stage - 1]
        if branch is not None:
            up = darknet_conv(net, branch, scale.filters, kernel=1, name=f"{name}.reduce")
            up = net.upsample(up, factor=2, name=f"{name}.upsample")
            x = net.concat([up, x], name=f"{name}.concat")
        branch = detection_convs(net, x, scale.filters, name, spp and i == 1)
        x = darknet_conv(net, branch, 2 * scale.filters, kernel=3, name=f"{name}.conv6")
        outputs.append(darknet_head(net, x, len(scale.mask), classes, name=f"{name}.head"))
        heads.append(YoloHead(f"{name}.head", tuple(anchors[j] for j in scale.mask), classes))
    return Definition(outputs, heads)


def detection_convs(net: Builder, x: Tensor, filters: int, name: str, spp: bool) -> Tensor:
    """Record the five alternating convolutions of a scale; the next scale branches off after them."""
    for j, kernel in enumerate((1, 3, 1, 3, 1), start=1):
        channels = filters if kernel == 1 else 2 * filters
        x = darknet_conv(net, x, channels, kernel=kernel, name=f"{name}.conv{j}")
        if spp and j == 3:
            x = spatial_pyramid_pooling(net, x, name=f"{name}.spp")
    return x


def spatial_pyramid_pooling(net: Builder, x: Tensor, name: str) -> Tensor:
    """Stack max pools of three sizes on the map itself, then reduce: `yolov3-spp.cfg`, layers 77 to 83."""
    stacked = pyramid_pools(net, x, SPP_KERNELS, name)
    return darknet_conv(net, stacked, x.shape[0], kernel=1, name=f"{name}.reduce")


# YOLOv3-tiny's backbone: filters of each 3x3 convolution and the stride of the max pool behind it (0: none).
TINY_LAYERS = ((16, 2), (32, 2), (64, 2), (128, 2), (256, 2), (512, 1), (1024, 0))


def yolov3_tiny(net: Builder, anchors: Anchors = TINY_ANCHORS, classes: int = 80) -> Definition:
    """Record YOLOv3-tiny: seven convolutions, two scales. Both cfgs use anchors 0, 1, 2 on the finer grid."""
    x, fine = net.image, net.image
    for i, (filters, pool_stride) in enumerate(TINY_LAYERS, start=1):
        x = darknet_conv(net, x, filters, kernel=3, name=f"backbone.conv{i}")
        if filters == 256:
            fine = x
        if pool_stride:
            x = darknet_max_pool(net, x, kernel=2, stride=pool_stride, name=f"backbone.pool{i}")
    return tiny_detection(net, x, fine, (anchors[3:6], anchors[0:3]), classes)


def tiny_detection(
    net: Builder, coarse: Tensor, fine: Tensor, anchors: tuple[Anchors, Anchors], classes: int, scale_x_y: float = 1.0
) -> Definition:
    """Record the two scales of the tiny networks, v3's and v4's: a coarse one, and a fine one that it feeds."""
    branch = darknet_conv(net, coarse, 256, kernel=1, name="detection1.conv1")
    x = darknet_conv(net, branch, 512, kernel=3, name="detection1.conv2")
    coarse_output = darknet_head(net, x, 3, classes, name="detection1.head")
    x = darknet_conv(net, branch, 128, kernel=1, name="detection2.reduce")
    x = net.upsample(x, factor=2, name="detection2.upsample")
    x = net.concat([x, fine], name="detection2.concat")
    x = darknet_conv(net, x, 256, kernel=3, name="detection2.conv1")
    fine_output = darknet_head(net, x, 3, classes, name="detection2.head")
    outputs = [coarse_output, fine_output]
    return Definition(outputs, [YoloHead(x.name, a, classes, scale_x_y) for x, a in zip(outputs, anchors)])


YOLOV3 = Network("yolov3", "yolo", yolov3, (3, 416, 416), stride=32, labels=COCO_80)
YOLOV3_SPP = Network("yolov3-spp", "yolo", partial(yolov3, spp=True), (3, 608, 608), stride=32, labels=COCO_80)
YOLOV3_TINY = Network("yolov3-tiny", "yolo", yolov3_tiny, (3, 416, 416), stride=32, labels=COCO_80)
