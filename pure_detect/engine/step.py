"""What a plan's steps look like to compiled code, and what every kernel shares.

A step is a row of WIDTH integers: which kernel, how many independent items of work, and that kernel's numbers, which
are offsets into the memory of `calls.Memory`. A map lies in the arena in blocks of LANES channels, (C / LANES, rows,
columns, LANES), its last block filled up with zeros or whatever zero weights give; rows and columns include a border of
zeros where a convolution will read one. A place is three numbers: the offset of pixel (0, 0) of block 0, and the
distances of blocks and of rows. Distances are in float32 elements.
"""

from __future__ import annotations

import numpy as np
from numba import types

from pure_detect.engine.calls import FINISH, caller, part
from pure_detect.engine.simd import (
    FLOATS,
    LANES,
    ZERO,
    broadcast,
    exp,
    hard_sigmoid,
    hard_swish,
    inline,
    load,
    maximum,
    minimum,
    shared,
    sigmoid,
    store,
    swish_pair,
)

WIDTH = 80
KERNEL, ITEMS = 0, 1
X, X_PLANE, X_ROW = 2, 3, 4  # the place of the first input
Y, Y_PLANE, Y_ROW = 5, 6, 7  # the place of the output
HEIGHT, COLUMNS, BLOCKS = 8, 9, 10  # of the output
TOP, LEFT, BOTTOM, RIGHT = 11, 12, 13, 14  # the output's border
ACTIVATION, LIMITS = 15, 16  # LIMITS: where slope and highest of the clamp stand in `w`
R, R_PLANE, R_ROW = 17, 18, 19  # the place of what is added after the activation; R < 0: nothing
CHUNKS = 20  # into how many parts the rows (or pixels, or tiles) are split
AFTER = 21  # the last step that has to be done, with all before it, before this one begins; -1: none
OWN = 22  # where a kernel's own numbers begin
DEPTHWISE_OWN = 43  # where those of a depthwise convolution begin, which may stand beside another convolution's
PICTURE_OWN = 64  # where those begin that say how a convolution reads the picture

# Activations that the clamp min(max(a, slope a), highest) cannot say.
CLAMP, SIGMOID, HARD_SIGMOID, HARD_SIGMOID_TF, HARD_SWISH, SWISH, MISH = range(7)
SIXTH, SIXTH_TF = np.float32(1 / 6), np.float32(0.16667)
TWO, MISH_LINEAR = np.float32(2), np.float32(20)


@shared
def share_of(share, length, parts):  # type: ignore[no-untyped-def]
    """Return where one of so many nearly equal parts of a length begins and ends."""
    return share * length // parts, (share + 1) * length // parts


@shared
def rows_of(s, item):  # type: ignore[no-untyped-def]
    """Return an item's block, its first row and the one behind its last: a share of the rows of one block."""
    first, last = share_of(item // s[BLOCKS], s[HEIGHT], s[CHUNKS])
    return item % s[BLOCKS], first, last


@shared
def mish(a):  # type: ignore[no-untyped-def]
    """Return a tanh(ln(1 + e^a)) = a (e^2a + 2 e^a) / (e^2a + 2 e^a + 2); past 20 that is `a`."""
    e = exp(minimum(a, broadcast(MISH_LINEAR)))
    n = e * (e + broadcast(TWO))
    return a * (n / (n + broadcast(TWO)))


@shared
def activated(a, activation):  # type: ignore[no-untyped-def]
    """Return the activation of a vector."""
    if activation == HARD_SWISH:
        return hard_swish(a)
    if activation == SWISH:
        return swish_pair(a, a)[0]
    if activation == SIGMOID:
        return sigmoid(a)
    if activation == HARD_SIGMOID:
        return hard_sigmoid(a, broadcast(SIXTH))
    if activation == HARD_SIGMOID_TF:
        return hard_sigmoid(a, broadcast(SIXTH_TF))
    if activation == MISH:
        return mish(a)
    return a


@part(FLOATS, types.intp, types.intp, types.int64, types.intp)
def activate_and_add(x, at, length, activation, r):  # type: ignore[no-untyped-def]
    """Apply the activation to `length` elements from `at` on, and add those from `r` on unless r < 0."""
    if activation == HARD_SWISH:
        for i in range(at, at + length, LANES):
            store(x, i, hard_swish(load(x, i)))
    elif activation == SWISH:
        paired = at + length // (2 * LANES) * 2 * LANES
        for i in range(at, paired, 2 * LANES):
            a, b = swish_pair(load(x, i), load(x, i + LANES))
            store(x, i, a)
            store(x, i + LANES, b)
        if paired < at + length:
            store(x, paired, activated(load(x, paired), activation))
    elif activation != CLAMP:
        for i in range(at, at + length, LANES):
            store(x, i, activated(load(x, i), activation))
    if r >= 0:
        for i in range(0, length, LANES):
            store(x, at + i, load(x, at + i) + load(x, r + i))


_activate_and_add = caller(activate_and_add)


@inline
def finish(m, at, length, activation, r):  # type: ignore[no-untyped-def]
    """Do the same where there is anything to do."""
    if activation != CLAMP or r >= 0:
        _activate_and_add(m.parts[FINISH], (m.x, at, length, activation, r))


@shared
def left_by_tiles(activation):  # type: ignore[no-untyped-def]
    """Return what is left of an activation where tiles have done it that do hard swish with the clamp."""
    return CLAMP if activation == HARD_SWISH else activation


@shared
def finish_rows(m, s, activation, block, first, last):  # type: ignore[no-untyped-def]
    """Finish rows first..last of a block of the output, then put zeros around them."""
    length = s[COLUMNS] * LANES
    for row in range(first, last):
        at = s[Y] + block * s[Y_PLANE] + row * s[Y_ROW]
        r = s[R] + block * s[R_PLANE] + row * s[R_ROW] if s[R] >= 0 else -1
        finish(m, at, length, activation, r)
    border(m.x, s, block, first, last)


@shared
def border(x, s, block, first, last):  # type: ignore[no-untyped-def]
    """Put zeros around rows first..last of a block of the output."""
    start = s[Y] + block * s[Y_PLANE]
    if s[LEFT] + s[RIGHT] > 0:
        for row in range(first, last):
            at = start + row * s[Y_ROW]
            zeros(x, at - s[LEFT] * LANES, s[LEFT] * LANES)
            zeros(x, at + s[COLUMNS] * LANES, s[RIGHT] * LANES)
    if first == 0:
        zeros(x, start - s[TOP] * s[Y_ROW] - s[LEFT] * LANES, s[TOP] * s[Y_ROW])
    if last == s[HEIGHT]:
        zeros(x, start + last * s[Y_ROW] - s[LEFT] * LANES, s[BOTTOM] * s[Y_ROW])


@shared
def zeros(x, at, length):  # type: ignore[no-untyped-def]
    """Set `length` elements from `at` on to zero."""
    for i in range(at, at + length, LANES):
        store(x, i, broadcast(ZERO))


@shared
def clamped(a, slope, highest):  # type: ignore[no-untyped-def]
    """Return min(max(a, slope a), highest) for vectors; NaN stays NaN."""
    return minimum(highest, maximum(a, a * slope))
