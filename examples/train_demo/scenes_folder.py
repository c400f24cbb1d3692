"""Drawn scenes as `draw_scenes.py` keeps them, and batches of them, turned, cropped and coloured anew each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from pure_detect.evaluate import Category, CocoEvaluation, GroundTruth, Image, Results, evaluate

LEAST_VISIBLE = 0.4  # of a box's area must be left by a crop, as by the generator's own borders
LEAST_SIDE = 4.0  # pixels
SCORE, LIMIT = 0.005, 100  # as `pure-detect evaluate`


class Batch(NamedTuple):
    """N pictures with their objects.

    Attributes
    ----------
    pixels : float32 tensor (N, 3, size, size)
        RGB, 0 to 255.
    boxes_xyxy : list of N float32 tensors (n, 4)
        In pixels.
    class_ids : list of N int64 tensors (n,)
        From 0.
    """

    pixels: Tensor
    boxes_xyxy: list[Tensor]
    class_ids: list[Tensor]


class Augmentation(NamedTuple):
    """How pictures are changed; the defaults change nothing.

    Attributes
    ----------
    turn : bool
        Flips and quarter turns, all eight equally likely.
    crop : float
        The smallest part of a side that a crop leaves; 1 crops nothing.
    colour : float
        How far the gain of each channel lies from 1 at most; more than 0 also permutes the channels.
    """

    turn: bool = False
    crop: float = 1.0
    colour: float = 0.0


class Scenes:
    """A folder of S scenes of one size.

    Attributes
    ----------
    pixels : uint8 array (S, H, W, 3)
        Mapped from the disk.
    boxes_xyxy : float32 array (M, 4)
    class_ids : int64 array (M,)
    starts : int64 array (S + 1,)
        The objects of scene i are the rows from starts[i] to starts[i + 1].
    """

    def __init__(self, folder: Path) -> None:
        for name in ("pixels.npy", "boxes.npz"):
            if not (folder / name).is_file():
                raise SystemExit(f"{folder}: expected scenes of draw_scenes.py, pixels and boxes, found no {name}")
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        with np.load(folder / "boxes.npz") as objects:
            self.boxes_xyxy = objects["boxes_xyxy"].astype(np.float32)
            self.class_ids = objects["class_ids"].astype(np.int64)
            self.starts = objects["starts"].astype(np.int64)

    def __len__(self) -> int:
        """Return S."""
        return len(self.pixels)

    def objects(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes and classes of one scene."""
        rows = slice(self.starts[index], self.starts[index + 1])
        return self.boxes_xyxy[rows], self.class_ids[rows]

    def ground_truth(self, count: int | None = None) -> GroundTruth:
        """Return the first scenes as COCO's protocol takes them, numbered from 0, classes from 0."""
        count = len(self) if count is None else min(count, len(self))
        end = self.starts[count]
        boxes = self.boxes_xyxy[:end].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        return GroundTruth(
            np.repeat(np.arange(count), np.diff(self.starts[: count + 1])),
            self.class_ids[:end],
            boxes,
            images=[Image(i) for i in range(count)],
            categories=[Category(int(i)) for i in np.unique(self.class_ids)],
        )

    def plain_batches(self, batch: int, count: int | None = None) -> Iterator[Batch]:
        """Give the first `count` scenes as they are, in order."""
        count = len(self) if count is None else min(count, len(self))
        for start in range(0, count, batch):
            indices = range(start, min(start + batch, count))
            yield self.batch(np.array(indices), self.pixels.shape[1], Augmentation(), np.random.default_rng(0))

    def batch(self, indices: np.ndarray, size: int, how: Augmentation, rng: np.random.Generator) -> Batch:
        """Return some scenes at a size, changed at random.

        One crop size is drawn for all, its place for each: so that one call resizes them.
        """
        side = self.pixels.shape[1]
        window = side if how.crop >= 1 else round(side * rng.uniform(how.crop, 1.0))
        pixels = np.empty((len(indices), window, window, 3), np.uint8)
        boxes, class_ids = [], []
        for i, index in enumerate(indices):
            left, top = rng.integers(0, side - window + 1, 2)
            turned, b, c = _cut(self.pixels[index], *self.objects(index), left, top, window)
            if how.turn:
                turned, b = _turn(turned, b, window, int(rng.integers(8)))
            pixels[i] = turned
            boxes.append(torch.from_numpy(b * np.float32(size / window)))
            class_ids.append(torch.from_numpy(c))
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        if window != size:
            tensor = F.interpolate(tensor, (size, size), mode="bilinear", antialias=True)
        return Batch(_coloured(tensor, how.colour, rng), boxes, class_ids)


def _cut(
    pixels: np.ndarray, boxes: np.ndarray, class_ids: np.ndarray, left: int, top: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a window of a scene with what remains of its objects.

    A box that the window cuts is cut with it, which is not quite the tight box of what is left of a slanting object:
    train the last part without crops.
    """
    moved = boxes - np.array([left, top, left, top], np.float32)
    clipped = moved.clip(0, window)
    sides, whole = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
    kept = (sides.prod(axis=1) >= LEAST_VISIBLE * whole.prod(axis=1)) & (sides.min(axis=1, initial=1e9) >= LEAST_SIDE)
    return pixels[top : top + window, left : left + window], clipped[kept], class_ids[kept]


def _turn(pixels: np.ndarray, boxes: np.ndarray, side: int, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one of the eight images of a square under flips and quarter turns: x and y swapped, then mirrored."""
    swap, mirror_x, mirror_y = which & 1, which & 2, which & 4
    if swap:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    if mirror_x:
        pixels, boxes = pixels[:, ::-1], np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1)
    if mirror_y:
        pixels, boxes = pixels[::-1], np.stack([boxes[:, 0], side - boxes[:, 3], boxes[:, 2], side - boxes[:, 1]], 1)
    return pixels, boxes


def _coloured(pixels: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Return floats from 0 to 255; channels permuted, multiplied and shifted, differently in each picture."""
    floats = pixels.to(torch.float32)
    if strength <= 0:
        return floats
    count = len(pixels)
    orders = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1))
    gain = torch.from_numpy(rng.uniform(1 - strength, 1 + strength, (count, 3, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-50 * strength, 50 * strength, (count, 3, 1, 1)).astype(np.float32))
    permuted = floats[torch.arange(count)[:, None], orders]
    return permuted.mul_(gain).add_(shift).clamp_(0, 255)


def average_precision(
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]], truth: GroundTruth, limit: int = LIMIT
) -> CocoEvaluation:
    """Return COCO's figures of (boxes_xyxy, scores, class_ids) of each scene, in order; classes from 0."""
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for number, (boxes, scores, class_ids) in enumerate(found):
        best = np.argsort(-scores, kind="stable")[:limit]
        boxes = boxes[best].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        good = (boxes[:, 2:] > 0).all(axis=1)
        rows = (np.full(len(best), number), class_ids[best], boxes, scores[best])
        for column, values in zip(columns, rows):
            column.append(values[good])
    return evaluate(Results(*(np.concatenate(column) for column in columns)), truth)
