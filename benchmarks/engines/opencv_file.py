"""The ONNX file for OpenCV 4.14, less what it computes wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def rewrite(source: Path, target: Path) -> None:
    """Say the same network in operators that OpenCV gets right."""
    model = onnx.shape_inference.infer_shapes(onnx.load(source))
    spell_out_hard_sigmoid(model.graph)
    crop_kernels(model.graph)
    onnx.save(model, target)


def spell_out_hard_sigmoid(graph: Any) -> None:
    """Replace HardSigmoid: OpenCV takes any product with one for HardSwish, so squeeze-and-excite goes wrong."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "HardSigmoid":
            graph.node.append(node)
            continue
        values = {a.name: a.f for a in node.attribute} | {"zero": 0.0, "one": 1.0}
        names = {key: f"{node.name}/{key}" for key in values}
        for key, value in values.items():
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), names[key]))
        steep, moved = f"{node.name}/steep", f"{node.name}/moved"
        graph.node.extend([
            helper.make_node("Mul", [node.input[0], names["alpha"]], [steep]),
            helper.make_node("Add", [steep, names["beta"]], [moved]),
            helper.make_node("Clip", [moved, names["zero"], names["one"]], node.output),
        ])  # fmt: skip


def crop_kernels(graph: Any) -> None:
    """Leave only the middle of a 3x3 kernel over a map of one cell: OpenCV's depthwise kernel goes wrong there."""
    sizes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim][2:] for info in graph.value_info}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        options = {a.name: a for a in node.attribute}
        if node.op_type != "Conv" or sizes.get(node.input[0]) != [1, 1] or options["pads"].ints != [1, 1, 1, 1]:
            continue
        middle = numpy_helper.to_array(weights[node.input[1]])[:, :, 1:2, 1:2]
        graph.initializer.append(numpy_helper.from_array(middle.copy(), f"{node.name}/middle"))
        node.input[1] = f"{node.name}/middle"
        options["pads"].ints[:] = [0, 0, 0, 0]
        options["kernel_shape"].ints[:] = [1, 1]
