"""YOLOv4 and YOLOv4-tiny.

Source: Bochkovskiy, Wang and Liao 2020, "YOLOv4: Optimal Speed and Accuracy of Object Detection", section 3; Wang et
al. 2020, "CSPNet", section 3; Liu et al. 2018, "Path Aggregation Network", section 3.1; `cfg/yolov4.cfg` and
`yolov4-tiny.cfg` of AlexeyAB/darknet. Differs from the paper:

* section 3.4 lists Mish for backbone and detector, the cfg has leaky ReLU after the backbone;
* it lists weighted residual connections (MiWRC) and spatial attention (SAM), the cfg has neither;
* the path aggregation of Liu et al. adds maps, YOLOv4 stacks them (its Figure 6);
* CSPNet halves the channels between its two paths, the first stage of the cfg gives both all 64;
* the tiny network came later: Wang et al. 2021, "Scaled-YOLOv4", section 4.2.

    stage 3 (stride 8)        stage 4 (stride 16)       stage 5 (stride 32)
         |                         |                         |
         |                         |                      convs, SPP
      concat <-- upsample --+   concat <-- upsample ---------+
         |                  |      |                         |
       convs                +--- convs                       |
         |                         |                         |
         +------ stride 2 -----> concat                      |
         |                         |                         |
         |                       convs ------ stride 2 --> concat
         |                         |                         |
         |                         |                       convs
       head 1                    head 2                    head 3
     anchors 0, 1, 2           anchors 3, 4, 5           anchors 6, 7, 8
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pure_detect.boxes.decode_yolo import Anchors, YoloHead
from pure_detect.graph import Builder, Tensor
from pure_detect.labels import COCO_80
from pure_detect.models.blocks import darknet_conv, darknet_head, darknet_max_pool
from pure_detect.models.yolov3 import TINY_ANCHORS, detection_convs, tiny_detection
from pure_detect.network import Definition, Network

# Width and height in pixels of the input, from k-means on COCO. Large objects belong to the coarse grid.
ANCHORS: Anchors = (
    (12, 16), (19, 36), (40, 28),
    (36, 75), (76, 55), (72, 146),
    (142, 110), (192, 243), (459, 401),
)  # fmt: skip


class Stage(NamedTuple):
    """A stage of CSPDarknet53: a 3x3 convolution of stride 2, then residual blocks on one of two paths."""

    filters: int  # of the stage's first and last convolution
    path_filters: int  # of either path
    reduced: int  # inside the residual blocks
    blocks: int


STEM_FILTERS = 32
STAGES = (
    Stage(64, 64, 32, 1),
    Stage(128, 64, 64, 2),
    Stage(256, 128, 128, 8),  # its output, at stride 8, feeds the first head
    Stage(512, 256, 256, 8),  # at stride 16, the second
    Stage(1024, 512, 512, 4),  # at stride 32, the third
)

mish_conv = partial(darknet_conv, activation="mish")


def csp_darknet53(net: Builder, image: Tensor) -> list[Tensor]:
    """Record the 72 convolutions of the backbone; return the output of each of the five stages."""
    x = mish_conv(net, image, STEM_FILTERS, kernel=3, name="backbone.stem")
    features = []
    for i, stage in enumerate(STAGES, start=1):
        x = csp_stage(net, x, stage, name=f"backbone.stage{i}")
        features.append(x)
    return features


def csp_stage(net: Builder, x: Tensor, stage: Stage, name: str) -> Tensor:
    """Lead one path around the residual blocks, so that gradients reach earlier stages by two different ways."""
    x = mish_conv(net, x, stage.filters, kernel=3, stride=2, name=f"{name}.down")
    around = mish_conv(net, x, stage.path_filters, kernel=1, name=f"{name}.around")
    x = mish_conv(net, x, stage.path_filters, kernel=1, name=f"{name}.through")
    for j in range(stage.blocks):
        x = residual(net, x, stage.reduced, name=f"{name}.block{j}")
    x = mish_conv(net, x, stage.path_filters, kernel=1, name=f"{name}.transition")
    x = net.concat([x, around], name=f"{name}.concat")
    return mish_conv(net, x, stage.filters, kernel=1, name=f"{name}.merge")


def residual(net: Builder, x: Tensor, reduced: int, name: str) -> Tensor:
    """Pass through a 1x1 and a 3x3 convolution, and add the input."""
    y = mish_conv(net, x, reduced, kernel=1, name=f"{name}.reduce")
    y = mish_conv(net, y, x.shape[0], kernel=3, name=f"{name}.expand")
    return net.add([y, x], name=f"{name}.add")


class Scale(NamedTuple):
    """One of the three detection scales."""

    filters: int  # of the 1x1 convolutions; the 3x3 ones have twice as many
    mask: tuple[int, ...]  # which of the anchors
    scale_x_y: float  # how far centres reach beyond their cell: "eliminate grid sensitivity", section 3.4


SCALES = (Scale(128, (0, 1, 2), 1.2), Scale(256, (3, 4, 5), 1.1), Scale(512, (6, 7, 8), 1.05))


def yolov4(net: Builder, anchors: Anchors = ANCHORS, classes: int = 80) -> Definition:
    """Record YOLOv4: CSPDarknet53, maps merged from coarse to fine and back, and a head on each of three scales."""
    outputs: list[Tensor] = []
    heads: list[YoloHead] = []
    pyramid = top_down(net, csp_darknet53(net, net.image)[2:])
    x = pyramid[0]
    for i, (scale, feature) in enumerate(zip(SCALES, pyramid), start=1):
        name = f"detection{i}"
        if i > 1:
            x = darknet_conv(net, x, scale.filters, kernel=3, stride=2, name=f"{name}.down")
            x = net.concat([x, feature], name=f"{name}.concat")
            x = detection_convs(net, x, scale.filters, name, spp=False)
        y = darknet_conv(net, x, 2 * scale.filters, kernel=3, name=f"{name}.last")
        outputs.append(darknet_head(net, y, len(scale.mask), classes, name=f"{name}.head"))
        heads.append(YoloHead(f"{name}.head", tuple(anchors[j] for j in scale.mask), classes, scale.scale_x_y))
    return Definition(outputs, heads)


def top_down(net: Builder, features: list[Tensor]) -> list[Tensor]:
    """Carry what the coarse maps know into the finer ones; return them fine to coarse."""
    fine, middle, coarse = features
    p5 = detection_convs(net, coarse, SCALES[2].filters, "neck.p5", spp=True)
    p4 = merge_from_coarse(net, p5, middle, SCALES[1].filters, name="neck.p4")
    p3 = merge_from_coarse(net, p4, fine, SCALES[0].filters, name="neck.p3")
    return [p3, p4, p5]


def merge_from_coarse(net: Builder, coarse: Tensor, fine: Tensor, filters: int, name: str) -> Tensor:
    """Stack a backbone's map and the enlarged coarser one, both first reduced to `filters`."""
    up = darknet_conv(net, coarse, filters, kernel=1, name=f"{name}.reduce_coarse")
    up = net.upsample(up, factor=2, name=f"{name}.upsample")
    fine = darknet_conv(net, fine, filters, kernel=1, name=f"{name}.reduce_fine")
    x = net.concat([fine, up], name=f"{name}.concat")
    return detection_convs(net, x, filters, name, spp=False)


