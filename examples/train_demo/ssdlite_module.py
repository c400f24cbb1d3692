"""`demo-ssdlite` built of torchvision's own classes, as its `ssdlite320_mobilenet_v3_large` is."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision_cpu import import_torchvision

from pure_detect.demo.networks import DEMO_SSDLITE, SSDLITE_EXTRAS_WIDTH, SSDLITE_RATIOS, SSDLITE_SCALES, SSDLITE_WIDTH
from pure_detect.models.mobilenetv3 import SMALL

torchvision = import_torchvision()

LAST_STAGE = len(SMALL) - 2  # among torchvision's layers, of which the first is the stem
MATCH_IOU = 0.45  # with an object, from which on an anchor learns it
HALF = [0.5, 0.5, 0.5]


def torchvision_ssdlite() -> Any:
    """Return the network with random weights: torchvision's SSD, with its own loss and post-processing.

    In training, pictures are taken at the size at which they come.
    """
    detection = torchvision.models.detection
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    backbone = torchvision.models.mobilenet_v3_small(
        weights=None, width_mult=SSDLITE_WIDTH, reduced_tail=True, num_classes=1, norm_layer=norm
    )
    extractor = detection.ssdlite.SSDLiteFeatureExtractorMobileNet(
        backbone.features, LAST_STAGE, norm, width_mult=SSDLITE_EXTRAS_WIDTH
    )
    size = DEMO_SSDLITE.input_shape[1:]
    channels = detection._utils.retrieve_out_channels(extractor, size)
    columns = 1 + len(DEMO_SSDLITE.labels)
    anchors = detection.anchor_utils.DefaultBoxGenerator([SSDLITE_RATIOS] * len(channels), scales=SSDLITE_SCALES)
    head = detection.ssdlite.SSDLiteHead(channels, anchors.num_anchors_per_location(), columns, norm)
    return detection.ssd.SSD(
        extractor,
        anchors,
        size,
        columns,
        image_mean=HALF,
        image_std=HALF,
        head=head,
        score_thresh=0.001,
        nms_thresh=0.55,
        detections_per_img=300,
        topk_candidates=300,
        iou_thresh=MATCH_IOU,
        _skip_resize=True,
    )
