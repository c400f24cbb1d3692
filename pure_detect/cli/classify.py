"""`pure-detect classify`: an image in, the likeliest classes out."""

from __future__ import annotations

import argparse
from typing import Any

from pure_detect.cli.common import add_model_options, load_model, positive, print_json
from pure_detect.cli.completion import complete_with, model_completer
from pure_detect.cli.images import HELP, STANDARD_INPUT, Source, find_images, for_each
from pure_detect.detector import Classification, Classifier
from pure_detect.errors import InputError

EPILOG = """\
examples:
  pure-detect classify dog.jpg --model tiny-darknet.h5 --top 3
  pure-detect classify photos/ --model efficientnet-b0.h5 --format json"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "classify",
        help="label whole images",
        description="Print the likeliest classes of each image.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("images", nargs="+", metavar="IMAGE", help=HELP)
    model = p.add_argument("--model", required=True, metavar="NAME|FILE.h5", help="a weight file or a registry name")
    complete_with(model, model_completer(".h5"))
    p.add_argument("--top", type=positive, default=5, metavar="N", help="how many classes (default: 5)")
    p.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    add_model_options(p)
    p.set_defaults(run=run, check=lambda options: check(options, p))


def check(options: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Find the images."""
    if options.images.count(STANDARD_INPUT) > 1:
        p.error("-: expected standard input once, since it can be read once")
    options.sources = find_images(options.images).images


def run(options: argparse.Namespace) -> int:
    """Classify every image; one that fails does not stop the others."""
    model = load_model(options.model, options)
    if not model.network.is_classifier:
        raise InputError(f"{options.model}: expected a classifier, found a detector; use `pure-detect detect`")
    results = []

    def work(_: int, source: Source) -> str:
        classes = _classes(model, source, options.top)
        results.append({"image": source.name, "classes": [c._asdict() for c in classes]})
        if options.format == "table":
            print(source.name)
            for c in classes:
                print(f"  {c.score:6.4f}  {c.label}")
        return classes[0].label

    status = for_each(options.sources, work)
    if options.format == "json":
        print_json(results)
    return status


def _classes(model: Classifier, source: Source, top: int) -> list[Classification]:
    pixels = source.read()
    try:
        return model(pixels, top=top)
    except InputError as error:  # a network that gives a map
        raise InputError(f"{source.name}: {error}") from None
