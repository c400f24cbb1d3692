"""The command `weights-convert`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pure_detect import __version__
from pure_detect.cli.common import accept_any_text, one_line_errors, report
from pure_detect.cli.completion import complete, complete_with, model_completer
from pure_detect.errors import InputError
from pure_detect.graph import BatchNormRule
from pure_detect.image import RESIZE_MODES
from pure_detect.loading import network_of, read_file
from weights_convert.hdf5_layout import write_weights
from weights_convert.readers.darknet import Header, write_darknet
from weights_convert.sources import convert, format_of

DESCRIPTION = """\
Convert a weight file to the HDF5 file that pure-detect loads. The source's
format is told from its content: Darknet .weights, PyTorch's .pth, safetensors,
TensorFlow's frozen graphs and checkpoints, TensorFlow Lite; or a .h5 file of
ours, which is written back as .weights, byte for byte unless it holds float16."""

EXAMPLES = """\
examples:
  weights-convert yolov3.weights --model yolov3 --out yolov3.h5
  weights-convert my.weights --model my.cfg --labels my.names --out my.h5
  weights-convert my.h5 --out my.weights"""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    p = argparse.ArgumentParser(
        "weights-convert",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("source", metavar="SOURCE", type=Path, help="the weight file to convert")
    model = p.add_argument("--model", metavar="NAME|FILE.cfg", help="the network: a registry name or a Darknet cfg")
    complete_with(model, model_completer(".cfg"))
    p.add_argument("--out", metavar="FILE", type=Path, required=True, help="the file to write")
    p.add_argument("--labels", metavar="FILE", type=Path, help="class names, one a line")
    p.add_argument("--float16", action="store_true", help="store half precision: half the size")
    modes = ", ".join(RESIZE_MODES)
    p.add_argument(
        "--resize", choices=RESIZE_MODES, metavar="MODE", help=f"how pictures are fitted by default: {modes}"
    )
    p.add_argument("--epsilon", type=float, default=None, help="batch norm's epsilon (default: 1e-5; OpenCV uses 1e-6)")
    p.add_argument(
        "--epsilon-place",
        choices=("inside", "outside"),
        help="inside the root (default: Darknet on GPUs, AlexeyAB's fork, OpenCV) or outside (pjreddie's CPU code)",
    )
    p.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 done, 1 failed on the input, 2 wrong usage."""
    accept_any_text()
    return one_line_errors(lambda: _convert(arguments))


def _convert(arguments: Sequence[str] | None) -> int:
    p = parser()
    complete(p)
    options = p.parse_args(arguments)
    if options.epsilon is not None and not 0 <= options.epsilon < math.inf:
        p.error(f"--epsilon: expected a finite number of at least 0, found {options.epsilon}")
    if options.out.resolve() == options.source.resolve():
        p.error("--out: expected another file than SOURCE, found the same")
    if format_of(options.source) == "hdf5":
        given = (options.model, options.labels, options.epsilon, options.epsilon_place, options.resize)
        if options.float16 or any(value is not None for value in given):
            p.error("a .h5 file is written back as it is: no other option than --out fits")
        _to_darknet(options)
    elif options.model is None:
        p.error("--model: needed, since the file does not say what network it is for")
    else:
        _to_hdf5(options)
    report(f"{options.out}: {options.out.stat().st_size:,} bytes written")
    return 0


def _to_hdf5(options: argparse.Namespace) -> None:
    network = network_of(options.model)
    given = options.epsilon is not None or options.epsilon_place is not None
    rule = network.batch_norm_rule
    if given:
        epsilon = rule.epsilon if options.epsilon is None else options.epsilon
        rule = BatchNormRule(epsilon, options.epsilon_place != "outside")
    parameters, source = convert(options.source, network, rule)
    preprocessing = network.preprocessing
    if options.resize:
        preprocessing = replace(preprocessing, resize=options.resize)
    write_weights(
        options.out,
        network,
        parameters,
        labels=read_labels(options.labels, network.class_count) if options.labels else network.labels,
        rule=rule,
        preprocessing=preprocessing,
        source=source,
        half=options.float16,
    )


def _to_darknet(options: argparse.Namespace) -> None:
    header, network, parameters = read_file(options.source)
    graph = network.build(rule=header.batch_norm_rule)
    write_darknet(options.out, graph, parameters, _darknet_header(header.source_header))


def _darknet_header(stored: Mapping[str, Any]) -> Header:
    """Return the header that the source had; a file whose source was not Darknet's gets the current version's."""
    version, seen = (-(2**31), 2**31), (0, 2**64 if stored.get("bytes") == 20 else 2**32)
    ranges = {"major": version, "minor": version, "revision": version, "seen": seen, "bytes": (16, 21)}
    if stored.keys() == ranges.keys() and all(
        isinstance(value, int) and ranges[key][0] <= value < ranges[key][1] for key, value in stored.items()
    ):
        return Header(**stored)
    return Header(major=0, minor=2, revision=5, seen=0, bytes=20)


def read_labels(path: Path, classes: int) -> list[str]:
    """Read class names, one a line; of a longer file the first `classes` lines count, as in Darknet.

    Raises
    ------
    InputError
        If the file cannot be read or has too few lines.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text in UTF-8, one class name a line, found other bytes") from None
    labels = [line.strip() for line in lines]
    while labels and not labels[-1]:
        labels.pop()
    if len(labels) < classes:
        raise InputError(f"{path}: expected {classes} class names, found {len(labels)}")
    return labels[:classes]


if __name__ == "__main__":
    sys.exit(main())
