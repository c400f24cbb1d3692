"""A backbone learns to classify single objects before its detector learns to find them.

A detector whose backbone knows nothing spends most of a short training on telling objects from the background, and its
classes apart not at all. Published detectors begin with a classifier's weights, and so do these.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scenes_folder import Scenes
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from training import LARGEST_GRADIENT, State, rate_factor

from pure_detect.demo.scenes import LABELS

SIDE = 64  # pixels of a crop, as the network sees it
CROPS = 64  # a step
RATE = 3e-3
BACKGROUND = len(LABELS)  # a ninth class: crops of nothing
BACKGROUND_SHARE = 0.15
FREE = 0.1  # most of a background crop's area that an object may take


class Crops(NamedTuple):
    """N crops with their classes.

    Attributes
    ----------
    pixels : float32 tensor (N, 3, SIDE, SIDE)
        From 0 to 255.
    class_ids : int64 tensor (N,)
    """

    pixels: Tensor
    class_ids: Tensor


class Classifier(nn.Module):
    """The feature maps of a detector's backbone, each averaged and classified by itself."""

    def __init__(self, backbone: nn.Module, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.activation = backbone, activation
        with torch.no_grad():
            channels = [x.shape[1] for x in backbone(torch.zeros(2, 3, SIDE, SIDE))]
        self.scores = nn.ModuleList(nn.Linear(count, 1 + len(LABELS)) for count in channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the class scores (N, classes + 1) that each map gives."""
        return [score(self.activation(x).mean(dim=(2, 3))) for score, x in zip(self.scores, self.backbone(x))]


def train_backbone(
    backbone: nn.Module,
    scenes: Scenes,
    options: argparse.Namespace,
    prepare: Callable[[Tensor], Tensor],
    activation: Callable[[Tensor], Tensor] = F.silu,
) -> None:
    """Train a backbone in place, for `--backbone` of the length of the detector's training.

    `backbone` gives a list of maps; `prepare` brings pixels from 0 to 255 to what it takes; `activation` is what the
    maps lack.
    """
    model = Classifier(backbone, activation).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    rng, begin = np.random.default_rng((options.seed, 1)), time.monotonic()
    state, right = State(), np.zeros(len(model.scores))
    while (progress := state.progress(options) / options.backbone) < 1:
        crops = draw_crops(scenes, rng)
        scores = model(prepare(crops.pixels))
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_factor(progress)
        optimizer.zero_grad(set_to_none=True)
        sum(F.cross_entropy(s, crops.class_ids) for s in scores).backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        state.step, state.seconds = state.step + 1, time.monotonic() - begin
        right = 0.98 * right + 0.02 * np.array([share(s, crops.class_ids) for s in scores])
        if state.step % 50 == 0:
            shown = ", ".join(f"{value:.1%}" for value in right / (1 - 0.98**state.step))
            print(f"{state.seconds / 60:6.1f} min  {progress:6.1%}  crops {state.step:5d}  right {shown}", flush=True)


def share(scores: Tensor, class_ids: Tensor) -> float:
    """Return which part of the crops is classified rightly."""
    return float((scores.argmax(dim=1) == class_ids).float().mean())


def draw_crops(scenes: Scenes, rng: np.random.Generator) -> Crops:
    """Return squares around objects and of the background, turned and with their colours exchanged."""
    crops, class_ids = [], []
    while len(crops) < CROPS:
        index = int(rng.integers(len(scenes)))
        boxes, labels = scenes.objects(index)
        window = background(boxes, rng) if rng.random() < BACKGROUND_SHARE else around(boxes, rng)
        if window is None:
            continue
        x, y, side, chosen = window
        pixels = torch.from_numpy(scenes.pixels[index, y : y + side, x : x + side].transpose(2, 0, 1)[None].copy())
        pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)[0]
        pixels = torch.rot90(pixels[torch.from_numpy(rng.permutation(3))], int(rng.integers(4)), (1, 2))
        crops.append(pixels.flip(2) if rng.random() < 0.5 else pixels)
        class_ids.append(BACKGROUND if chosen is None else int(labels[chosen]))
    return Crops(torch.stack(crops).to(torch.float32), torch.tensor(class_ids))


Window = tuple[int, int, int, int | None]  # left, top, side, and which object it shows


def around(boxes: np.ndarray, rng: np.random.Generator, size: int = 256) -> Window | None:
    """Return a square with an object in it, somewhat off its middle."""
    if not len(boxes):
        return None
    chosen = int(rng.integers(len(boxes)))
    x1, y1, x2, y2 = boxes[chosen]
    longer = max(x2 - x1, y2 - y1)
    side = min(math.ceil(longer * rng.uniform(1.0, 1.7)), size)
    shift_x, shift_y = rng.uniform(-0.15, 0.15, 2) * longer
    left, top = (x1 + x2 - side) / 2 + shift_x, (y1 + y2 - side) / 2 + shift_y
    return int(np.clip(left, 0, size - side)), int(np.clip(top, 0, size - side)), side, chosen


def background(boxes: np.ndarray, rng: np.random.Generator, size: int = 256) -> Window | None:
    """Return a square with hardly anything of an object in it."""
    side = int(rng.integers(24, 129))
    left, top = (int(value) for value in rng.integers(0, size - side + 1, 2))
    corners = np.array([left, top, left + side, top + side], np.float32)
    sides = np.minimum(boxes[:, 2:], corners[2:]) - np.maximum(boxes[:, :2], corners[:2])
    covered = sides.clip(0).prod(axis=1).max(initial=0)
    return None if covered > FREE * side * side else (left, top, side, None)
