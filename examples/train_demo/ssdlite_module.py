"""`demo-ssdlite` built of torchvision's own classes, as its `ssdlite320_mobilenet_v3_large` is."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision_cpu import import_torchvision

from pure_detect.demo.networks import (
    DEMO_SSDLITE,
    SSDLITE_EXTRAS_WIDTH,
    SSDLITE_FIRST,
    SSDLITE_RATIOS,
    SSDLITE_ROWS,
    SSDLITE_SCALES,
)

torchvision = import_torchvision()

HALF = [0.5, 0.5, 0.5]


def torchvision_ssdlite() -> Any:
    """Return the network with random weights: torchvision's SSD, with its own loss and post-processing.

    In training, pictures are taken at the size at which they come.
    """
    detection = torchvision.models.detection
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    extractor = detection.ssdlite.SSDLiteFeatureExtractorMobileNet(
        mobilenetv3(norm).features, 1 + SSDLITE_FIRST, norm, width_mult=SSDLITE_EXTRAS_WIDTH
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
        _skip_resize=True,
    )


def mobilenetv3(norm: Any) -> Any:
    """Return torchvision's MobileNetV3 with the rows of the demo's network."""
    models = torchvision.models.mobilenetv3
    rows, channels = [], SSDLITE_ROWS[0].expanded
    for row in SSDLITE_ROWS:
        nonlinearity = "HS" if row.nonlinearity == "hard_swish" else "RE"
        shape = (channels, row.kernel, row.expanded, row.out, row.squeeze_excite, nonlinearity, row.stride)
        rows.append(models.InvertedResidualConfig(*shape, dilation=1, width_mult=1))
        channels = row.out
    return models.MobileNetV3(rows, last_channel=1, num_classes=1, norm_layer=norm)
