"""`pure-detect detect`: images in, boxes out."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from pure_detect.boxes.suppression import RULES
from pure_detect.cli.common import (
    DONE,
    FAILED,
    add_model_options,
    load_model,
    report,
    report_error,
    unit_interval,
)
from pure_detect.detections import Detections
from pure_detect.draw import check_picture_path, draw, save_picture
from pure_detect.errors import InputError
from pure_detect.formats import WRITERS, image_ids, write_yolo
from pure_detect.image import read_image
from pure_detect.registry import DEFAULT_MODEL

DESCRIPTION = """\
Find objects in images; print them, and draw them with --out.

formats:
  table  for people
  json   a list with one object an image: image, width, height, model,
         detections; boxes are left, top, right, bottom in pixels
  coco   a COCO results file; image_id is the file's name if all names are
         numbers, else the image's place on the command line, from 1
  csv    one row a box: image,label,class_id,score,x1,y1,x2,y2
  yolo   Darknet's labels: class, centre x, centre y, width, height, as shares
         of the image; with a folder as --out one NAME.txt an image goes
         there, and no drawing"""

SLASHES = ("/", os.sep)

EPILOG = """\
examples:
  pure-detect detect street.jpg --out boxes.png
  pure-detect detect *.jpg --model yolov3 --format json --out boxes/"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "detect",
        help="find objects in images",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|FILE.h5",
        help=f"a weight file or a registry name (default: {DEFAULT_MODEL})",
    )
    p.add_argument("--score", type=unit_interval, default=0.5, help="print scores over this (default: 0.5)")
    p.add_argument("--iou", type=unit_interval, help="suppress overlaps over this (default: the model's; YOLO's: 0.45)")
    p.add_argument("--agnostic", action="store_true", help="suppress across classes, not within each")
    p.add_argument("--nms", choices=RULES, help="rule (default: the model's; YOLO's, and with --iou: iou)")
    p.add_argument(
        "--out", metavar="PATH", help="draw the boxes: a file (.png, .jpg, .webp, ...), or a folder for many images"
    )
    p.add_argument("--format", choices=tuple(WRITERS), default="table", help="how to print (default: table)")
    add_model_options(p)
    p.set_defaults(run=run, check=lambda options: check(options, p))


def check(options: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Refuse what cannot work before anything is loaded."""
    count, folder = len(options.images), _folder(options)
    if options.format == "yolo" and count > 1 and folder is None:
        p.error(f"--format yolo: expected a folder as --out for {count} images, since each has its own file")
    if options.out is None:
        return
    if folder is None:
        _check_file(Path(options.out), p)
    elif not options.out.endswith(SLASHES) and folder.suffix and not folder.is_dir():
        p.error(f"--out: expected a folder for {count} images, found the file name {folder}")
    targets = [_target(options, image) for image in options.images]
    if len(set(targets)) < count:
        p.error("--out: expected images with different names, since each is drawn under its own")
    for image in {Path(image).resolve() for image in options.images} & {target.resolve() for target in targets}:
        p.error(f"--out: expected another file than the image {image}, which would be overwritten")


def _check_file(path: Path, p: argparse.ArgumentParser) -> None:
    try:
        check_picture_path(path)
    except InputError as error:
        p.error(f"--out: {error}")
    if not path.parent.is_dir():
        p.error(f"--out: {path}: expected a folder that exists, found none at {path.parent}")


def run(options: argparse.Namespace) -> int:
    """Detect in every image; one that fails does not stop the others."""
    _make_folder(_folder(options))
    model = load_model(options.model, options)
    if model.network.is_classifier:
        raise InputError(f"{options.model}: expected a detector, found a classifier; use `pure-detect classify`")
    writer = WRITERS[options.format](sys.stdout, model.network.name, model.labels)
    status, count = DONE, len(options.images)
    for number, (image, image_id) in enumerate(zip(options.images, image_ids(options.images)), start=1):
        started = time.perf_counter()
        try:
            found = _detect(model, image, options)
        except InputError as error:
            report_error(error)
            status = FAILED
            continue
        if count > 1:
            objects = f"{len(found)} object{'s' * (len(found) != 1)}"
            report(f"[{number}/{count}] {image}: {objects}, {time.perf_counter() - started:.2f} s")
        if not _labels_in_files(options):
            writer.add(image, image_id, found)
    writer.finish()
    return status


def _detect(model: Any, image: str, options: argparse.Namespace) -> Detections:
    """Return one image's detections, drawn or written where --out says."""
    pixels = read_image(image)
    try:
        found: Detections = model(
            pixels, score=options.score, iou=options.iou, class_agnostic=options.agnostic, rule=options.nms
        )
    except InputError as error:  # a network whose numbers are no boxes
        raise InputError(f"{image}: {error}") from None
    if options.out is not None:
        path = _target(options, image)
        if _labels_in_files(options):
            write_yolo(found, path)
        else:
            save_picture(draw(pixels, found), path)
        report(f"{path}: {'written' if _labels_in_files(options) else 'drawn'}")
    return found


def _folder(options: argparse.Namespace) -> Path | None:
    """Return --out if it is a folder: because there are many images, or it is one already, or ends in a slash."""
    if options.out is None:
        return None
    is_folder = len(options.images) > 1 or os.path.isdir(options.out) or options.out.endswith(SLASHES)
    return Path(options.out) if is_folder else None


def _labels_in_files(options: argparse.Namespace) -> bool:
    return options.format == "yolo" and _folder(options) is not None


def _target(options: argparse.Namespace, image: str) -> Path:
    """Return the file that an image's drawing, or its labels, go to."""
    folder = _folder(options)
    ending = ".txt" if options.format == "yolo" else ".png"
    return folder / f"{Path(image).stem}{ending}" if folder else Path(options.out)


def _make_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be made, found: {error.strerror}") from None
