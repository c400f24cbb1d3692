"""`pure-detect classify`: an image in, the likeliest classes out."""

from __future__ import annotations

import argparse
from typing import Any

from pure_detect.cli.common import (
    DONE,
    FAILED,
    add_model_options,
    load_model,
    positive,
    print_json,
    report_error,
)
from pure_detect.errors import InputError

EPILOG = """\
example:
  pure-detect classify dog.jpg --model tiny-darknet.h5 --top 3"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "classify",
        help="label whole images",
        description="Print the likeliest classes of each image.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("images", nargs="+", metavar="IMAGE")
    p.add_argument("--model", required=True, metavar="NAME|FILE.h5", help="a weight file or a registry name")
    p.add_argument("--top", type=positive, default=5, metavar="N", help="how many classes (default: 5)")
    p.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    add_model_options(p)
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classify every image; one that fails does not stop the others."""
    model = load_model(options.model, options)
    if not model.network.is_classifier:
        raise InputError(f"{options.model}: expected a classifier, found a detector; use `pure-detect detect`")
    status, results = DONE, []
    for image in options.images:
        try:
            classes = model(image, top=options.top)
        except InputError as error:
            report_error(error)
            status = FAILED
            continue
        results.append({"image": image, "classes": [c._asdict() for c in classes]})
        if options.format == "table":
            print(image)
            for c in classes:
                print(f"  {c.score:6.4f}  {c.label}")
    if options.format == "json":
        print_json(results)
    return status
