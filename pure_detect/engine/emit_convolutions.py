"""The rows of numbers of convolutions: how each is split into items, and its packed weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import conv2d_winograd as winograd
from pure_detect.engine import depthwise_conv2d as depthwise
from pure_detect.engine import expand_depthwise as fused
from pure_detect.engine import packing, picture, run, step, winograd_plan
from pure_detect.engine.calls import (
    COLUMNS_TILE_ROW,
    SINGLE_TILE_ROW,
    STRIDED_COLUMNS_TILE_ROW,
    STRIDED_TILE_ROW,
    TILE_ROW,
)
from pure_detect.engine.emitter import L2_SHARE, Emitter
from pure_detect.engine.fuse import Task, is_pointwise
from pure_detect.engine.layout import LINE, Map, odd_lines
from pure_detect.engine.placement import MIN_ITEMS, depthwise_parts, even_parts, window_border
from pure_detect.engine.simd import LANES
from pure_detect.graph import Node
from pure_detect.ops.geometry import window_span

Array = NDArray[Any]

# By how many inputs are taken at once, and how far one pixel's are from the next one's.
ROW_PARTS = {
    (direct.CHANNELS_AT_ONCE, LANES): TILE_ROW, (direct.CHANNELS_AT_ONCE, 2 * LANES): STRIDED_TILE_ROW,
    (direct.COLUMNS_AT_ONCE, 1): COLUMNS_TILE_ROW, (direct.COLUMNS_AT_ONCE, 2): STRIDED_COLUMNS_TILE_ROW,
}  # fmt: skip
LARGE_OUTPUT = 1 << 18  # float32 of an output that would push everything else out of the second-level cache
WORK = 200_000  # multiply-adds below which an item is not split further: some microseconds


def emit_direct(e: Emitter, task: Task) -> None:
    """Add a convolution by the sum over a table of offsets."""
    node, x, y = task.main, e.maps[task.inputs[0]], e.maps[task.output]
    O, I = node.parameters["weight"].shape[:2]
    groups = node.attributes["groups"]
    if not _groups_are_blocks(node):
        I, groups = I * groups, 1
    blocks = -(-O // LANES)
    panels = packing.panels_of(blocks // groups)
    numbers = input_numbers(e, node, x, groups, I, scratch=y.width * LANES * direct.WIDEST) | {
        direct.BIAS: e.bias(task), direct.GROUP_BLOCKS: blocks // groups,
        direct.FIRST_VECTORS: panels.first_vectors, direct.FIRST_PANELS: panels.first_panels,
        direct.REST_VECTORS: panels.rest_vectors, direct.GROUP_PANELS: panels.panels,
        direct.CHANNELS: O,
    }  # fmt: skip
    unroll, length = numbers[direct.UNROLL], numbers[direct.UNROLL] * numbers[direct.COUNT]
    numbers[direct.PANELS] = numbers[direct.GROUP_PANELS] * groups
    scaled = [e.maps[f"{task.squeeze.name}:weights"]] if task.squeeze else []
    if scaled:
        at = scaled[0].place.offset
        numbers |= {direct.WEIGHTS: at, direct.SCALED: 1, direct.BIAS: at + length * blocks * LANES}
    else:
        numbers[direct.WEIGHTS] = panel_weights(e, task, unroll, by_columns=unroll == direct.COLUMNS_AT_ONCE)
    numbers |= planar_numbers(e, task)
    numbers |= e.residual_numbers(task)
    numbers |= direct_chunks(e, task, x, y, numbers, length)
    numbers[direct.PANEL_PARTS] = -(-numbers[direct.PANELS] // numbers[direct.PANEL_CHUNK])
    items = numbers[step.CHUNKS] * numbers[direct.PANEL_PARTS]
    e.step(run.DIRECT, task, items, numbers, x=x, y=y, reads=scaled)


def input_numbers(e: Emitter, conv: Node, x: Map, groups: int, inputs: int, scratch: int) -> dict[int, int]:
    """Return how a convolution finds its input; `scratch` is how much of that the kernel needs for other things."""
    by, unroll, part = tiles_of(conv, x)
    numbers = {
        direct.STEP: by, direct.UNROLL: unroll, direct.ROW_PART: part,
        step.X_ROW: conv.attributes["stride"][0] * x.row,
    }  # fmt: skip
    if x is e.picture:
        x = window_of(conv, x)
        e.scratch = max(e.scratch, scratch + x.size)
        numbers |= picture_numbers(e.picture, conv, x) | {picture.WINDOW: scratch}
    table, count = e.offsets(conv, x, groups, inputs, unroll)
    return numbers | {direct.TABLE: table, direct.COUNT: count}


def window_of(conv: Node, image: Map) -> Map:
    """Return the part of the picture that one row of a convolution sees, as it lies in the scratch: whole lines."""
    _, left, _, right = window_border(conv, (image.channels, image.height, image.width))
    seen = window_span(conv.parameters["weight"].shape[2], conv.attributes["dilation"][0])
    before = -(-left // LINE) * LINE
    after = -(-(image.width + right) // LINE) * LINE - image.width
    return Map(image.name, image.channels, seen, image.width, lanes=1, border=(0, before, 0, after))


def picture_numbers(image: Map, conv: Node, window: Map) -> dict[int, int]:
    """Return the numbers of `picture.py` that do not say where in the scratch."""
    _, before, _, after = window.border
    return {
        picture.PLANES: image.channels, picture.HEIGHT: image.height, picture.WIDTH: image.width,
        picture.SEEN: window.height, picture.ABOVE: conv.attributes["padding"][0], picture.BEFORE: before,
        picture.AFTER: after, picture.STRIDE: conv.attributes["stride"][0],
        picture.WINDOW_PLANE: window.plane, picture.WINDOW_ROW: window.row,
    }  # fmt: skip


def planar_numbers(e: Emitter, task: Task) -> dict[int, int]:
    """Return where in the array of outputs a convolution writes, plane after plane from a line on, if it makes one."""
    if task.output not in e.graph.outputs or e.users.get(task.output):
        return {direct.PLANAR_OUT: -1}
    e.planar[task.output] = at = -(-e.output_size // LINE) * LINE
    e.output_size = at + math.prod(task.main.shape)
    return {direct.PLANAR_OUT: at}


def is_dense(e: Emitter, task: Task, numbers: Mapping[int, int]) -> bool:
    """Tell whether all pixels of a 1x1 convolution can be taken as one row: no map has a border."""
    x, y = e.maps[task.inputs[0]], e.maps[task.output]
    maps = [x, *([] if numbers[direct.PLANAR_OUT] >= 0 else [y]), *([e.maps[task.residual]] if task.residual else [])]
    return is_pointwise(task.main) and x.lanes > 1 and all(m.is_dense for m in maps)


def is_past_cache(node: Node, numbers: Mapping[int, int], dense: bool) -> bool:
    """Tell whether an output is written past the caches: a line at a time, which with AVX-512 is a vector."""
    at, pixels = numbers[direct.PLANAR_OUT], math.prod(node.shape[1:])
    whole_lines = dense and LANES == LINE and pixels % LINE == 0
    return at >= 0 and whole_lines and math.prod(node.shape) >= LARGE_OUTPUT


def tiles_of(conv: Node, x: Map) -> tuple[int, int, int]:
    """Return how far pixels are apart, how many inputs side by side are taken at once, and the part that does so."""
    by = conv.attributes["stride"][1] * x.lanes
    has_columns = conv.parameters["weight"].shape[3] == direct.COLUMNS_AT_ONCE and conv.attributes["dilation"][1] == 1
    unroll = direct.CHANNELS_AT_ONCE if x.lanes > 1 else direct.COLUMNS_AT_ONCE if has_columns else 1
    part = ROW_PARTS.get((unroll, by))
    return (by, 1, SINGLE_TILE_ROW) if part is None else (by, unroll, part)


def direct_chunks(e: Emitter, task: Task, x: Map, y: Map, numbers: Mapping[int, int], length: int) -> dict[int, int]:
    """Return how a convolution is split: by pixels where the map is the larger, by channels where the weights are."""
    node, is_planar, dense = task.main, numbers[direct.PLANAR_OUT] >= 0, is_dense(e, task, numbers)
    pixels, panels = y.height * y.width, numbers[direct.PANELS]
    weights, inputs = length * y.blocks * LANES, x.height * x.width * x.channels
    per_pixel = max(1, inputs // pixels)
    parts, panel_chunk = 1, panels
    unit = LANES if dense and is_planar and pixels % LANES == 0 else 1
    if weights > 2 * inputs and weights > 2 * L2_SHARE:
        panel_chunk = max(1, min(panels // MIN_ITEMS, L2_SHARE // (length * 2 * LANES)))
    else:
        most = max(12, min(256, L2_SHARE // per_pixel, -(-pixels // MIN_ITEMS)))
        most = max(most, min(-(-WORK // (length * y.channels)), pixels // 4))
        if dense:
            parts = min(parts_for_tiles(pixels, most), pixels // unit)
        else:
            parts = even_parts(y.height, -(-y.height // max(1, most // y.width)))
        if parts < 4:
            enough = max(1, min(panels, length * y.channels * pixels // parts // (WORK // 2)))
            panel_chunk = -(-panels // min(enough, 8))
    if is_planar:
        widest = -(-pixels // parts // unit) * unit if dense else y.width
        e.scratch = max(e.scratch, widest * LANES * direct.WIDEST)
    return {
        direct.PIXELS: pixels if dense else 0, direct.UNIT: unit, step.CHUNKS: parts, direct.PANEL_CHUNK: panel_chunk,
        direct.PAST_CACHE: int(is_past_cache(node, numbers, dense)),
    }  # fmt: skip


def parts_for_tiles(pixels: int, most: int) -> int:
    """Return into how many parts of at most so many pixels a step is split.

    Of the next even numbers (see `even_parts`) it is the one that makes the largest tiles.
    """
    least = -(-pixels // most)
    if least == 1:
        return 1

    def rows(parts: int) -> float:
        share = -(-pixels // parts)
        return share / -(-share // direct.BEST[1])

    return max(range(least + least % 2, max(least * 5 // 4, least + 2) + 1, 2), key=rows)


def panel_weights(e: Emitter, task: Task, unroll: int, by_columns: bool = False) -> int:
    """Pack the weights of a convolution in panels; return where they begin."""
    node = task.main
    O, I, KH, KW = node.parameters["weight"].shape
    groups = node.attributes["groups"]
    apart = _groups_are_blocks(node)
    inputs = I if apart else I * groups
    if not by_columns:
        inputs = -(-inputs // unroll) * unroll

    def write(out: Array) -> None:
        weight = packing.folded_weight(node, task.norm, e.parameters)
        if not apart:
            weight = packing.ungrouped(weight, groups)
        parts = groups if apart else 1
        for part, target in zip(np.split(weight, parts), np.split(out, parts)):
            packing.pack_panels(packing.by_columns(part) if by_columns else part, unroll, target)

    return e.packed.add(KH * KW * inputs * -(-O // LANES) * LANES, write)


def emit_depthwise(e: Emitter, task: Task) -> None:
    """Add a depthwise convolution."""
    x, y = e.maps[task.inputs[0]], e.maps[task.output]
    top, left, _, _ = task.main.attributes["padding"]
    numbers = depthwise_numbers(e, task) | {step.X: x.place.offset - top * x.row - left * LANES}
    e.step(run.DEPTHWISE, task, numbers[step.CHUNKS] * y.blocks, numbers, x=x, y=y, writes=channel_sums(e, task))


def channel_sums(e: Emitter, task: Task) -> list[Map]:
    """Return where a depthwise convolution puts its channels' sums, if a squeeze-and-excite wants them."""
    squeezes = [t.squeeze for t in e.users.get(task.output, []) if t.kind == "gates"]
    return [e.maps[f"{squeeze.name}:sums"] for squeeze in squeezes[:1] if squeeze]


