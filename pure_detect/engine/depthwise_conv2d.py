"""Depthwise convolution, a block of channels at a time.

Equals :func:`pure_detect.ops.conv2d.conv2d_reference` with as many groups as channels. What differs: the input lies
with a border of zeros, so that no index is checked; eight neighbouring output columns share the loads of a row. On the
way the channels' sums for a squeeze-and-excite are taken, while the rows are still in the nearest cache.
"""

from __future__ import annotations

from numba import types

from pure_detect.engine.calls import DEPTHWISE_ROW, caller, kernel, part
from pure_detect.engine.simd import (
    FLOATS,
    INTEGERS,
    LANES,
    ZERO,
    broadcast,
    fma,
    hard_swish,
    inline,
    load,
    shared,
    store,
)
from pure_detect.engine.step import (
    ACTIVATION,
    COLUMNS,
    DEPTHWISE_OWN,
    HARD_SWISH,
    LIMITS,
    X_PLANE,
    X_ROW,
    Y_PLANE,
    Y_ROW,
    X,
    Y,
    clamped,
    finish_rows,
    left_by_tiles,
    rows_of,
)
from pure_detect.engine.tiles import depthwise_tiles

SIZE, STRIDE, WEIGHTS, BIAS, SUMS, UNROLLED, STRIDE_X, SIZE_X, DILATION_X, DILATION_Y = range(
    DEPTHWISE_OWN, DEPTHWISE_OWN + 10
)
# SIZE x SIZE_X: the kernel. UNROLLED: whether `tile` knows it. SUMS: where the channels' sums go, a row a chunk, or -1.

KERNELS = ((3, 1), (3, 2), (5, 1), (5, 2))  # (kernel, stride)
COLUMN_COUNTS = (8, 4, 1)
tile = depthwise_tiles(tuple((k, stride, columns) for k, stride in KERNELS for columns in COLUMN_COUNTS))


@shared
def any_depthwise_row(s, x, source, source_row, w, weights, bias, target, slope, highest):  # type: ignore[no-untyped-def]
    """Compute one row for kernels, strides and dilations that no tile is unrolled for."""
    for column in range(s[COLUMNS]):
        total = load(w, bias)
        for i in range(s[SIZE]):
            for j in range(s[SIZE_X]):
                at = source + i * s[DILATION_Y] * source_row + (column * s[STRIDE_X] + j * s[DILATION_X]) * LANES
                total = fma(load(x, at), load(w, weights + (i * s[SIZE_X] + j) * LANES), total)
        total = clamped(total, broadcast(slope), broadcast(highest))
        store(x, target + column * LANES, hard_swish(total) if s[ACTIVATION] == HARD_SWISH else total)


@part(INTEGERS, types.intp, FLOATS, types.intp, types.intp, FLOATS, types.intp)
def depthwise_row(s, block, x, source, source_row, w, target):  # type: ignore[no-untyped-def]
    """Compute one row of one block, up to what `left_by_tiles` tells of its activation."""
    slope, highest = w[s[LIMITS]], w[s[LIMITS] + 1]
    weights, bias = s[WEIGHTS] + block * s[SIZE] * s[SIZE_X] * LANES, s[BIAS] + block * LANES
    width = s[COLUMNS]
    if not s[UNROLLED]:
        any_depthwise_row(s, x, source, source_row, w, weights, bias, target, slope, highest)
        return
    start = 0
    while start < width:
        left = width - start
        columns = 8 if left > 4 else 4
        if columns > width:
            columns = 4 if width >= 4 else 1
        at = min(start, width - columns)
        tile(
            s[SIZE], s[STRIDE], columns, x, source + at * s[STRIDE] * LANES, source_row, w, weights, bias,
            x, target + at * LANES, s[ACTIVATION], slope, highest,
        )  # fmt: skip
        start = at + columns


_depthwise_row = caller(depthwise_row)


@kernel
def depthwise_conv2d(s, item, m):  # type: ignore[no-untyped-def]
    """Compute one item: some rows of one block of channels."""
    block, first, last = rows_of(s, item)
    source = s[X] + block * s[X_PLANE] + first * s[STRIDE] * s[X_ROW]
    depthwise_rows(m, s, block, first, last, source, s[X_ROW])
    if s[SUMS] >= 0:
        total = block_sum(s, block, first, last, m.x)
        store(m.x, s[SUMS] + item * LANES, total)


@inline
def depthwise_rows(m, s, block, first, last, source, source_row):  # type: ignore[no-untyped-def]
    """Compute rows first..last of one block; `source` is where the first one's window begins."""
    for row in range(first, last):
        target = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW]
        begin = source + (row - first) * s[STRIDE] * source_row
        _depthwise_row(m.parts[DEPTHWISE_ROW], (s, block, m.x, begin, source_row, m.w, target))
    finish_rows(m, s, left_by_tiles(s[ACTIVATION]), block, first, last)


@shared
def block_sum(s, block, first, last, x):  # type: ignore[no-untyped-def]
    """Return the lanes' sums over rows first..last of a block of the output."""
    total = broadcast(ZERO)
    for row in range(first, last):
        total = total + row_sum(x, s[Y] + block * s[Y_PLANE] + row * s[Y_ROW], s[COLUMNS])
    return total


@shared
def row_sum(x, at, columns):  # type: ignore[no-untyped-def]
    """Return the lanes' sums over a row."""
    even, odd = broadcast(ZERO), broadcast(ZERO)
    for i in range(0, columns - 1, 2):
        even = even + load(x, at + i * LANES)
        odd = odd + load(x, at + (i + 1) * LANES)
    if columns & 1:
        even = even + load(x, at + (columns - 1) * LANES)
    return even + odd
