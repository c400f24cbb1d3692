"""When a convolution is done on tile registers, how it is split, and its weights for that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine import amx, packing, run, step
from pure_detect.engine import conv2d_amx as kernel
from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine.emit_convolutions import is_dense, is_past_cache, planar_numbers
from pure_detect.engine.emitter import Emitter
from pure_detect.engine.fuse import Task, is_pointwise
from pure_detect.engine.layout import Map, odd_lines
from pure_detect.engine.placement import MIN_ITEMS, even_parts
from pure_detect.engine.simd import LANES
from pure_detect.graph import Node

Array = NDArray[Any]

# Below these, vectors are not slower: what is taken apart serves too few sums. Measured on the shapes of all networks.
FEWEST_PIXELS, FEWEST_INPUTS, FEWEST_OUTPUTS = 64, 112, 64
MANY_WEIGHTS = 384 * 1024  # float32 that do not stay in the second-level cache from one item to the next
FEW_INPUTS, MANY_INPUTS = 64 * 1024, 128 * 1024  # float32 that an item takes apart: for few weights, for many
WORK = 600_000  # multiply-adds below which an item is not split further: some microseconds
UNIT = 2 * amx.ROWS  # pixels that are multiplied together
ITEMS = 4  # of a step, at least


def suits(node: Node) -> bool:
    """Tell whether a convolution can be done on tile registers, and faster than on vectors."""
    O, I = node.parameters["weight"].shape[:2]
    many = math.prod(node.shape[1:]) >= FEWEST_PIXELS and I >= FEWEST_INPUTS and O >= FEWEST_OUTPUTS
    return many and is_pointwise(node)


def emit_amx(e: Emitter, task: Task) -> None:
    """Add a 1x1 convolution on tile registers."""
    x, y = e.maps[task.inputs[0]], e.maps[task.output]
    planar = planar_numbers(e, task)
    pixels, dense = y.height * y.width, is_dense(e, task, planar)
    pitch = y.width if planar[direct.PLANAR_OUT] >= 0 else y.row // LANES
    together = pixels_together(task, x, y)
    if dense:
        share = min(pixels, together // UNIT * UNIT)
        parts = -(-pixels // share)
    else:
        parts = even_parts(y.height, -(-y.height // -(-together // pitch)))
        share = -(-y.height // parts) * pitch
    blocks = y.blocks if parts >= ITEMS else -(-y.blocks // (ITEMS // parts * kernel.TOGETHER)) * kernel.TOGETHER
    pair, gates = odd_lines(share * amx.PIXEL), [e.maps[f"{task.squeeze.name}:gates"]] if task.squeeze else []
    e.scratch = max(e.scratch, -(-x.blocks // 2) * pair + kernel.TOGETHER * share * LANES)
    numbers = {
        kernel.PAIR: pair, kernel.PITCH: pitch, kernel.IN_BLOCKS: x.blocks,
        kernel.GATES: gates[0].place.offset if gates else -1,
        direct.WEIGHTS: apart_weights(e, task), direct.BIAS: e.bias(task), direct.CHANNELS: y.channels,
        direct.PIXELS: pixels if dense else 0, direct.UNIT: UNIT, step.CHUNKS: parts,
        direct.PANEL_CHUNK: blocks, direct.PANEL_PARTS: -(-y.blocks // blocks),
        direct.PAST_CACHE: int(is_past_cache(task.main, planar, dense)),
    } | planar | e.residual_numbers(task)  # fmt: skip
    e.step(run.AMX, task, parts * numbers[direct.PANEL_PARTS], numbers, x=x, y=y, reads=gates)


def pixels_together(task: Task, x: Map, y: Map) -> int:
    """Return how many pixels an item takes: what fits, of few weights not more than gives all threads something."""
    O, pixels, pairs = task.main.shape[0], y.height * y.width, -(-x.blocks // 2)
    if weights_size(O, x.channels) > MANY_WEIGHTS:
        most = MANY_INPUTS // (pairs * amx.PIXEL)
    else:
        most = min(FEW_INPUTS // (pairs * amx.PIXEL), -(-pixels // MIN_ITEMS))
    return max(UNIT, WORK // (O * x.channels), most)


def weights_size(O: int, I: int) -> int:
    """Return how many float32 the weights of a 1x1 convolution are for tile registers."""
    return -(-O // LANES) * -(-I // (2 * LANES)) * amx.WEIGHT_TILES * amx.TILE


def apart_weights(e: Emitter, task: Task) -> int:
    """Pack the weights of a convolution for tile registers; return where they begin."""
    O, I = task.main.parameters["weight"].shape[:2]

    def write(out: Array) -> None:
        pack_apart(packing.folded_weight(task.main, task.norm, e.parameters)[:, :, 0, 0], out)

    return e.packed.add(weights_size(O, I), write)


def pack_apart(weight: Array, out: Array) -> None:
    """Write weights (O, I) into `out` as (block of outputs, stage, WEIGHT_TILES, LANES inputs, LANES outputs)."""
    O, I = weight.shape
    outputs, inputs = -(-O // LANES), -(-I // LANES)
    padded = np.zeros((outputs * LANES, inputs * LANES), np.float32)
    padded[:O, :I] = weight
    blocks = padded.reshape(outputs, LANES, inputs, LANES).transpose(2, 0, 3, 1)
    parts = amx.apart(np.ascontiguousarray(blocks))  # (part, block of inputs, block of outputs, input, output)
    stages, pairs = out.reshape(outputs, -1, amx.WEIGHT_TILES, LANES, LANES), inputs // 2
    stages[:, :pairs] = amx.words(parts[:, : 2 * pairs : 2], parts[:, 1 : 2 * pairs : 2]).transpose(2, 1, 0, 3, 4)
    if inputs % 2:
        first, second, third = parts[:, -1]
        for tile, words in enumerate(((first, first), (second, second), (third, first))):
            stages[:, pairs, tile] = amx.words(*words)
