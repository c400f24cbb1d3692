"""`pure-detect summary`: a network layer by layer, as Darknet lists its own while loading."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pure_detect.cli.common import DONE, input_size, print_json
from pure_detect.cli.completion import complete_with, model_completer
from pure_detect.engine.plan import plan_without_weights
from pure_detect.errors import InputError
from pure_detect.graph import Graph, Node
from pure_detect.loading import network_of, read_header_network
from pure_detect.ops.geometry import Shape

EPILOG = """\
examples:
  pure-detect summary yolov3
  pure-detect summary efficientdet-d0 --plan
  pure-detect summary my.cfg --size 608 --json"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "summary",
        help="list a network's layers",
        description="List a network layer by layer: name, operation, output, parameters,\n"
        "multiply-adds. No weights are needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = p.add_argument("model", metavar="NAME|FILE.h5|FILE.cfg")
    complete_with(model, model_completer(".h5", ".cfg"))
    p.add_argument("--size", type=input_size, metavar="N|WxH", help="input size (default: as published)")
    output = p.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--plan", action="store_true", help="how the fast engine runs it on this processor")
    p.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the summary."""
    is_file = Path(options.model).suffix == ".h5"
    network = read_header_network(options.model) if is_file else network_of(options.model)
    try:
        graph = network.build(*(options.size or ()))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None
    if options.plan:
        print(plan_without_weights(graph).table())
    elif options.json:
        print_json(_as_json(network.name, graph))
    else:
        _print_table(network.name, graph)
    return DONE


def _as_json(name: str, graph: Graph) -> dict[str, Any]:
    return {
        "model": name,
        "input": graph.input.shape,
        "parameters": graph.learnable_count,
        "batch_norm_statistics": graph.statistics_count,
        "multiply_adds": graph.multiply_adds,
        "outputs": graph.outputs,
        "layers": [
            {
                "name": node.name,
                "op": node.op,
                "inputs": node.inputs,
                "shape": node.shape,
                "parameters": sum(p.size for p in node.parameters.values()),
                "multiply_adds": node.multiply_adds,
                "attributes": dict(node.attributes),
            }
            for node in graph.nodes
        ],
    }


def _print_table(name: str, graph: Graph) -> None:
    names = _short_names(graph)
    width = max(map(len, names))
    print(f"{name}: input {_size(graph.input.shape)}, channels x height x width")
    print(f"{'layer':{width}} {'operation':17} {'output':>11} {'params':>8} {'GFLOP':>6}")
    for shown, node in zip(names, graph.nodes):
        parameters = sum(p.size for p in node.parameters.values())
        flops = f"{2e-9 * node.multiply_adds:6.3f}" if node.multiply_adds else ""
        print(f"{shown:{width}} {_operation(node):17} {_size(node.shape):>11} {parameters or '':>8} {flops}".rstrip())
    print(f"{graph.learnable_count:,} learnable parameters, {graph.statistics_count:,} batch-norm statistics")
    print(f"{2e-9 * graph.multiply_adds:.2f} GFLOP: {graph.multiply_adds:,} multiply-adds")


def _short_names(graph: Graph) -> list[str]:
    """Return the nodes' names; where one shares all but its last part with the row above, only that part."""
    shown, above = [], ""
    for node in graph.nodes:
        layer, dot, part = node.name.rpartition(".")
        shown.append(" " * len(layer) + dot + part if layer and layer == above else node.name)
        above = layer
    width = max(len(name) for name in shown if not name.startswith(" "))
    return [name if not name.startswith(" ") else name.strip().rjust(width) for name in shown]


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _operation(node: Node) -> str:
    """Return the operation as a reader would write it: `conv2d 3x3/2`, `leaky_relu`."""
    attributes = node.attributes
    if node.op == "activation":
        return str(attributes["function"])
    if node.op in ("conv2d", "max_pool", "average_pool"):
        kernel = attributes.get("kernel") or node.parameters["weight"].shape[2:]
        groups = f" g{attributes['groups']}" if attributes.get("groups", 1) > 1 else ""
        return f"{node.op} {kernel[0]}x{kernel[1]}/{attributes['stride'][0]}{groups}"
    return node.op
