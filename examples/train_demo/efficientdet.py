"""Train `demo-efficientdet`: effdet's EfficientDet, with its own anchors, labels and loss.

python examples/train_demo/efficientdet.py --scenes scenes/train --choosing scenes/choose --out demo-efficientdet.pt
weights-convert demo-efficientdet.pth --model demo-efficientdet --float16 --out demo-efficientdet.h5
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import training
from backbone import train_backbone
from effdet_module import CLASSES, SIZE, effdet, effdet_model, normalized
from scenes_folder import Batch, Scenes, average_precision
from torch import Tensor, nn

SIZES = ((0.0, 160), (0.5, 192), (0.72, SIZE))  # of the input, by the part of the training that is done
WATCHED = 500  # candidates of a picture, of effdet's 5000, where AP is watched during the training


def loss_of(model: nn.Module) -> Callable[[nn.Module, Batch], Tensor]:
    """Return a function from a batch to effdet's loss, with effdet's anchors and labels for the batch's size."""

    @cache
    def bench(size: int) -> effdet.DetBenchTrain:
        bench = effdet.DetBenchTrain(model, create_labeler=False)
        config = bench.config
        levels = (config.min_level, config.max_level)
        anchors = effdet.anchors.Anchors(
            *levels, config.num_scales, config.aspect_ratios, config.anchor_scale, (size, size)
        )
        bench.anchor_labeler = effdet.anchors.AnchorLabeler(anchors, CLASSES)
        return bench

    def loss(_model: nn.Module, batch: Batch) -> Tensor:
        target = {
            "bbox": [boxes[:, [1, 0, 3, 2]] for boxes in batch.boxes_xyxy],
            "cls": [class_ids + 1 for class_ids in batch.class_ids],
        }
        return bench(batch.pixels.shape[-1])(normalized(batch.pixels), target)["loss"]

    return loss


class Predictor:
    """A trained network with effdet's own post-processing, into which `candidates` of a picture go."""

    def __init__(self, model: nn.Module, candidates: int = 5000) -> None:
        self.bench = effdet.DetBenchPredict(model).eval()
        self.bench.max_detection_points = candidates

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return boxes_xyxy in pixels, scores and class ids of pictures (N, 3, 256, 256) from 0 to 255."""
        count = len(pixels)
        info = {"img_scale": torch.ones(count), "img_size": torch.full((count, 2), float(SIZE))}
        rows = self.bench(normalized(pixels), info).numpy()
        found = [row[row[:, 5] > 0] for row in rows]  # the others only fill up to a hundred
        return [(row[:, :4], row[:, 4], row[:, 5].astype(np.int64) - 1) for row in found]


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
    p = training.arguments(__doc__.splitlines()[0], out="demo-efficientdet.pt", batch=16, rate=2e-3)
    p.add_argument("--backbone", type=float, default=0.2, help="of --minutes or --steps, before them: crops of objects")
    options = p.parse_args()
    training.start(options)
    model = effdet_model()
    if not options.out.exists():
        train_backbone(model.backbone, Scenes(options.scenes), options, normalized)
    measure = check(Scenes(options.choosing), options.check_scenes) if options.choosing else None
    averaged = training.train(model, loss_of(model), options, check=measure, sizes=SIZES)
    weights = options.out.with_suffix(".pth")
    torch.save(averaged.state_dict(), weights)
    print(f"{weights}: {weights.stat().st_size:,} bytes written")


if __name__ == "__main__":
    main()
