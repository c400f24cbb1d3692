"""The rows of numbers of everything but convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import maps, packing, run, squeeze_excite, step
from pure_detect.engine.emit_convolutions import panel_weights
from pure_detect.engine.emitter import L2_SHARE, Emitter
from pure_detect.engine.fuse import Task
from pure_detect.engine.layout import Map
from pure_detect.engine.placement import MIN_ITEMS
from pure_detect.engine.simd import LANES
from pure_detect.graph import Node
from pure_detect.ops.add import normalized_weights

Array = NDArray[Any]


def emit_gates(e: Emitter, task: Task) -> None:
    """Add the sums, gates and scaled weights of a squeeze-and-excite."""
    squeeze = task.squeeze
    assert squeeze
    source = e.maps[squeeze.source]
    sums, gates = (e.maps[f"{squeeze.name}:{part}"] for part in ("sums", "gates"))
    if not e.placement.sums_on_the_way(squeeze):
        e.step(
            run.CHANNEL_SUMS, task, source.blocks,
            {step.HEIGHT: source.height, step.COLUMNS: source.width, step.Y: sums.place.offset}, x=source,
            writes=[sums],
        )  # fmt: skip
    emit_two_layers(e, task, source, sums, gates)
    if not e.placement.scales_weights(squeeze):
        return
    conv, scaled = e.placement.gated(squeeze), e.maps[f"{squeeze.name}:weights"]
    outputs = -(-conv.main.shape[0] // LANES)
    panels = packing.panels_of(outputs)
    unroll = direct.CHANNELS_AT_ONCE
    inputs = -(-source.channels // unroll) * unroll
    e.step(
        run.SCALE_WEIGHTS, task, panels.panels,
        {
            step.Y: scaled.place.offset, squeeze_excite.INPUTS: inputs,
            squeeze_excite.WEIGHTS: panel_weights(e, conv, unroll),
            squeeze_excite.FIRST_VECTORS: panels.first_vectors, squeeze_excite.FIRST_PANELS: panels.first_panels,
            squeeze_excite.REST_VECTORS: panels.rest_vectors,
            squeeze_excite.GATES: gates.place.offset, squeeze_excite.BIAS: e.bias(conv),
            squeeze_excite.SCALED_BIAS: scaled.place.offset + inputs * outputs * LANES,
            squeeze_excite.OUTPUTS: outputs * LANES,
        },
        reads=[gates], writes=[scaled],
    )  # fmt: skip


def emit_two_layers(e: Emitter, task: Task, source: Map, sums: Map, gates: Map) -> None:
    """Add the two small layers that make gates from sums; their weights are read by all threads together."""
    squeeze = task.squeeze
    assert squeeze
    channels, units = source.blocks * LANES, squeeze.reduce.shape[0]
    hidden = e.maps[f"{squeeze.name}:hidden"]
    parts = min(MIN_ITEMS, 1 + channels * units // L2_SHARE)
    unit_chunk = -(-units // parts // LANES) * LANES
    gate_chunk = -(-source.blocks // parts) * LANES
    e.scratch = max(e.scratch, channels + unit_chunk)
    common = {step.BLOCKS: source.blocks, squeeze_excite.HIDDEN: units}
    e.step(
        run.HIDDEN_UNITS, task, -(-units // unit_chunk),
        {
            step.X: sums.place.offset, step.Y: hidden.place.offset, squeeze_excite.CHUNK: unit_chunk,
            squeeze_excite.SUM_ROWS: sums.width // channels, squeeze_excite.PIXELS: source.height * source.width,
            squeeze_excite.REDUCE: matrix(e, squeeze.reduce, units, channels, transposed=False),
            squeeze_excite.REDUCE_BIAS: plain_bias(e, squeeze.reduce, units),
            **common, **e.activation_numbers(squeeze.reduce_activation),
        },
        reads=[sums], writes=[hidden],
    )  # fmt: skip
    e.step(
        run.CHANNEL_GATES, task, -(-channels // gate_chunk),
        {
            step.X: hidden.place.offset, step.Y: gates.place.offset, squeeze_excite.CHUNK: gate_chunk,
            squeeze_excite.EXPAND: matrix(e, squeeze.expand, units, channels, transposed=True),
            squeeze_excite.EXPAND_BIAS: plain_bias(e, squeeze.expand, channels),
            **common, **e.activation_numbers(squeeze.gate),
        },
        reads=[hidden], writes=[gates],
    )  # fmt: skip


def matrix(e: Emitter, conv: Node, rows: int, columns: int, transposed: bool) -> int:
    """Pack the weights of a 1x1 convolution as (hidden, channels)."""

    def write(out: Array) -> None:
        weight = np.asarray(e.parameters[conv.parameters["weight"].name])[:, :, 0, 0]
        weight = weight.T if transposed else weight
        out[:] = 0
        out.reshape(rows, columns)[:, : weight.shape[1]] = weight

    return e.packed.add(rows * columns, write)


def plain_bias(e: Emitter, conv: Node, length: int) -> int:
    """Pack the bias of a convolution without batch norm."""
    return e.packed.values(packing.folded_bias(conv, None, e.parameters), length)


def emit_weighted_sum(e: Emitter, task: Task) -> None:
    """Add a sum of maps."""
    node, y = task.main, e.maps[task.output]
    weight = np.ones((len(node.inputs), 1))
    if task.kind == "weighted_add":
        stored = np.asarray(e.parameters[node.parameters["weight"].name], np.float64)
        weight = normalized_weights(stored, node.attributes["normalization"], node.attributes.get("epsilon", 1e-4))
    factors = np.zeros((len(node.inputs), y.blocks * LANES), np.float32)
    factors[:, : y.channels] = weight
    numbers = {maps.INPUTS: len(node.inputs), maps.COEFFICIENTS: e.packed.values(factors.ravel())}
    for i, name in enumerate(node.inputs):
        for j, number in enumerate(e.maps[name].place):
            numbers[maps.PLACES + 3 * i + j] = number
    parts = e.by_rows(y)
    terms = [e.maps[name] for name in node.inputs]
    e.step(run.WEIGHTED_SUM, task, y.blocks * parts[step.CHUNKS], numbers | parts, y=y, reads=terms)


def emit_scale_shift(e: Emitter, task: Task) -> None:
    """Add a batch norm or an activation that stands alone."""
    node, x, y = task.main, e.maps[task.inputs[0]], e.maps[task.output]
    norm = node if task.kind == "batch_norm" else None
    if norm is None:
        task.activation = node.attributes["function"]
    scale, shift = packing.norm_factors(norm, y.channels, e.parameters)
    numbers = {
        maps.SCALE: e.packed.values(scale, y.blocks * LANES),
        maps.BIAS: e.packed.values(shift, y.blocks * LANES),
    }
    parts = e.by_rows(y)
    e.step(run.SCALE_SHIFT, task, y.blocks * parts[step.CHUNKS], numbers | parts, x=x, y=y)


def emit_pool(e: Emitter, task: Task) -> None:
    """Add a pooling."""
    node, x, y = task.main, e.maps[task.inputs[0]], e.maps[task.output]
    a = node.attributes
    KH, KW = a.get("kernel", (x.height, x.width))
    sy, sx = a.get("stride", (1, 1))
    top, left, _, _ = a.get("padding", (0, 0, 0, 0))
    numbers = {
        maps.SIZE_Y: KH, maps.SIZE_X: KW, maps.STRIDE_Y: sy, maps.STRIDE_X: sx, maps.PAD_TOP: top,
        maps.PAD_LEFT: left, maps.IN_HEIGHT: x.height, maps.IN_COLUMNS: x.width,
        maps.MEAN: int(task.kind != "max_pool"),
    }  # fmt: skip
    parts = e.by_rows(y)
    e.step(run.POOL, task, y.blocks * parts[step.CHUNKS], numbers | parts, x=x, y=y)


def emit_upsample(e: Emitter, task: Task) -> None:
    """Add an enlargement."""
    x, y = e.maps[task.inputs[0]], e.maps[task.output]
    parts = e.by_rows(y)
    numbers = {maps.IN_HEIGHT: x.height, maps.IN_COLUMNS: x.width}
    e.step(run.UPSAMPLE, task, y.blocks * parts[step.CHUNKS], numbers | parts, x=x, y=y)


def emit_concat(e: Emitter, task: Task) -> None:
    """Copy those inputs that are not parts of the whole already."""
    y, start = e.maps[task.output], 0
    for name in task.inputs:
        x = e.maps[name]
        if x.parent is not y or x.parent_block * LANES != start:
            copy(e, task, x, 0, y, start, x.channels)
        start += x.channels


def emit_slice(e: Emitter, task: Task) -> None:
    """Copy the channels of a slice that is no view."""
    x, y = e.maps[task.inputs[0]], e.maps[task.output]
    if y.parent is None:
        copy(e, task, x, task.main.attributes["start"], y, 0, y.channels)


def copy(e: Emitter, task: Task, x: Map, first: int, y: Map, to: int, channels: int) -> None:
    """Add a copy of some channels."""
    numbers = {maps.FIRST_CHANNEL: first, maps.TO_CHANNEL: to}
    e.step(run.COPY_CHANNELS, task, channels, numbers, x=x, y=y)
