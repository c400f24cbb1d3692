"""A synthetic data set of COCO val2017's size: 5,000 images, 36,781 objects, 80 classes, 100 detections an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OBJECTS_AN_IMAGE = 36_781 / 5_000
CROWDS = 446 / 36_781
EMPTY_IMAGES = 48 / 5_000
DETECTIONS = 100
CATEGORIES = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def write_set(folder: Path, images: int, seed: int = 0) -> dict[str, int]:
    """Write `instances.json` and `results.json` into `folder`; return how much they hold."""
    random = np.random.default_rng(seed)
    image_ids = np.sort(random.choice(600_000, images, replace=False) + 1)
    weights = 1 / np.arange(1, 81) ** 0.8  # about a quarter of COCO's objects are of one class, persons
    weights /= weights.sum()
    count = round(images * OBJECTS_AN_IMAGE)
    image = np.sort(random.integers(0, images - round(images * EMPTY_IMAGES), count))
    category = random.choice(80, count, p=weights)
    boxes = _boxes(random, count)
    annotations = [
        {"id": i + 1, "image_id": int(image_ids[image[i]]), "category_id": CATEGORIES[category[i]],
         "bbox": boxes[i].tolist(), "area": float(round(boxes[i, 2] * boxes[i, 3] * 0.6, 4)),
         "iscrowd": int(random.random() < CROWDS)}
        for i in range(count)
    ]  # fmt: skip
    instances = {
        "images": [{"id": int(i), "file_name": f"{i:012}.jpg", "width": 640, "height": 480} for i in image_ids],
        "categories": [{"id": i, "name": f"class {i}"} for i in CATEGORIES],
        "annotations": annotations,
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    results = _results(random, image_ids, image, category, boxes, weights)
    (folder / "results.json").write_text(json.dumps(results))
    return {"images": images, "objects": count, "classes": 80, "detections": len(results)}


def _boxes(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Sizes from 8 to 400 pixels; like COCO's, with two decimals."""
    sizes = np.exp(random.uniform(np.log(8), np.log(400), (count, 2)))
    return np.round(np.concatenate([random.uniform(0, 1, (count, 2)) * (640, 480) * 0.8, sizes], axis=1), 2)


def _results(
    random: np.random.Generator,
    image_ids: NDArray[np.int64],
    image: NDArray[np.int64],
    category: NDArray[np.int64],
    boxes: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> list[dict[str, object]]:
    """Three guesses at each object, the worse the lower their score, and boxes by chance up to 100 an image."""
    results: list[dict[str, object]] = []
    starts = np.searchsorted(image, np.arange(len(image_ids) + 1))
    for i, image_id in enumerate(image_ids):
        own = np.repeat(np.arange(starts[i], starts[i + 1]), 3)[:DETECTIONS]
        error = random.exponential(0.25, (len(own), 1))
        near = boxes[own] + random.normal(0, 1, (len(own), 4)) * error * np.tile(boxes[own, 2:], 2) * 0.5
        near_score = np.clip(np.exp(-3 * error[:, 0]) + random.normal(0, 0.1, len(own)), 0.006, 1)
        rest = DETECTIONS - len(own)
        guesses = np.concatenate([near, _boxes(random, rest)])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], 1)
        scores = np.concatenate([near_score, 0.005 + random.exponential(0.05, rest)])
        classes = np.concatenate([category[own], random.choice(80, rest, p=weights)])
        for box, score, k in zip(np.round(guesses, 2).tolist(), np.round(scores, 5).tolist(), classes.tolist()):
            results.append({"image_id": int(image_id), "category_id": CATEGORIES[k], "bbox": box, "score": score})
    return results