TINY_STAGES = (64, 128, 256)  # filters of the three CSP stages of YOLOv4-tiny
TINY_SCALE_X_Y = 1.05


def yolov4_tiny(net: Builder, anchors: Anchors = TINY_ANCHORS, classes: int = 80) -> Definition:
    """Record YOLOv4-tiny: three CSP stages, two scales. Unlike YOLOv3-tiny's, the fine one has anchors 1, 2, 3."""
    x = darknet_conv(net, net.image, 32, kernel=3, stride=2, name="backbone.stem1")
    x = darknet_conv(net, x, 64, kernel=3, stride=2, name="backbone.stem2")
    fine = x
    for i, filters in enumerate(TINY_STAGES, start=1):
        x, fine = tiny_csp_stage(net, x, filters, name=f"backbone.stage{i}")
    x = darknet_conv(net, x, 512, kernel=3, name="backbone.last")
    return tiny_detection(net, x, fine, (anchors[3:6], anchors[1:4]), classes, TINY_SCALE_X_Y)


def tiny_csp_stage(net: Builder, x: Tensor, filters: int, name: str) -> tuple[Tensor, Tensor]:
    """Send the second half of the channels on; return the stage's output, and its last convolution, for the head."""
    whole = darknet_conv(net, x, filters, kernel=3, name=f"{name}.conv1")
    half = net.channel_slice(whole, start=filters // 2, stop=filters, name=f"{name}.half")
    first = darknet_conv(net, half, filters // 2, kernel=3, name=f"{name}.conv2")
    second = darknet_conv(net, first, filters // 2, kernel=3, name=f"{name}.conv3")
    x = net.concat([second, first], name=f"{name}.concat_half")
    merged = darknet_conv(net, x, filters, kernel=1, name=f"{name}.merge")
    x = net.concat([whole, merged], name=f"{name}.concat_whole")
    return darknet_max_pool(net, x, kernel=2, stride=2, name=f"{name}.pool"), merged


YOLOV4 = Network("yolov4", "yolo", yolov4, (3, 608, 608), stride=32, labels=COCO_80)
YOLOV4_TINY = Network("yolov4-tiny", "yolo", yolov4_tiny, (3, 416, 416), stride=32, labels=COCO_80)
