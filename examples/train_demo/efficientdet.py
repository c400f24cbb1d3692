"""Train `demo-efficientdet`, effdet's EfficientDet made narrow, and write its weights as effdet's are.

python examples/train_demo/efficientdet.py --scenes scenes/train --choosing scenes/choose --out efficientdet.pt
weights-convert demo-efficientdet.pth --model demo-efficientdet --float16 --out demo-efficientdet.h5
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import effdet
import numpy as np
import torch
import training
from effdet.anchors import AnchorLabeler, Anchors
from effdet.efficientdet import Interpolate2d
from scenes_folder import Batch, Scenes, average_precision
from timm.models import efficientnet as timm_efficientnet
from timm.models import register_model
from timm.models._efficientnet_builder import decode_arch_def
from torch import Tensor, nn

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS
from pure_detect.demo.networks import DEMO_EFFICIENTDET, EFFICIENTDET_ROW
from pure_detect.image import IMAGENET_MEAN, IMAGENET_STD
from pure_detect.models.efficientnet import scaled_stages

ROW = EFFICIENTDET_ROW
SIZE, CLASSES = ROW.image, len(DEMO_EFFICIENTDET.labels)
SIZES = ((0.0, 160), (0.3, 192), (0.6, 256))  # of the input, by the part of the training that is done
MOMENTUM = 0.03  # of batch norm: effdet's 0.01 is for longer trainings
WATCHED = 500  # candidates of a picture, of effdet's 5000, when AP is watched during the training


@register_model
def demo_efficientnet(pretrained: bool = False, **options: Any) -> nn.Module:
    """Return the backbone as timm builds it from its own notation."""
    if pretrained:
        raise ValueError("demo_efficientnet: expected pretrained=False, there are no weights")
    blocks = [
        [f"{'ir' if e > 1 else 'ds'}_r{layers}_k{kernel}_s{stride}_e{e}_c{channels}_se0.25"]
        for e, kernel, stride, channels, layers in scaled_stages(ROW.backbone)
    ]
    return timm_efficientnet._create_effnet(
        "efficientnet_b0",
        pretrained=False,
        block_args=decode_arch_def(blocks),
        stem_size=ROW.backbone.stem,
        norm_layer=partial(nn.BatchNorm2d, momentum=MOMENTUM),
        act_layer=nn.SiLU,
        **options,
    )


def effdet_config() -> Any:
    """Return effdet's configuration: that of its D0, made narrow."""
    config = effdet.get_efficientdet_config("efficientdet_d0")
    config.update(
        name="demo_efficientdet",
        backbone_name="demo_efficientnet",
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


def loss_of(model: nn.Module) -> Callable[[nn.Module, Batch], Tensor]:
    """Return a function from a batch to effdet's loss, with effdet's anchors and labels for the batch's size."""

    @cache
    def bench(size: int) -> effdet.DetBenchTrain:
        bench = effdet.DetBenchTrain(model, create_labeler=False)
        levels = (bench.config.min_level, bench.config.max_level)
        shapes = (bench.config.num_scales, bench.config.aspect_ratios, bench.config.anchor_scale)
        bench.anchor_labeler = AnchorLabeler(Anchors(*levels, *shapes, (size, size)), CLASSES)
        return bench

    def loss(_model: nn.Module, batch: Batch) -> Tensor:
        target = {
            "bbox": [boxes[:, [1, 0, 3, 2]] for boxes in batch.boxes_xyxy],
            "cls": [class_ids + 1 for class_ids in batch.class_ids],
        }
        return bench(batch.pixels.shape[-1])(normalized(batch.pixels), target)["loss"]

    return loss


class Predictor:
    """A trained network with effdet's own post-processing; `candidates` of effdet's 5000 go into it."""

    def __init__(self, model: effdet.EfficientDet, candidates: int = 5000) -> None:
        self.bench = effdet.DetBenchPredict(model).eval()
        self.bench.max_detection_points = candidates

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return boxes_xyxy in pixels, scores and class ids of pictures (N, 3, 256, 256) from 0 to 255."""
        count = len(pixels)
        info = {"img_scale": torch.ones(count), "img_size": torch.full((count, 2), float(SIZE))}
        rows = self.bench(normalized(pixels), info).numpy()
        rows = [row[row[:, 5] > 0] for row in rows]  # the others only fill up to a hundred
        return [(row[:, :4], row[:, 4], row[:, 5].astype(np.int64) - 1) for row in rows]


def check(scenes: Scenes, count: int, batch: int = 20) -> Callable[[nn.Module], str]:
    """Return a function that measures AP on the first scenes of a folder."""
    truth = scenes.ground_truth(count)

    def measure(model: nn.Module) -> str:
        predictor = Predictor(model, WATCHED)
        found = [row for part in scenes.plain_batches(batch, count) for row in predictor(part.pixels)]
        figures = average_precision(found, truth).figures()
        return f"AP {figures['AP']:.4f}  AP50 {figures['AP50']:.4f}  AP75 {figures['AP75']:.4f}"

    return measure


def main() -> None:
    """Train, measure, write."""
    out = "demo-efficientdet.pt"
    options = training.arguments(__doc__.splitlines()[0], out=out, batch=16, rate=3e-3).parse_args()
    training.start(options)
    model = effdet_model()
    measure = check(Scenes(options.choosing), options.check_scenes) if options.choosing else None
    averaged = training.train(model, loss_of(model), options, check=measure, sizes=SIZES)
    weights: Path = options.out.with_suffix(".pth")
    torch.save(averaged.state_dict(), weights)
    print(f"{weights}: {weights.stat().st_size:,} bytes written")


if __name__ == "__main__":
    main()
