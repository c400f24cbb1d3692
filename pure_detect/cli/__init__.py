"""The command `pure-detect`: one file a subcommand."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from pure_detect import __version__
from pure_detect.cli.common import accept_any_text, one_line_errors
from pure_detect.cli.completion import complete

COMMANDS = ("demo", "detect", "classify", "summary", "models", "download", "evaluate", "anchors", "export", "serve")


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    p = argparse.ArgumentParser("pure-detect", description="Object detection in plain Python.")
    p.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = p.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"pure_detect.cli.{name}").add_parser(commands)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 done, 1 failed on some input, 2 wrong usage."""
    accept_any_text()
    return one_line_errors(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    p = parser()
    complete(p)
    options = p.parse_args(arguments)
    if "check" in options:
        options.check(options)
    return int(options.run(options))
