"""`pure-detect serve`: detection over HTTP."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from pure_detect.cli.common import DONE, FAILED, report
from pure_detect.errors import InputError
from pure_detect.serve.settings import Settings

NEEDED = ("flask", "gunicorn", "prometheus_client")

DESCRIPTION = """\
Serve detectors over HTTP, with a web page at /. Needs the extra serve:
pip install 'pure-detect[serve]'.

  GET  /predict/v1?model=NAME&image_url=URL   the objects of an image, as JSON
  POST /predict/v1?model=NAME                 the same for an image in the body
  GET  /models /healthz /metrics /openapi.json"""

EPILOG = """\
Every option is also a variable, --max-bytes PURE_DETECT_SERVE_MAX_BYTES for
one, for containers: see docs/serverless.md. Images are fetched from public
addresses alone, but for the ranges of --allow-address.

examples:
  pure-detect serve
  pure-detect serve --models yolo-fastest-1.1-xl,mine.h5 --port 9000
  curl -F image=@dog.jpg 'http://127.0.0.1:8080/predict/v1?score=0.3'"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "serve",
        help="serve detectors over HTTP, with a web page",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for setting in fields(Settings):
        default = setting.default
        shown = ", ".join(default) if isinstance(default, tuple) else default
        p.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=setting.metadata["parse"],
            action="extend" if isinstance(default, tuple) else "store",
            metavar=setting.metadata["metavar"],
            help=setting.metadata["help"] + (f" (default: {shown})" if shown not in ("", None) else ""),
        )
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    settings = _settings(options)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        message = f"serve: expected {', '.join(NEEDED)}, found no {missing[0]}"
        raise InputError(f"{message}; pip install 'pure-detect[serve]'")
    from pure_detect.serve.catalog import check_models
    from pure_detect.serve.server import Server, check_address

    check_address(settings)
    check_models(settings.models)
    report(f"serving {', '.join(settings.models)} at http://{settings.address}/ until Ctrl+C")
    master = os.getpid()
    try:
        Server(settings).run()
    except SystemExit as end:
        if os.getpid() != master:  # a worker, whose status tells the master why it ended
            raise
        return FAILED if end.code else DONE
    return DONE


def _settings(options: argparse.Namespace) -> Settings:
    given: dict[str, Any] = {setting.name: getattr(options, setting.name) for setting in fields(Settings)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Settings(**{name: value for name, value in given.items() if value is not None})
