"""Compare a demo network's average precision here with the same weights' in their framework.

    python examples/train_demo/check_ap.py demo-yolo

The scenes are those of the seeds from 0 on, which no training has seen. `pure-detect evaluate` runs the network here;
the framework runs it with post-processing of its own; pycocotools measures both.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pure_detect.cli import main as pure_detect
from pure_detect.demo.dataset import ANNOTATIONS, IMAGES, write_dataset
from pure_detect.registry import cached_weights

# Each module has DETECTORS, by the framework's name: functions from a weight file to a function from pixels (H, W, 3),
# RGB, to boxes_xyxy in pixels, scores and class ids from 0.
PEERS = {"demo-yolo": "yolo_peers", "demo-ssdlite": "ssdlite_peers", "demo-efficientdet": "efficientdet_peers"}
LARGEST_DIFFERENCE = 0.002


def run_here(model: str, data: Path) -> list[dict[str, Any]]:
    """Return the results of `pure-detect evaluate` in COCO's form."""
    results = data / "results.json"
    files = ["--images", str(data / IMAGES), "--annotations", str(data / ANNOTATIONS), "--out", str(results)]
    with contextlib.redirect_stdout(io.StringIO()):
        if pure_detect(["evaluate", model, *files]) != 0:
            raise SystemExit(f"pure-detect evaluate {model}: failed")
    return list(json.loads(results.read_text()))


def run_framework(detect: Callable[[np.ndarray], tuple[np.ndarray, ...]], data: Path) -> list[dict[str, Any]]:
    """Return a framework's results on the images of a data set in COCO's form."""
    results = []
    for image in json.loads((data / ANNOTATIONS).read_text())["images"]:
        pixels = np.asarray(Image.open(data / IMAGES / image["file_name"]).convert("RGB"))
        boxes, scores, class_ids = detect(pixels)
        for (x1, y1, x2, y2), score, class_id in zip(boxes.tolist(), scores.tolist(), class_ids.tolist()):
            row = {"image_id": image["id"], "category_id": class_id + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**row, "score": score})
    return results


def measure(data: Path, results: list[dict[str, Any]]) -> tuple[float, float]:
    """Return AP and AP50 as pycocotools computes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data / ANNOTATIONS))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def compare(model: str, weights: Path, data: Path) -> dict[str, tuple[float, float]]:
    """Return AP and AP50 of one weight file here and in its frameworks."""
    figures = {"pure-detect": measure(data, run_here(str(weights), data))}
    for name, detector in importlib.import_module(PEERS[model]).DETECTORS.items():
        figures[name] = measure(data, run_framework(detector(weights), data))
    return figures


def main() -> int:
    """Compare and print; return 1 if a difference is too large."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model", choices=PEERS)
    p.add_argument("--weights", type=Path, metavar="FILE.h5", help="in place of those in the package")
    p.add_argument("--scenes", type=int, default=500, help="default: %(default)s")
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_dataset(data, seed=0, scenes=options.scenes)
        figures = compare(options.model, options.weights or cached_weights(options.model), data)
    for name, (ap, ap50) in figures.items():
        print(f"{options.model:20} {name:12} AP {ap:.4f}  AP50 {ap50:.4f}")
    ours = figures.pop("pure-detect")
    differences = [abs(a - b) for theirs in figures.values() for a, b in zip(ours, theirs)]
    return int(max(differences) > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    raise SystemExit(main())
