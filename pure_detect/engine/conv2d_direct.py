"""Convolution as a sum over a table of offsets, on the register tile: 1x1, any kernel, stride, dilation and groups.

Equals :func:`pure_detect.ops.conv2d.conv2d_reference`. What differs: channels lie in blocks, so that one load of the
weights serves a vector of output channels, and a tile of pixels shares it; the sum runs in float32 registers over
kernel rows, kernel columns and input channels, whose offsets a table holds. Weights are packed in the order of that
sum: (panel, kernel row, kernel column, input channel, vectors x LANES output channels), a panel being 1 to 3 vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from numba import types

from pure_detect.engine.calls import caller, kernel, part
from pure_detect.engine.picture import input_of_row
from pure_detect.engine.simd import FLOATS, INTEGERS, ISA, LANES, inline, shared
from pure_detect.engine.step import (
    ACTIVATION,
    CHUNKS,
    COLUMNS,
    HEIGHT,
    LIMITS,
    OWN,
    R_PLANE,
    R_ROW,
    Y_PLANE,
    Y_ROW,
    R,
    Y,
    border,
    finish,
    left_by_tiles,
    share_of,
)
from pure_detect.engine.tiles import register_tiles, store_transposed, store_transposed_past_cache

(STEP, TABLE, COUNT, UNROLL, WEIGHTS, SCALED, BIAS, GROUP_BLOCKS, GROUP_PANELS, FIRST_VECTORS, FIRST_PANELS,
 REST_VECTORS, PANELS, PANEL_CHUNK, PIXELS, PLANAR_OUT, CHANNELS, PANEL_PARTS,
 ROW_PART, UNIT, PAST_CACHE) = range(OWN, OWN + 21)  # fmt: skip
# STEP: from one output pixel's input to the next one's. UNROLL: how many neighbouring inputs an entry of the table
# stands for, CHANNELS_AT_ONCE or COLUMNS_AT_ONCE or 1; ROW_PART: the part that does a row of tiles so. SCALED: whether
# the weights lie in the arena, as squeeze_excite.py has scaled them. PIXELS: where maps lie without a border, all
# pixels are one row of so many, else 0, and UNIT: pixels that no two items share. PLANAR_OUT: where in `out` the
# network wants the result, plane after plane, else -1. PAST_CACHE: whether it is written past the caches.

CHANNELS_AT_ONCE = min(LANES, 8)  # 40 channels are 5 times 8, but 2.5 times 16
COLUMNS_AT_ONCE = 3  # of the picture's planes, where a kernel is so wide
FEW_REGISTERS = ISA.registers == 16
WIDEST = 3  # vectors of the widest panel
LARGEST = (0, 8, 6, 4) if FEW_REGISTERS else (0, 14, 14, 9)  # rows of the largest tile, by the panel's vectors
BEST = (3, 4) if FEW_REGISTERS else (2, 14)  # vectors and rows of the tile that is used most
# Where pixels share inputs, or their distance is not known beforehand, LLVM keeps more in registers.
LARGEST_OF_OTHERS = LARGEST if FEW_REGISTERS else (0, 14, 10, 7)


def _shapes(largest: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((rows, vectors) for vectors in (1, 2, 3) for rows in range(1, largest[vectors] + 1))


tile = register_tiles(_shapes(LARGEST), CHANNELS_AT_ONCE, LANES)
strided_tile = register_tiles(_shapes(LARGEST), CHANNELS_AT_ONCE, 2 * LANES)
columns_tile = register_tiles(_shapes(LARGEST_OF_OTHERS), COLUMNS_AT_ONCE, 1)
strided_columns_tile = register_tiles(_shapes(LARGEST_OF_OTHERS), COLUMNS_AT_ONCE, 2)
single_tile = register_tiles(_shapes(LARGEST_OF_OTHERS), 1)


@shared
def rows_of_next(left, most):  # type: ignore[no-untyped-def]
    """Return how many of `left` pixels the next tile takes, of at most so many, so that all are of nearly one size."""
    count = (left + most - 1) // most
    return (left + count - 1) // count


@shared
def panel_block(first_vectors, first_panels, rest_vectors, panel):  # type: ignore[no-untyped-def]
    """Return at which block of output channels a panel begins."""
    return first_vectors * min(panel, first_panels) + rest_vectors * max(panel - first_panels, 0)


@kernel
def conv2d_direct(s, item, m):  # type: ignore[no-untyped-def]
    """Compute one item: some panels of output channels at some rows (or, without borders, at some pixels)."""
    x, share, panel_part = m.x, item // s[PANEL_PARTS], item % s[PANEL_PARTS]
    weights = x if s[SCALED] else m.w
    slope, highest = m.w[s[LIMITS]], m.w[s[LIMITS] + 1]
    if s[PIXELS] > 0:
        first, last = share_of(share, s[PIXELS] // s[UNIT], s[CHUNKS])
        first_row, last_row, first_pixel, width = 0, 1, first * s[UNIT], (last - first) * s[UNIT]
    else:
        first_row, last_row = share_of(share, s[HEIGHT], s[CHUNKS])
        first_pixel, width = 0, s[COLUMNS]
    for panel in range(panel_part * s[PANEL_CHUNK], min((panel_part + 1) * s[PANEL_CHUNK], s[PANELS])):
        group, local = panel // s[GROUP_PANELS], panel % s[GROUP_PANELS]
        vectors = s[FIRST_VECTORS] if local < s[FIRST_PANELS] else s[REST_VECTORS]
        block = group * s[GROUP_BLOCKS] + panel_block(s[FIRST_VECTORS], s[FIRST_PANELS], s[REST_VECTORS], local)
        for row in range(first_row, last_row):
            source = input_of_row(s, row, m) + first_pixel * s[STEP]
            if s[PLANAR_OUT] >= 0:
                target, plane = m.scratch, width * LANES
            else:
                target, plane = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW] + first_pixel * LANES, s[Y_PLANE]
            table = s[TABLE] + group * s[COUNT]
            tiles_of_row(
                m, s, vectors, block, width, source, table, weights, target, plane, s[ACTIVATION], slope, highest
            )
            for v in range(vectors):
                r = s[R] + (block + v) * s[R_PLANE] + row * s[R_ROW] + first_pixel * LANES if s[R] >= 0 else -1
                finish(m, target + v * plane, width * LANES, left_by_tiles(s[ACTIVATION]), r)
                if s[PLANAR_OUT] >= 0:
                    pixel = row * s[COLUMNS] + first_pixel
                    to_planes(s, x, target + v * plane, (block + v) * LANES, pixel, width, m.out)
        if s[PLANAR_OUT] < 0 and s[PIXELS] == 0:
            for v in range(vectors):
                border(x, s, block + v, first_row, last_row)


ROW_KINDS = (
    INTEGERS, types.intp, types.intp, types.intp, FLOATS, types.intp, INTEGERS, types.intp, FLOATS, types.intp,
    types.intp, types.intp, types.float32, types.float32,
)  # fmt: skip


@inline
def cover(  # type: ignore[no-untyped-def]
    any_tile, largest, s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope,
    highest,
):  # fmt: skip
    """Cover `width` pixels of one panel with tiles of a kind."""
    bias, start, at = s[BIAS] + block * LANES, s[WEIGHTS] + block * LANES * s[COUNT] * s[UNROLL], 0
    while at < width:
        rows = rows_of_next(width - at, largest[vectors])
        any_tile(
            vectors, rows, x, source + at * s[STEP], s[STEP], tables, table, s[COUNT], weights, start, bias,
            x, target + at * LANES, plane, activation, slope, highest,
        )  # fmt: skip
        at += rows


@part(*ROW_KINDS)
def tile_row(  # type: ignore[no-untyped-def]
    s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope, highest
):
    """Compute a row of neighbouring pixels, some channels at once."""
    cover(
        tile, LARGEST, s, vectors, block, width, x, source, tables, table, weights, target,
        plane, activation, slope, highest,
    )  # fmt: skip


@part(*ROW_KINDS)
def strided_tile_row(  # type: ignore[no-untyped-def]
    s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope, highest
):
    """Do the same for every other pixel."""
    cover(
        strided_tile, LARGEST, s, vectors, block, width, x, source, tables, table, weights, target,
        plane, activation, slope, highest,
    )  # fmt: skip


@part(*ROW_KINDS)
def columns_tile_row(  # type: ignore[no-untyped-def]
    s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope, highest
):
    """Do the same where the input lies in planes, some kernel columns at once."""
    cover(
        columns_tile, LARGEST_OF_OTHERS, s, vectors, block, width, x, source, tables, table, weights, target,
        plane, activation, slope, highest,
    )  # fmt: skip


@part(*ROW_KINDS)
def strided_columns_tile_row(  # type: ignore[no-untyped-def]
    s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope, highest
):
    """Do the same for every other pixel."""
    cover(
        strided_columns_tile, LARGEST_OF_OTHERS, s, vectors, block, width, x, source, tables, table, weights, target,
        plane, activation, slope, highest,
    )  # fmt: skip


@part(*ROW_KINDS)
def single_tile_row(  # type: ignore[no-untyped-def]
    s, vectors, block, width, x, source, tables, table, weights, target, plane, activation, slope, highest
):
    """Do the same one input at a time, whatever the step."""
    cover(
        single_tile, LARGEST_OF_OTHERS, s, vectors, block, width, x, source, tables, table, weights, target,
        plane, activation, slope, highest,
    )  # fmt: skip


_tile_row = caller(tile_row)


@inline
def tiles_of_row(  # type: ignore[no-untyped-def]
    m, s, vectors, block, width, source, table, weights, target, plane, activation, slope, highest
):
    """Compute `width` pixels of one panel, up to what `left_by_tiles` tells of their activation."""
    row = m.parts[s[ROW_PART]]
    _tile_row(row, (
        s, vectors, block, width, m.x, source, m.tables, table, weights, target, plane, activation, slope, highest,
    ))  # fmt: skip


@shared
def to_planes(s, x, at, channel, pixel, width, out):  # type: ignore[no-untyped-def]
    """Write `width` pixels of a block into the planes of the output that it has channels for."""
    size, lanes, done = s[HEIGHT] * s[COLUMNS], min(LANES, s[CHANNELS] - channel), 0
    target = s[PLANAR_OUT] + channel * size + pixel
    if lanes == LANES:
        done = width // LANES * LANES
        for i in range(0, done, LANES):
            if s[PAST_CACHE]:
                store_transposed_past_cache(x, at + i * LANES, out, target + i, size)
            else:
                store_transposed(x, at + i * LANES, out, target + i, size)
    for lane in range(lanes):
        for i in range(done, width):
            out[target + lane * size + i] = x[at + i * LANES + lane]
