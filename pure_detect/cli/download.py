"""`pure-detect download`: weights of registry names, before they are needed."""

from __future__ import annotations

import argparse
from typing import Any

from pure_detect.cli.common import DONE, FAILED, report_error
from pure_detect.cli.completion import complete_with, model_completer
from pure_detect.errors import InputError
from pure_detect.registry import find_network
from pure_detect.weights_cache import weights_of

DESCRIPTION = """\
Get the published weights of networks and print where they are kept. Other
commands get what they need by themselves; this is for what runs without a
network later. Length and, where its source states it, SHA-256 are checked;
an interrupted download goes on where it ended."""

EPILOG = """\
environment:
  PURE_DETECT_HOME    keep everything in this folder, not in the cache folder
  PURE_DETECT_MIRROR  an http(s) address or a local folder with the published
                      files, in place of the official addresses
  http_proxy, https_proxy, no_proxy   as everywhere

example:
  pure-detect download yolo-fastest-1.1-xl yolov3-tiny"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "download",
        help="get published weights",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = p.add_argument("models", nargs="+", metavar="MODEL", help="a name that `pure-detect models` lists")
    complete_with(models, model_completer())
    p.add_argument("--again", action="store_true", help="even if the weights are here")
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Get every model's weights; one that fails does not stop the others."""
    for name in options.models:
        find_network(name)  # a misspelt name ends the run before anything is downloaded
    status = DONE
    for name in options.models:
        try:
            print(weights_of(name, renew=options.again), flush=True)
        except InputError as error:
            report_error(error)
            status = FAILED
    return status
