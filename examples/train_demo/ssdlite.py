"""Train `demo-ssdlite`: torchvision's SSDLite on its MobileNetV3-Small, with its own loss.

python examples/train_demo/ssdlite.py --scenes scenes/train --choosing scenes/choose --out demo-ssdlite.pt
weights-convert demo-ssdlite.pth --model demo-ssdlite --float16 --out demo-ssdlite.h5
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import training
from backbone import train_backbone
from scenes_folder import SCORE, Batch, Scenes, average_precision
from ssdlite_module import torchvision_ssdlite
from torch import Tensor, nn

SIZES = ((0.0, 160), (0.35, 256))  # of the input, by the part of the training that is done


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Return torchvision's loss of a batch: of the boxes plus of the classes, of which 0 is the background."""
    targets = [{"boxes": boxes, "labels": class_ids + 1} for boxes, class_ids in zip(batch.boxes_xyxy, batch.class_ids)]
    losses = model(list(batch.pixels / 255), targets)
    return losses["bbox_regression"] + losses["classification"]


@torch.no_grad()
def detect(model: nn.Module, pixels: Tensor) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return boxes in pixels, scores and classes of pictures (N, 3, H, W) from 0 to 255, by torchvision alone."""
    found = []
    for row in model(list(pixels / 255)):
        kept = row["scores"] > SCORE
        boxes, scores, labels = (row[name][kept].numpy() for name in ("boxes", "scores", "labels"))
        found.append((boxes, scores, labels - 1))
    return found


def check(scenes: Scenes, count: int, batch: int = 20) -> Callable[[nn.Module], str]:
    """Return a function that measures AP on the first scenes of a folder."""
    truth = scenes.ground_truth(count)

    def measure(model: nn.Module) -> str:
        found = [row for part in scenes.plain_batches(batch, count) for row in detect(model, part.pixels)]
        figures = average_precision(found, truth).figures()
        return "  ".join(f"{name} {figures[name]:.4f}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl"))

    return measure


class Maps(nn.Module):
    """The backbone without its extra layers."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.parts = extractor.features

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of the first two heads."""
        first = self.parts[0](x)
        return [first, self.parts[1](first)]


def normalized(pixels: Tensor) -> Tensor:
    """Bring pixels from 0 to 255 to what the backbone takes: torchvision's mean and deviation of 0.5."""
    return (pixels / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Train, measure, write."""
    p = training.arguments(__doc__.splitlines()[0], out="demo-ssdlite.pt", batch=16, rate=3e-3)
    p.add_argument("--backbone", type=float, default=0.2, help="of --minutes or --steps, before them: crops of objects")
    options = p.parse_args()
    training.start(options)
    model = torchvision_ssdlite().to(memory_format=torch.channels_last)
    if not options.out.exists():
        train_backbone(Maps(model.backbone), Scenes(options.scenes), options, normalized, nn.Identity())
    measure = check(Scenes(options.choosing), options.check_scenes) if options.choosing else None
    averaged = training.train(model, loss_of, options, check=measure, sizes=SIZES)
    weights = options.out.with_suffix(".pth")
    torch.save(averaged.state_dict(), weights)
    print(f"{weights}: {weights.stat().st_size:,} bytes written")


if __name__ == "__main__":
    main()
