"""`pure-detect export`: a network as an ONNX file, for other engines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pure_detect.cli.common import DONE, input_size, positive, report
from pure_detect.errors import InputError
from pure_detect.loading import load

DESCRIPTION = """\
Write a network with its weights as ONNX (opset 17), float32: what it takes and
gives is what `forward` does, an input as the network sees it and raw head
tensors, under the names that `pure-detect summary` lists. Labels,
preprocessing and heads stand in the file's metadata. Needs the package onnx."""

EPILOG = """\
examples:
  pure-detect export yolo-fastest-1.1-xl --out xl.onnx
  pure-detect export my.h5 --size 608 --batch any --out my.onnx
  pure-detect export yolov3 --weights random --fold-batch-norm --out speed.onnx"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "export",
        help="write a network as ONNX",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("model", metavar="NAME|FILE.h5|FILE.cfg")
    p.add_argument("--out", type=Path, metavar="FILE.onnx", required=True)
    p.add_argument("--size", type=input_size, metavar="N|WxH", help="input size (default: as published)")
    p.add_argument("--batch", type=batch_size, default=1, metavar="N|any", help="pictures a call (default: 1)")
    p.add_argument("--weights", metavar="FILE.h5|random", help="the weights, for a name or cfg (default: published)")
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of random weights (default: 0)")
    p.add_argument(
        "--fold-batch-norm", action="store_true", help="compute batch norm into the convolutions, in float64"
    )
    p.set_defaults(run=run)


def batch_size(text: str) -> int | None:
    """Parse a number of pictures; `any` leaves it open."""
    return None if text == "any" else positive(text)


def run(options: argparse.Namespace) -> int:
    """Write the file."""
    try:
        from pure_detect.onnx_export import export_onnx
    except ImportError as error:
        raise InputError(str(error)) from None
    if options.model.endswith(".h5") and options.weights not in (None, "random"):
        raise InputError(f"{options.model}: expected no other weights beside a weight file, found {options.weights}")
    try:
        model = load(options.model, weights=options.weights, seed=options.seed, size=options.size)
    except InputError:
        raise
    except ValueError as error:  # a size that does not fit the network
        raise InputError(str(error)) from None
    proto = export_onnx(model, options.out, batch=options.batch, fold_batch_norm=options.fold_batch_norm)
    dimensions = [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    nodes, outputs = len(proto.graph.node), len(proto.graph.output)
    report(f"{options.out}: {nodes} nodes, input {'x'.join(map(str, dimensions))}, outputs {outputs}")
    return DONE
