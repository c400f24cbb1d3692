"""`pure-detect detect`: images in, boxes out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pure_detect.cli.common import (
    DONE,
    FAILED,
    add_model_options,
    load_model,
    print_json,
    report,
    report_error,
    unit_interval,
)
from pure_detect.detections import Detections
from pure_detect.draw import draw, save_picture
from pure_detect.errors import InputError
from pure_detect.image import read_image

EPILOG = """\
examples:
  pure-detect detect street.jpg --model yolo-fastest-1.1-xl.h5
  pure-detect detect *.jpg --model yolov3.h5 --format json --out boxes/"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "detect",
        help="find objects in images",
        description="Find objects in images; print them, and draw them with --out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--model", required=True, metavar="NAME|FILE.h5", help="a weight file or a registry name")
    p.add_argument("--score", type=unit_interval, default=0.5, help="print scores over this (default: 0.5)")
    p.add_argument("--iou", type=unit_interval, default=0.45, help="suppress overlaps over this (default: 0.45)")
    p.add_argument("--agnostic", action="store_true", help="suppress across classes, not within each")
    p.add_argument("--nms", choices=("iou", "darknet-greedy", "diou"), default="iou", help="rule (default: iou)")
    p.add_argument("--out", type=Path, metavar="PATH", help="draw the boxes: a file, or a folder for many images")
    p.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    add_model_options(p)
    p.set_defaults(run=run, check=lambda options: check(options, p))


def check(options: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Refuse what cannot work before anything is loaded."""
    names = [Path(image).stem for image in options.images]
    if options.out and len(names) > 1 and options.out.suffix and not options.out.is_dir():
        p.error(f"--out: expected a folder for {len(names)} images, found the file name {options.out}")
    if options.out and (len(names) > 1 or options.out.is_dir()) and len(set(names)) < len(names):
        p.error("--out: expected images with different names, since each is drawn under its own")


def run(options: argparse.Namespace) -> int:
    """Detect in every image; one that fails does not stop the others."""
    model = load_model(options.model, options)
    if model.network.is_classifier:
        raise InputError(f"{options.model}: expected a detector, found a classifier; use `pure-detect classify`")
    status, results = DONE, []
    for number, image in enumerate(options.images, start=1):
        started = time.perf_counter()
        try:
            found = _detect(model, image, options)
        except InputError as error:
            report_error(error)
            status = FAILED
            continue
        if len(options.images) > 1:
            seconds = time.perf_counter() - started
            report(f"[{number}/{len(options.images)}] {image}: {len(found)} objects, {seconds:.2f} s")
        results.append(_as_json(image, found, model.network.name))
        if options.format == "table":
            _print_table(image, found)
    if options.format == "json":
        print_json(results)
    return status


def _detect(model: Any, image: str, options: argparse.Namespace) -> Detections:
    pixels = read_image(image)
    found: Detections = model(
        pixels, score=options.score, iou=options.iou, class_agnostic=options.agnostic, rule=options.nms
    )
    if options.out:
        path = _picture_path(options.out, image, many=len(options.images) > 1)
        save_picture(draw(pixels, found), path)
        report(f"{path}: drawn")
    return found


def _picture_path(out: Path, image: str, many: bool) -> Path:
    if not many and not out.is_dir():
        return out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: expected a folder that can be made, found: {error.strerror}") from None
    return out / f"{Path(image).stem}.png"


def _as_json(image: str, found: Detections, model: str) -> dict[str, Any]:
    return {
        "image": image,
        "width": found.width,
        "height": found.height,
        "model": model,
        "detections": found.to_json(),
    }


def _print_table(image: str, found: Detections) -> None:
    print(f"{image}  {found.width} x {found.height}, {len(found)} objects")
    if len(found):
        print("  score       x1       y1       x2       y2  label")
    for box, score, label in zip(found.boxes_xyxy, found.scores, found.labels):
        print(f"  {score:5.3f} " + " ".join(f"{value:8.1f}" for value in box) + f"  {label}")
