"""1x1 convolution on tile registers, see `amx.py`.

Equals :func:`pure_detect.ops.conv2d.conv2d_reference`. What differs: an item takes its input apart into bfloat16 first,
with the gates of a squeeze-and-excite multiplied in. A stage of the sum takes two blocks of input channels; if they are
odd in number, the last stage takes one. Weights lie in that order: (block of output channels, stage, WEIGHT_TILES,
TILE).

Pixels are taken as one row. Where the output has a border, rows of what is taken apart have as many more pixels,
whatever stands there: their sums fall on the border, which is zeroed afterwards.
"""

from __future__ import annotations

import numpy as np

from pure_detect.engine import amx
from pure_detect.engine.calls import kernel
from pure_detect.engine.conv2d_direct import (
    BIAS,
    PANEL_CHUNK,
    PANEL_PARTS,
    PIXELS,
    PLANAR_OUT,
    UNIT,
    WEIGHTS,
    to_planes,
)
from pure_detect.engine.simd import LANES, ONE, broadcast, inline, load, prefetch, shared, store
from pure_detect.engine.step import (
    ACTIVATION,
    BLOCKS,
    CHUNKS,
    COLUMNS,
    HEIGHT,
    LIMITS,
    OWN,
    R_PLANE,
    R_ROW,
    X_PLANE,
    X_ROW,
    Y_PLANE,
    R,
    X,
    Y,
    border,
    clamped,
    finish,
    share_of,
)

PAIR, PITCH, IN_BLOCKS, GATES = range(OWN + 21, OWN + 25)
# PAIR: the distance of pairs of blocks that are taken apart. PITCH: pixels from one row to the next. GATES: where they
# lie, or -1. PANEL_CHUNK counts blocks here.
TOGETHER = 2  # blocks of output channels
INFINITY = np.float32(np.inf)


@shared
def take_apart(s, x, source, rows, columns, out):  # type: ignore[no-untyped-def]
    """Take apart so many rows and columns of all blocks of the input, from `source` on, and ask for the next ones."""
    one, plane, size = broadcast(ONE), s[X_PLANE], columns * LANES
    for block in range(0, s[IN_BLOCKS] - 1, 2):
        first_gate, second_gate = one, one
        if s[GATES] >= 0:
            first_gate, second_gate = load(x, s[GATES] + block * LANES), load(x, s[GATES] + (block + 1) * LANES)
        for row in range(rows):
            start, target = source + block * plane + row * s[X_ROW], out + block // 2 * s[PAIR]
            for i in range(0, size, LANES):
                prefetch(x, start + 2 * plane + i)
                prefetch(x, start + 3 * plane + i)
                first, second = load(x, start + i) * first_gate, load(x, start + plane + i) * second_gate
                amx.store_pair(first, second, x, target + (row * s[PITCH] * LANES + i) * amx.PARTS)
    if s[IN_BLOCKS] % 2 == 1:
        block = s[IN_BLOCKS] - 1
        gate = load(x, s[GATES] + block * LANES) if s[GATES] >= 0 else one
        for row in range(rows):
            start, target = source + block * plane + row * s[X_ROW], out + block // 2 * s[PAIR]
            for i in range(0, size, LANES):
                amx.store_single(load(x, start + i) * gate, x, target + (row * s[PITCH] * LANES + i) * amx.PARTS)


@inline
def multiply(m, s, block, vectors, width, source, target, plane):  # type: ignore[no-untyped-def]
    """Compute a row of `width` pixels of one or two blocks of output channels, up to their clamp."""
    pairs, singles = s[IN_BLOCKS] // 2, s[IN_BLOCKS] % 2
    size = (pairs + singles) * amx.WEIGHT_TILES * amx.TILE
    last, start = width - min(width, amx.ROWS), 0  # where the last tile begins, which overlaps the one before
    while start < width:
        tiles = min((width - start + amx.ROWS - 1) // amx.ROWS, amx.MOST_TILES - vectors)
        starts = min(start, last), min(start + amx.ROWS, last), min(start + 2 * amx.ROWS, last)
        amx.product(
            tiles, vectors, m.x, source, s[PAIR], pairs, singles, starts,
            m.w, s[WEIGHTS] + block * size, size, s[BIAS] + block * LANES, target, plane,
        )  # fmt: skip
        start += tiles * amx.ROWS
    slope, highest = m.w[s[LIMITS]], m.w[s[LIMITS] + 1]
    if slope != ONE or highest != INFINITY:
        for v in range(vectors):
            for i in range(target + v * plane, target + v * plane + width * LANES, LANES):
                store(m.x, i, clamped(load(m.x, i), broadcast(slope), broadcast(highest)))


@kernel
def conv2d_amx(s, item, m):  # type: ignore[no-untyped-def]
    """Compute one item: some blocks of output channels at some rows (or, without borders, at some pixels)."""
    x, share, part = m.x, item // s[PANEL_PARTS], item % s[PANEL_PARTS]
    if s[PIXELS] > 0:
        first, last = share_of(share, (s[PIXELS] + s[UNIT] - 1) // s[UNIT], s[CHUNKS])
        first_row, rows, first_pixel = 0, 1, first * s[UNIT]
        columns = min(last * s[UNIT], s[PIXELS]) - first_pixel
    else:
        first_row, last_row = share_of(share, s[HEIGHT], s[CHUNKS])
        rows, first_pixel, columns = last_row - first_row, 0, s[COLUMNS]
    width, pixel = (rows - 1) * s[PITCH] + columns, first_row * s[PITCH] + first_pixel
    source, scratch = m.scratch, m.scratch + (s[IN_BLOCKS] + 1) // 2 * s[PAIR]
    take_apart(s, x, s[X] + first_row * s[X_ROW] + first_pixel * LANES, rows, columns, source)
    amx.set_tiles(min(width, amx.ROWS))
    first_block = part * s[PANEL_CHUNK]
    last_block = min(first_block + s[PANEL_CHUNK], s[BLOCKS])
    for block in range(first_block, last_block, TOGETHER):
        vectors = min(TOGETHER, last_block - block)
        if s[PLANAR_OUT] >= 0:
            target, plane = scratch, width * LANES
        else:
            target, plane = s[Y] + block * s[Y_PLANE] + pixel * LANES, s[Y_PLANE]
        multiply(m, s, block, vectors, width, source, target, plane)
        for v in range(vectors):
            for row in range(rows):
                at = target + v * plane + row * s[PITCH] * LANES
                r = s[R] + (block + v) * s[R_PLANE] + (first_row + row) * s[R_ROW] + first_pixel * LANES
                finish(m, at, columns * LANES, s[ACTIVATION], r if s[R] >= 0 else -1)
            if s[PLANAR_OUT] >= 0:
                to_planes(s, x, target + v * plane, (block + v) * LANES, pixel, width, m.out)
            elif s[PIXELS] == 0:
                border(x, s, block + v, first_row, first_row + rows)
    amx.set_tiles(0)
