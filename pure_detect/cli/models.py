"""`pure-detect models`: the registry."""

from __future__ import annotations

import argparse
from typing import Any

from pure_detect.cli.common import DONE, print_json
from pure_detect.registry import NETWORKS, cached_weights


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "models",
        help="list the networks that have a name",
        description="List the networks that have a name. Any Darknet cfg is a model too, once converted.",
        epilog="example:\n  pure-detect models --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the registry."""
    rows = [_row(name) for name in NETWORKS]
    if options.json:
        print_json(rows)
        return DONE
    print(f"{'name':14} {'family':11} {'input':>9} {'parameters':>11} {'GFLOP':>7}  weights")
    for row in rows:
        size = f"{row['width']}x{row['height']}"
        weights = "here" if row["weights"] else "not here"
        print(
            f"{row['name']:14} {row['family']:11} {size:>9} {row['parameters']:>11,} "
            f"{2e-9 * row['multiply_adds']:>7.2f}  {weights}"
        )
    return DONE


def _row(name: str) -> dict[str, Any]:
    network = NETWORKS[name]
    graph, weights = network.build(), cached_weights(name)
    _, height, width = network.input_shape
    return {
        "name": name,
        "family": network.family,
        "width": width,
        "height": height,
        "parameters": graph.learnable_count,
        "multiply_adds": graph.multiply_adds,
        "weights": str(weights) if weights.is_file() else None,
    }
