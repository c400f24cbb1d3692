"""What every command shares: where messages go, how errors end a run, and options that recur."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from pure_detect.detector import ENGINES
from pure_detect.errors import InputError
from pure_detect.image import RESIZE_MODES
from pure_detect.jit import set_threads
from pure_detect.loading import load

DONE, FAILED = 0, 1


def report(message: str) -> None:
    """Print a notice on standard error; standard output is for results alone."""
    print(message, file=sys.stderr, flush=True)


def report_error(error: Exception | str) -> None:
    """Print an error as one line on standard error."""
    report(f"error: {' '.join(str(error).split())}")


def one_line_errors(command: Callable[[], int]) -> int:
    """Run a command; what a user can get wrong becomes one line on standard error and exit status 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_args, **_kwargs: report(f"warning: {message}")
        try:
            try:
                return command()
            finally:  # also where argparse has printed its help and exits
                sys.stdout.flush()
        except InputError as error:
            report_error(error)
            return FAILED
        except MemoryError as error:
            report_error(f"not enough memory: {error}")
            return FAILED
        except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
            _silence_standard_output()
            return DONE
        except OSError as error:  # InputErrors name their files; what is left is our own output, a full disk
            report_error(f"standard output: {error.strerror or error}")
            _silence_standard_output()
            return FAILED
        except KeyboardInterrupt:
            report("interrupted")
            return 130


def _silence_standard_output() -> None:
    """Send what is still buffered nowhere, or the interpreter would stumble over it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def accept_any_text() -> None:
    """Let a terminal's narrow encoding show what it can, and escape the rest, instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def unit_interval(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text}")
    return value


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {text}")
    return value


def input_size(text: str) -> tuple[int, int]:
    """Parse an input size: `416`, or width x height as in `416x320`. Returns (height, width)."""
    width, times, height = text.lower().partition("x")
    return (positive(height if times else width), positive(width))


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which network runs, and how."""
    parser.add_argument(
        "--size", type=input_size, metavar="N|WxH", help="input size of the network (default: as published)"
    )
    modes = ", ".join(RESIZE_MODES)
    parser.add_argument(
        "--resize",
        choices=RESIZE_MODES,
        metavar="MODE",
        help=f"how pictures are fitted: {modes} (default: the model's)",
    )
    parser.add_argument("--engine", choices=ENGINES, help="fast, or the plain reference kernels (default: fast)")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: every CPU)")


def load_model(name: str, options: argparse.Namespace) -> Any:
    """Load the model that the options of :func:`add_model_options` describe."""
    set_threads(options.threads)
    try:
        model = load(name, size=options.size, engine=options.engine)
    except InputError:
        raise
    except ValueError as error:  # a size that does not fit the network
        raise InputError(str(error)) from None
    return model.with_resize(options.resize) if options.resize else model
