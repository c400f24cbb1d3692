"""ONNX: a graph and its parameters as the file that other engines read.

Every node of the graph becomes the ONNX operators that say the same (opset 17), under its own name; what takes more
than one gets intermediate values named `node/part`. Parameters that no ONNX attribute can say, such as an epsilon
outside of the root or BiFPN's normalised weights, are computed in float64 and stored as the constants they amount to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pure_detect._version import __version__
from pure_detect.detector import Model
from pure_detect.errors import InputError
from pure_detect.files import atomic_path
from pure_detect.graph import Graph, Node

try:
    from onnx import ModelProto, helper

    from pure_detect.onnx_writers import WRITERS, Writer
except ImportError:
    raise ImportError("ONNX needs the package onnx: pip install 'pure-detect[bench]'") from None

Array = NDArray[Any]

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17
MOST_BYTES = 2**31 - 1  # protobuf's limit for one message


def export_onnx(model: Model, path: str | Path, *, batch: int | None = 1, fold_batch_norm: bool = False) -> ModelProto:
    """Write a loaded model as an ONNX file.

    Parameters
    ----------
    model : Model
        As :func:`pure_detect.load` gives it; the input has its size.
    path : path
        Appears whole or not at all.
    batch : int or None
        Pictures a call; None leaves it open, as the dimension `N`.
    fold_batch_norm : bool
        Whether batch norm goes into the convolution before it, as every engine does for itself in float32; here it is
        computed in float64.

    Returns
    -------
    ModelProto
        What was written.

    Raises
    ------
    InputError
        If the file cannot be written, or the network is larger than ONNX's one file can be.
    """
    proto = onnx_model(model.graph, model.parameters, batch=batch, fold_batch_norm=fold_batch_norm)
    proto.graph.name = model.network.name
    facts = {
        "model": model.network.name,
        "family": model.network.family,
        "graph_fingerprint": model.graph.fingerprint,
        "labels": json.dumps(model.labels, ensure_ascii=False),
        "preprocessing": json.dumps(asdict(model.preprocessing)),
        "heads": json.dumps([{"kind": type(head).__name__, **asdict(head)} for head in model.graph.heads]),
    }
    helper.set_model_props(proto, facts)
    size = proto.ByteSize()
    if size > MOST_BYTES:
        raise InputError(f"{path}: expected at most 2 GiB, protobuf's limit, found {size / 2**30:.1f} GiB of network")
    with atomic_path(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return proto


def onnx_model(
    graph: Graph, parameters: Mapping[str, Array], *, batch: int | None = 1, fold_batch_norm: bool = False
) -> ModelProto:
    """Return a graph with its parameters as an ONNX model; the parameters are those of :func:`export_onnx`."""
    folded = foldable(graph) if fold_batch_norm else {}
    writer = Writer(graph, parameters, batch, folded)
    for node in graph.nodes:
        if node.name not in folded:
            WRITERS[node.op](writer, node)
    made = helper.make_graph(
        writer.nodes,
        "pure-detect",
        [writer.value_info(graph.input.name, graph.input.shape)],
        [writer.value_info(name, writer.shapes[name]) for name in dict.fromkeys(graph.outputs)],
        list(writer.initializers.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        made,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="pure-detect",
        producer_version=__version__,
    )


def foldable(graph: Graph) -> dict[str, Node]:
    """Return the convolutions that only a batch norm reads, by name, each with that batch norm."""
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(graph.outputs)
    convolutions = {node.name for node in graph.nodes if node.op == "conv2d" and readers[node.name] == 1}
    return {node.inputs[0]: node for node in graph.nodes if node.op == "batch_norm" and node.inputs[0] in convolutions}
