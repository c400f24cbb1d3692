"""The networks whose trained weights come with the package, in ``weights/<name>.h5`` beside this file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pure_detect.boxes.anchors import torchvision_anchors
from pure_detect.demo.scenes import LABELS
from pure_detect.models.darknet import read_cfg
from pure_detect.models.efficientdet import EFFDET_STYLE, Row, effdet_network
from pure_detect.models.efficientnet import MBConv, Scaling
from pure_detect.models.mobilenetv3 import SMALL, reduced_tail, widened
from pure_detect.models.ssdlite import TORCHVISION_LINE, ssdlite_network, widened_extras
from pure_detect.network import Network

SIZE = 256

# YOLOv3-tiny made narrow; what it looks like says the cfg.
DEMO_YOLO = replace(read_cfg(Path(__file__).parent / "demo-yolo.cfg"), labels=LABELS)

# torchvision's SSDLite on MobileNetV3-Small, made narrow, for objects smaller and squarer than COCO's. The last stage
# has one bottleneck, and does not halve the map: heads look at strides 8 (the expansion of the bottleneck that halves
# it to 16), 16, 32, ...
SSDLITE_WIDTH, SSDLITE_EXTRAS_WIDTH = 0.75, 0.25
SSDLITE_FIRST = 3
SSDLITE_ROWS = (
    *widened(reduced_tail(SMALL), SSDLITE_WIDTH)[:8],
    widened(reduced_tail(SMALL), SSDLITE_WIDTH)[8]._replace(stride=1),
)
SSDLITE_SCALES = (0.1, 0.14, 0.28, 0.5, 0.7, 0.88, 1.0)
SSDLITE_RATIOS = (1.5,)
DEMO_SSDLITE = ssdlite_network(
    "demo-ssdlite",
    SSDLITE_ROWS,
    TORCHVISION_LINE._replace(anchors=torchvision_anchors(SSDLITE_SCALES, SSDLITE_RATIOS)),
    labels=LABELS,
    extras=widened_extras(SSDLITE_EXTRAS_WIDTH),
    first=SSDLITE_FIRST,
    size=SIZE,
)

# effdet's EfficientDet, below D0 in everything. A small network spends most of its time on the largest maps: this
# backbone leaves them one stage earlier than EfficientNet, and begins with EfficientNetV2's fused blocks. With anchors
# from 28 pixels of 256 on, three levels are enough.
EFFICIENTDET_STAGES = (
    MBConv(1, 3, 2, 24, 1, fused=True),
    MBConv(1, 3, 1, 24, 1, fused=True),
    MBConv(2, 3, 2, 32, 2, fused=True),  # P3
    MBConv(2, 3, 2, 48, 2, fused=True),
    MBConv(2, 3, 1, 64, 2, fused=True),  # P4
    MBConv(3, 5, 2, 96, 2),
    MBConv(3, 3, 1, 128, 1),  # P5
)
EFFICIENTDET_ROW = Row(
    256,
    Scaling(1.0, 1.0, 256, EFFICIENTDET_STAGES, stem=16),
    channels=32,
    cells=2,
    repeats=2,
    anchor_scale=3.5,
    anchor_steps=2,
    highest=5,
    style=EFFDET_STYLE,
)
DEMO_EFFICIENTDET = effdet_network("demo-efficientdet", EFFICIENTDET_ROW, LABELS)

# One a family; a registry name that stands here needs no download.
DEMO_NETWORKS: tuple[Network, ...] = (DEMO_YOLO, DEMO_SSDLITE, DEMO_EFFICIENTDET)

WEIGHTS = Path(__file__).parent / "weights"
