"""The networks whose trained weights come with the package, in ``weights/<name>.h5`` beside this file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pure_detect.boxes.anchors import torchvision_anchors
from pure_detect.demo.scenes import LABELS
from pure_detect.models.darknet import read_cfg
from pure_detect.models.mobilenetv3 import SMALL, reduced_tail, widened
from pure_detect.models.ssdlite import TORCHVISION_LINE, ssdlite_network, widened_extras
from pure_detect.network import Network

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
    size=256,
)

# One a family; a registry name that stands here needs no download.
DEMO_NETWORKS: tuple[Network, ...] = (DEMO_YOLO, DEMO_SSDLITE)

WEIGHTS = Path(__file__).parent / "weights"
