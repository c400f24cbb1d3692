"""`pure-detect models`: the registry."""

from __future__ import annotations

import argparse
from typing import Any

from pure_detect.cli.common import DONE, print_json
from pure_detect.registry import DEFAULT_MODEL, PUBLISHED, Published, cached_weights

DESCRIPTION = f"""\
List the networks that have a name. Their weights are downloaded when they are
first needed; the last column says how much that is, or "convert" where only
archives are published: see weights-convert. AP and AP50 are on COCO,
top1 on ImageNet, in percent, as their authors published them; --json has the
sources. The default of `pure-detect detect` is {DEFAULT_MODEL}.
The demo networks come with the package; their figures are on drawn scenes.
Any Darknet cfg is a model too, once its weights are converted."""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "models",
        help="list the networks that have a name",
        description=DESCRIPTION,
        epilog="example:\n  pure-detect models --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--json", action="store_true", help="print JSON")
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the registry."""
    rows = [_row(name, published) for name, published in PUBLISHED.items()]
    if options.json:
        print_json(rows)
    else:
        _print_table(rows)
    return DONE


def _row(name: str, published: Published) -> dict[str, Any]:
    graph, weights = published.network.build(), cached_weights(name)
    _, height, width = published.network.input_shape
    return {
        "name": name,
        "family": published.network.family,
        "width": width,
        "height": height,
        "parameters": graph.learnable_count,
        "batch_norm_statistics": graph.statistics_count,
        "multiply_adds": graph.multiply_adds,
        "ap": published.ap,
        "ap50": published.ap50,
        "top1": published.top1,
        "accuracy_source": published.accuracy_source,
        "weights": str(weights) if weights.is_file() else None,
        "addresses": published.addresses,
        "size": published.size,
        "sha256": published.sha256 or None,
        "sha256_source": published.sha256_source or None,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Print the families one under another, so that the long names leave room for the rest in 80 columns."""
    width = max(len(row["name"]) for row in rows)
    print(f"{'':{width}} {'input':>9} {'params':>7} {'GFLOP':>5} {'published':>9} {'weights':>8}")
    for family in dict.fromkeys(row["family"] for row in rows):
        print(f"{family}:")
        for row in rows:
            if row["family"] == family:
                print(_line(row, width))


def _line(row: dict[str, Any], width: int) -> str:
    size = f"{row['width']}x{row['height']}"
    return (
        f"{row['name']:{width}} {size:>9} {1e-6 * row['parameters']:>6.2f}M {2e-9 * row['multiply_adds']:>5.3g} "
        f"{_accuracy(row):>9} {_weights(row):>8}"
    )


def _accuracy(row: dict[str, Any]) -> str:
    """Return the published figure that says most: AP, else AP50, else top-1."""
    for key, label in (("ap", "AP"), ("ap50", "AP50"), ("top1", "top1")):
        if row[key] is not None:
            return f"{label} {row[key]:.1f}"
    return ""


def _weights(row: dict[str, Any]) -> str:
    """Return `here`, or how much is to be downloaded; where nobody states it, what the values take."""
    if row["weights"]:
        return "here"
    values = 4 * (row["parameters"] + row["batch_norm_statistics"])
    return f"{1e-6 * (row['size'] or values):.1f} MB" if row["addresses"] else "convert"
