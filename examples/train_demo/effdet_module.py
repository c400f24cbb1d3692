"""`demo-efficientdet` built of effdet's own classes, from a configuration of its own kind, on a timm backbone."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision_cpu import import_torchvision

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS
from pure_detect.demo.networks import DEMO_EFFICIENTDET, EFFICIENTDET_ROW
from pure_detect.image import IMAGENET_MEAN, IMAGENET_STD
from pure_detect.models.efficientnet import MBConv, scaled_stages

import_torchvision()  # which effdet and timm import
import effdet  # noqa: E402
from effdet.efficientdet import Interpolate2d  # noqa: E402
from timm.models import efficientnet as timm_efficientnet  # noqa: E402
from timm.models import is_model, register_model  # noqa: E402
from timm.models._efficientnet_builder import decode_arch_def  # noqa: E402

ROW = EFFICIENTDET_ROW
SIZE, CLASSES = ROW.image, len(DEMO_EFFICIENTDET.labels)
MOMENTUM = 0.03  # of batch norm: effdet's 0.01 is for longer trainings


def timm_notation(row: MBConv) -> str:
    """Return a stage in timm's words: `er` and `cn` are fused blocks, with expansion and without, `ir` and `ds` not."""
    kind = ("er" if row.expansion > 1 else "cn") if row.fused else ("ir" if row.expansion > 1 else "ds")
    text = f"{kind}_r{row.layers}_k{row.kernel}_s{row.stride}_e{row.expansion}_c{row.channels}"
    return f"{text}_skip" if kind == "cn" else text if row.fused else f"{text}_se0.25"


def demo_efficientnet(pretrained: bool = False, **options: Any) -> nn.Module:
    """Return the backbone as timm builds it from its own notation; there are no weights, pretrained or not."""
    blocks = [[timm_notation(row)] for row in scaled_stages(ROW.backbone)]
    return timm_efficientnet._create_effnet(
        "efficientnet_b0",
        pretrained=False,
        block_args=decode_arch_def(blocks),
        stem_size=ROW.backbone.stem,
        norm_layer=partial(nn.BatchNorm2d, momentum=MOMENTUM),
        act_layer=nn.SiLU,
        **options,
    )


if not is_model(demo_efficientnet.__name__):
    register_model(demo_efficientnet)


def effdet_config() -> Any:
    """Return effdet's configuration: that of its D0, made narrow."""
    config = effdet.get_efficientdet_config("efficientdet_d0")
    config.update(
        name="demo_efficientdet",
        backbone_name=demo_efficientnet.__name__,
        backbone_args={},
        url="",
        image_size=(SIZE, SIZE),
        num_classes=CLASSES,
        max_level=ROW.highest,
        num_levels=ROW.highest - config.min_level + 1,
        num_scales=ROW.anchor_steps,
        aspect_ratios=[list(aspect) for aspect in EFFICIENTDET_ASPECTS],
        anchor_scale=ROW.anchor_scale,
        fpn_channels=ROW.channels,
        fpn_cell_repeats=ROW.cells,
        box_class_repeats=ROW.repeats,
        norm_kwargs={"eps": 1e-3, "momentum": MOMENTUM},
    )
    return config


def effdet_model() -> effdet.EfficientDet:
    """Return effdet's network, initialised by itself; it takes every input whose sides 32 divides."""
    model = effdet.EfficientDet(effdet_config(), pretrained_backbone=False)
    for module in model.modules():
        if isinstance(module, Interpolate2d):  # told the factor, not the size at 256
            module.size, module.scale_factor = None, 2.0
    return model.to(memory_format=torch.channels_last)


def normalized(pixels: Tensor) -> Tensor:
    """Return pixels from 0 to 255 as the network takes them."""
    mean, std = (torch.tensor(values).view(3, 1, 1) * 255 for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
