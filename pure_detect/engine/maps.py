"""Kernels that go over maps once: sums of maps, scale and shift, pools, enlargements, copies.

They equal the reference kernels of `ops/add.py`, `batch_norm.py`, `activation.py`, `pool.py` and `rearrange.py`, on
maps in blocks of channels and in float32.
"""

from __future__ import annotations

import numpy as np

from pure_detect.engine.calls import kernel
from pure_detect.engine.simd import LANES, ZERO, broadcast, fma, load, maximum, store
from pure_detect.engine.step import (
    ACTIVATION,
    BLOCKS,
    BOTTOM,
    COLUMNS,
    HEIGHT,
    LEFT,
    LIMITS,
    OWN,
    RIGHT,
    TOP,
    X_PLANE,
    X_ROW,
    Y_PLANE,
    Y_ROW,
    X,
    Y,
    clamped,
    finish_rows,
    rows_of,
)

LOWEST = np.float32(-np.inf)
ONE = np.float32(1)

COEFFICIENTS, INPUTS, PLACES = OWN, OWN + 1, OWN + 2  # of weighted_sum; a place of three numbers for each input
SCALE, BIAS = OWN, OWN + 1  # of scale_shift
SIZE_Y, SIZE_X, STRIDE_Y, STRIDE_X, PAD_TOP, PAD_LEFT, IN_HEIGHT, IN_COLUMNS, MEAN = range(OWN, OWN + 9)  # of pool
FIRST_CHANNEL, CHANNELS, TO_CHANNEL = OWN + 8, OWN + 9, OWN + 10  # of copy_channels


@kernel
def weighted_sum(s, item, m):  # type: ignore[no-untyped-def]
    """Sum maps of one shape, each times its own factor a channel, at some rows of one block; then clamp."""
    x, w = m.x, m.w
    block, first, last = rows_of(s, item)
    slope, highest, inputs = broadcast(w[s[LIMITS]]), broadcast(w[s[LIMITS] + 1]), s[INPUTS]
    for row in range(first, last):
        target = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW]
        for i in range(inputs):
            source = s[PLACES + 3 * i] + block * s[PLACES + 3 * i + 1] + row * s[PLACES + 3 * i + 2]
            factor = load(w, s[COEFFICIENTS] + (i * s[BLOCKS] + block) * LANES)
            for p in range(0, s[COLUMNS] * LANES, LANES):
                before = load(x, target + p) if i > 0 else broadcast(ZERO)
                total = fma(load(x, source + p), factor, before)
                store(x, target + p, clamped(total, slope, highest) if i == inputs - 1 else total)
    finish_rows(m, s, s[ACTIVATION], block, first, last)


@kernel
def scale_shift(s, item, m):  # type: ignore[no-untyped-def]
    """Scale and shift each channel, then clamp: batch norm, or an activation, that no convolution could take in."""
    x, w = m.x, m.w
    block, first, last = rows_of(s, item)
    scale, bias = load(w, s[SCALE] + block * LANES), load(w, s[BIAS] + block * LANES)
    slope, highest = broadcast(w[s[LIMITS]]), broadcast(w[s[LIMITS] + 1])
    for row in range(first, last):
        source = s[X] + block * s[X_PLANE] + row * s[X_ROW]
        target = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW]
        for p in range(0, s[COLUMNS] * LANES, LANES):
            store(x, target + p, clamped(fma(load(x, source + p), scale, bias), slope, highest))
    finish_rows(m, s, s[ACTIVATION], block, first, last)


@kernel
def pool(s, item, m):  # type: ignore[no-untyped-def]
    """Take the maximum or the mean of windows, cells outside of the map left out, at some rows of one block."""
    x = m.x
    block, first, last = rows_of(s, item)
    start = s[X] + block * s[X_PLANE]
    for row in range(first, last):
        top, left = row * s[STRIDE_Y] - s[PAD_TOP], -s[PAD_LEFT]
        for column in range(s[COLUMNS]):
            bottom, right = min(top + s[SIZE_Y], s[IN_HEIGHT]), min(left + s[SIZE_X], s[IN_COLUMNS])
            best, total = broadcast(LOWEST), broadcast(ZERO)
            for i in range(max(top, 0), bottom):
                for j in range(max(left, 0), right):
                    value = load(x, start + i * s[X_ROW] + j * LANES)
                    if s[MEAN]:
                        total = total + value
                    else:
                        best = maximum(value, best)
            if s[MEAN]:
                count = (bottom - max(top, 0)) * (right - max(left, 0))
                best = total * broadcast(ONE / np.float32(count))
            store(x, s[Y] + block * s[Y_PLANE] + row * s[Y_ROW] + column * LANES, best)
            left += s[STRIDE_X]
    finish_rows(m, s, s[ACTIVATION], block, first, last)


@kernel
def upsample(s, item, m):  # type: ignore[no-untyped-def]
    """Repeat cells, each output cell taking floor(index * input size / output size), at some rows of one block."""
    x = m.x
    block, first, last = rows_of(s, item)
    for row in range(first, last):
        source = s[X] + block * s[X_PLANE] + row * s[IN_HEIGHT] // s[HEIGHT] * s[X_ROW]
        target = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW]
        for column in range(s[COLUMNS]):
            value = load(x, source + column * s[IN_COLUMNS] // s[COLUMNS] * LANES)
            store(x, target + column * LANES, value)
    finish_rows(m, s, s[ACTIVATION], block, first, last)


@kernel
def copy_channels(s, item, m):  # type: ignore[no-untyped-def]
    """Copy one channel of a map to another place among the channels of another map, with zeros around it."""
    x = m.x
    source_channel, target_channel = s[FIRST_CHANNEL] + item, s[TO_CHANNEL] + item
    source = s[X] + source_channel // LANES * s[X_PLANE] + source_channel % LANES
    target = s[Y] + target_channel // LANES * s[Y_PLANE] + target_channel % LANES
    for row in range(-s[TOP], s[HEIGHT] + s[BOTTOM]):
        for column in range(-s[LEFT], s[COLUMNS] + s[RIGHT]):
            inside = 0 <= row < s[HEIGHT] and 0 <= column < s[COLUMNS]
            value = x[source + row * s[X_ROW] + column * LANES] if inside else ZERO
            x[target + row * s[Y_ROW] + column * LANES] = value
