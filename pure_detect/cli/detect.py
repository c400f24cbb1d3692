"""`pure-detect detect`: images in, boxes out."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pure_detect.boxes.suppression import RULES
from pure_detect.cli.common import add_model_options, load_model, report, unit_interval
from pure_detect.cli.completion import complete_with, model_completer
from pure_detect.cli.images import HELP, STANDARD_INPUT, Source, find_images, for_each
from pure_detect.detections import Detections
from pure_detect.draw import check_picture_path, draw, save_picture
from pure_detect.errors import InputError
from pure_detect.formats import WRITERS, image_ids, write_yolo
from pure_detect.registry import DEFAULT_MODEL

DESCRIPTION = """\
Find objects in images; print them, and draw them with --out.

formats:
  table  for people
  json   a list with one object an image: image, width, height, model,
         detections; boxes are left, top, right, bottom in pixels
  coco   a COCO results file; image_id is the file's name if all names are
         numbers, else the image's place in the run, from 1
  csv    one row a box: image,label,class_id,score,x1,y1,x2,y2
  yolo   Darknet's labels: class, centre x, centre y, width, height, as shares
         of the image; with a folder as --out one NAME.txt an image goes
         there, and no drawing

Of a folder its images are taken, of a pattern what it matches (** is any
number of folders), both in the order of the numbers in their names. With a
folder as --out the folders below them are made there too."""

SLASHES = ("/", os.sep)

EPILOG = """\
examples:
  pure-detect detect street.jpg --out boxes.png
  pure-detect detect *.jpg --model yolov3 --format json --out boxes/
  pure-detect detect photos/ 'more/**/*.png' --format csv > boxes.csv
  curl -s https://example.com/street.jpg | pure-detect detect -"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "detect",
        help="find objects in images",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("images", nargs="+", metavar="IMAGE", help=HELP)
    model = p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME|FILE.h5",
        help=f"a weight file or a registry name (default: {DEFAULT_MODEL})",
    )
    complete_with(model, model_completer(".h5"))
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
    """Find the images, and refuse what cannot work before anything is loaded."""
    if options.images.count(STANDARD_INPUT) > 1:
        p.error("-: expected standard input once, since it can be read once")
    options.sources, options.several = find_images(options.images)
    folder = _folder(options)
    if options.format == "yolo" and options.several and folder is None:
        p.error("--format yolo: expected a folder as --out for several images, since each has its own file")
    options.targets = {}
    if options.out is None:
        return
    if folder is None:
        _check_file(Path(options.out), p)
    elif not options.out.endswith(SLASHES) and folder.suffix and not folder.is_dir():
        p.error(f"--out: expected a folder for several images, found the file name {folder}")
    options.targets = _targets(options)
    taken = Counter(options.targets.values())
    if taken and max(taken.values()) > 1:
        p.error(f"--out: expected images with different names, found two for {taken.most_common(1)[0][0]}")
    images = {Path(name).resolve() for name in options.targets if name != STANDARD_INPUT}
    for image in images & {target.resolve() for target in options.targets.values()}:
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
    ids = image_ids(source.name for source in options.sources)

    def work(place: int, source: Source) -> str:
        found = _detect(model, source, options)
        if not _labels_in_files(options):
            writer.add(source.name, ids[place], found)
        return f"{len(found)} object{'s' * (len(found) != 1)}"

    status = for_each(options.sources, work)
    writer.finish()
    return status


def _detect(model: Any, source: Source, options: argparse.Namespace) -> Detections:
    """Return one image's detections, drawn or written where --out says."""
    pixels = source.read()
    try:
        found: Detections = model(
            pixels, score=options.score, iou=options.iou, class_agnostic=options.agnostic, rule=options.nms
        )
    except InputError as error:  # a network whose numbers are no boxes
        raise InputError(f"{source.name}: {error}") from None
    if options.out is not None:
        path = options.targets[source.name]
        if _folder(options) is not None:
            _make_folder(path.parent)
        if _labels_in_files(options):
            write_yolo(found, path)
        else:
            save_picture(draw(pixels, found), path)
        report(f"{path}: {'written' if _labels_in_files(options) else 'drawn'}")
    return found


def _folder(options: argparse.Namespace) -> Path | None:
    """Return --out if it is a folder: because there are several images, or it is one already, or ends in a slash."""
    if options.out is None:
        return None
    is_folder = options.several or os.path.isdir(options.out) or options.out.endswith(SLASHES)
    return Path(options.out) if is_folder else None


def _labels_in_files(options: argparse.Namespace) -> bool:
    return options.format == "yolo" and _folder(options) is not None


def _targets(options: argparse.Namespace) -> dict[str, Path]:
    """Return, by the image's name, the file that its drawing, or its labels, go to.

    Of `a.jpg` and `a.png` the drawings are `a.jpg.png` and `a.png.png`; labels must have the image's name to be found.
    """
    folder = _folder(options)
    images = list({source.name: source for source in options.sources if not source.error}.values())
    if folder is None:
        return {source.name: Path(options.out) for source in images}
    labels = options.format == "yolo"
    stems = Counter(source.output.with_suffix("") for source in images)
    targets = {}
    for source in images:
        output = source.output.with_suffix("")
        if stems[output] > 1 and not labels:
            output = source.output
        targets[source.name] = folder / output.with_name(f"{output.name}{'.txt' if labels else '.png'}")
    return targets


def _make_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be made, found: {error.strerror}") from None
