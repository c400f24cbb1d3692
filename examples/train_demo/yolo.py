"""Train `demo-yolo`, a YOLOv3-tiny made narrow, and write its weights in Darknet's format.

python examples/train_demo/yolo.py --scenes scenes/train --choosing scenes/choose --out demo-yolo.pt
weights-convert demo-yolo.weights --model demo-yolo --float16 --out demo-yolo.h5
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch
import training
from darknet_module import DarknetModule
from scenes_folder import LIMIT, SCORE, Batch, Scenes, average_precision
from torch import Tensor, nn
from yolo_loss import decode, iou, yolo_loss

from pure_detect.graph import Graph
from pure_detect.models.darknet import darknet_network
from weights_convert.readers.darknet import Header, write_darknet

IOU = 0.45  # of non-maximum suppression, as for all YOLO networks here
SIZES = ((0.0, 160), (0.25, 192), (0.55, 256))  # of the input, by the part of the training that is done


def graph_of_cfg() -> Graph:
    """Return the network of the cfg in the package."""
    cfg = resources.files("pure_detect.demo") / "demo-yolo.cfg"
    return darknet_network(cfg.read_text(), "demo-yolo.cfg").build()


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Return the loss of a batch."""
    x = (batch.pixels / 255).contiguous(memory_format=torch.channels_last)
    return yolo_loss(model(x), model.graph.heads, x.shape[-1], batch.boxes_xyxy, batch.class_ids)


@torch.no_grad()
def detect(model: DarknetModule, pixels: Tensor) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return boxes in pixels, scores and classes of pictures (N, 3, H, W) from 0 to 255: PyTorch from end to end."""
    height, width = pixels.shape[-2:]
    raw = model(pixels / 255)
    boxes, scores = [], []
    for head in model.graph.heads:
        b, logits = decode(raw[head.tensor], head, height, width)
        probabilities = logits.sigmoid()
        boxes.append(b.flatten(1, 3))
        scores.append((probabilities[..., :1] * probabilities[..., 1:]).flatten(1, 3))
    limits = torch.tensor([width, height, width, height])
    found = []
    for b, s in zip(torch.cat(boxes, 1), torch.cat(scores, 1)):
        rows, class_ids = (s > SCORE).nonzero(as_tuple=True)
        kept = suppress(b[rows], s[rows, class_ids], class_ids)
        clipped = torch.minimum(b[rows[kept]].clamp(min=0), limits)
        found.append((clipped.numpy(), s[rows, class_ids][kept].numpy(), class_ids[kept].numpy()))
    return found


def suppress(boxes: Tensor, scores: Tensor, class_ids: Tensor) -> Tensor:
    """Return the indices of the boxes to keep: the best one, then the best that it does not cover, and so on."""
    left, kept = scores.argsort(descending=True, stable=True), []
    while len(left) and len(kept) < LIMIT:
        best, left = left[0], left[1:]
        kept.append(best)
        covered = (iou(boxes[best], boxes[left])[0] > IOU) & (class_ids[left] == class_ids[best])
        left = left[~covered]
    return torch.stack(kept) if kept else left


def check(scenes: Scenes, count: int, batch: int = 20) -> str:
    """Return a function that measures AP on the first scenes of a folder."""
    truth = scenes.ground_truth(count)

    def measure(model: nn.Module) -> str:
        found = [row for part in scenes.plain_batches(batch, count) for row in detect(model, part.pixels)]
        figures = average_precision(found, truth).figures()
        return f"AP {figures['AP']:.4f}  AP50 {figures['AP50']:.4f}  AP75 {figures['AP75']:.4f}"

    return measure


def write_weights(model: DarknetModule, path: Path, pictures: int) -> None:
    """Write the weights as Darknet would, with the number of pictures that were seen."""
    write_darknet(path, model.graph, model.parameters_by_name(), Header(0, 2, 5, pictures, 20))


def main() -> None:
    """Train, measure, write."""
    options = training.arguments(__doc__.splitlines()[0], out="demo-yolo.pt", batch=16, rate=3e-3).parse_args()
    training.start(options)
    model = DarknetModule(graph_of_cfg()).to(memory_format=torch.channels_last)
    start_objectness(model)
    measure = check(Scenes(options.choosing), options.check_scenes) if options.choosing else None
    averaged = training.train(model, loss_of, options, check=measure, sizes=SIZES)
    weights = options.out.with_suffix(".weights")
    write_weights(averaged, weights, training.steps_made(options.out) * options.batch)
    print(f"{weights}: {weights.stat().st_size:,} bytes written")


@torch.no_grad()
def start_objectness(model: DarknetModule, probability: float = 0.01) -> None:
    """Let every box begin with a small objectness, as nearly all boxes find nothing."""
    for head in model.graph.heads:
        bias = model.layers[head.tensor.replace(".", "_")].bias.view(len(head.anchors), -1)
        bias[:, 4] = float(np.log(probability / (1 - probability)))


if __name__ == "__main__":
    main()