def depthwise_numbers(e: Emitter, task: Task) -> dict[int, int]:
    """Return a depthwise convolution's numbers, but for where it reads."""
    node = task.main
    _, _, KH, KW = node.parameters["weight"].shape
    (sy, sx), (dy, dx) = node.attributes["stride"], node.attributes["dilation"]
    sums = channel_sums(e, task)
    unrolled = KH == KW and sy == sx and (KH, sy) in depthwise.KERNELS and (dy, dx) == (1, 1)
    weights = e.packed.add(
        -(-node.shape[0] // LANES) * KH * KW * LANES,
        lambda out: packing.pack_depthwise(packing.folded_weight(node, task.norm, e.parameters), out),
    )
    return {
        depthwise.SIZE: KH, depthwise.SIZE_X: KW, depthwise.STRIDE: sy, depthwise.STRIDE_X: sx,
        depthwise.DILATION_Y: dy, depthwise.DILATION_X: dx, depthwise.WEIGHTS: weights,
        depthwise.BIAS: e.bias(task), depthwise.SUMS: sums[0].place.offset if sums else -1,
        depthwise.UNROLLED: int(unrolled),
        step.CHUNKS: depthwise_parts(task), **e.residual_numbers(task),
    }  # fmt: skip


def emit_expand_depthwise(e: Emitter, task: Task) -> None:
    """Add a convolution and the depthwise one behind it as one step."""
    expand, node, x, y = task.expand, task.main, e.maps[task.inputs[0]], e.maps[task.output]
    assert expand
    top, left, _, right = window_border(node, expand.main.shape)
    _, height, width = expand.main.shape
    row = (left + width + right) * LANES
    stride, size = node.attributes["stride"][0], node.parameters["weight"].shape[2]
    span = window_span(size, node.attributes["dilation"][0])
    panels = packing.panels_of(y.blocks)
    numbers = depthwise_numbers(e, task)
    fitting = (L2_SHARE // (row * direct.WIDEST) - span) // stride + 1
    strip = min(max(fitting, 4), -(-y.height // numbers[step.CHUNKS]))
    rows = (strip - 1) * stride + span
    plane = odd_lines(rows * row)
    e.scratch = max(e.scratch, plane * direct.WIDEST)
    numbers |= input_numbers(e, expand.main, x, 1, x.channels, scratch=plane * direct.WIDEST)
    unroll = numbers[direct.UNROLL]
    numbers |= {
        direct.BIAS: e.bias(expand),
        direct.WEIGHTS: panel_weights(e, expand, unroll, by_columns=unroll == direct.COLUMNS_AT_ONCE),
        direct.FIRST_VECTORS: panels.first_vectors, direct.FIRST_PANELS: panels.first_panels,
        direct.REST_VECTORS: panels.rest_vectors,
        fused.STRIP: strip, fused.ROW: row, fused.PLANE: plane, fused.EXPANDED_HEIGHT: height,
        fused.EXPANDED_COLUMNS: width, fused.ABOVE: top, fused.BEFORE: left, fused.AFTER: right,
        fused.PANELS: panels.panels,
    }  # fmt: skip
    limits = e.activation_numbers(expand.activation)
    numbers |= {fused.EXPAND_ACTIVATION: limits[step.ACTIVATION], fused.EXPAND_LIMITS: limits[step.LIMITS]}
    items = numbers[step.CHUNKS] * panels.panels
    e.step(run.EXPAND_DEPTHWISE, task, items, numbers, x=x, y=y, writes=channel_sums(e, task))


def emit_winograd(e: Emitter, task: Task) -> None:
    """Add a 3x3 convolution by Winograd's method: one step by strips, or two by panels."""
    node, x, y = task.main, e.maps[task.inputs[0]], e.maps[task.output]
    b = winograd_plan.blocking(node)
    code = {2: run.WINOGRAD_2, 4: run.WINOGRAD_4, 8: run.WINOGRAD_STRIDE_2}[b.advance]
    top, left, _, _ = node.attributes["padding"]
    weights = e.packed.add(
        b.panels * b.panel_weights,
        lambda out: winograd_plan.pack_weights(packing.folded_weight(node, task.norm, e.parameters), b, out),
    )
    numbers = {
        step.X: x.place.offset - top * x.row - left * LANES, winograd.SIZE: b.size, winograd.STRIDE: b.stride,
        winograd.ADVANCE: b.advance, winograd.SIDE: b.side, winograd.SUMS_SIDE: b.sums_side,
        winograd.TILES_X: b.tiles_x, winograd.TILES: b.tiles, winograd.POINTS_PLANE: b.points_plane,
        winograd.WEIGHTS: weights, winograd.BIAS: e.bias(task), winograd.INPUTS: b.inputs, winograd.PANELS: b.panels,
        winograd.VECTORS: b.vectors, winograd.DEPTH: b.depth,
        step.CHUNKS: b.strips or b.tiles_y, **e.residual_numbers(task),
    }  # fmt: skip
    e.scratch = max(e.scratch, b.scratch)
    if b.strips:
        e.step(code, task, b.strips, numbers, x=x, y=y)
        return
    points = e.maps[f"{task.output}:points"]
    numbers |= {winograd.POINTS_AT: points.place.offset, winograd.IS_RAW: 1}
    transform = numbers | {winograd.PHASE: winograd.TRANSFORM}
    e.step(code, task, b.tiles_y * b.inputs, transform, x=x, y=y, writes=[points])
    e.steps[-1].multiply_adds = 0
    products = numbers | {winograd.PHASE: winograd.PRODUCTS}
    e.step(code, task, b.panels, products, x=x, y=y, reads=[points])


def _groups_are_blocks(conv: Node) -> bool:
    """Tell whether a convolution's groups begin with blocks; the others run as if they had none, zeros in between."""
    O, I = conv.parameters["weight"].shape[:2]
    groups = conv.attributes["groups"]
    return bool(groups == 1 or (I % LANES == 0 and O // groups % LANES == 0))
