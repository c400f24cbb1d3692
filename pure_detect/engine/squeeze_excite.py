"""Squeeze-and-excite: from the channels' sums to gates, and from gates to the weights of the convolution behind them.

Equals global average pool, two 1x1 convolutions, their activations and the multiplication of the map. What differs: the
map is not multiplied. The 1x1 convolution that follows takes sums over (gate[i] * map[i]) * weight[i, o], so the gates
go into its weights instead, which are far fewer than the map's values.
"""

from __future__ import annotations

import numpy as np

from pure_detect.engine.calls import kernel
from pure_detect.engine.conv2d_direct import panel_block
from pure_detect.engine.depthwise_conv2d import row_sum
from pure_detect.engine.simd import LANES, ZERO, broadcast, fma, lane_sum, load, shared, store
from pure_detect.engine.step import (
    ACTIVATION,
    BLOCKS,
    COLUMNS,
    HEIGHT,
    LIMITS,
    OWN,
    X_PLANE,
    X_ROW,
    X,
    Y,
    activated,
    clamped,
)

# hidden_units and channel_gates. SUM_ROWS: how many rows of sums there are. REDUCE, EXPAND: where the weights of the
# two layers, (HIDDEN, channels) each, stand in `w`. CHUNK: neurons, or channels, of an item.
SUM_ROWS, PIXELS, HIDDEN, REDUCE, REDUCE_BIAS, EXPAND, EXPAND_BIAS, CHUNK = range(OWN, OWN + 8)
# scale_weights.
WEIGHTS, FIRST_VECTORS, FIRST_PANELS, REST_VECTORS, GATES, BIAS, SCALED_BIAS, OUTPUTS, INPUTS = range(OWN, OWN + 9)
ONE = np.float32(1)


@kernel
def channel_sums(s, item, m):  # type: ignore[no-untyped-def]
    """Sum one block of a map over all pixels."""
    x = m.x
    total = broadcast(ZERO)
    for row in range(s[HEIGHT]):
        total = total + row_sum(x, s[X] + item * s[X_PLANE] + row * s[X_ROW], s[COLUMNS])
    store(x, s[Y] + item * LANES, total)


@kernel
def hidden_units(s, item, m):  # type: ignore[no-untyped-def]
    """Compute some neurons of the first layer from the channels' means."""
    x, w, scratch = m.x, m.w, m.scratch
    channels = s[BLOCKS] * LANES
    share = broadcast(ONE / np.float32(s[PIXELS]))
    for c in range(0, channels, LANES):
        total = broadcast(ZERO)
        for row in range(s[SUM_ROWS]):
            total = total + load(x, s[X] + row * channels + c)
        store(x, scratch + c, total * share)
    slope, highest = broadcast(w[s[LIMITS]]), broadcast(w[s[LIMITS] + 1])
    first = item * s[CHUNK]
    units = scratch + channels
    for h in range(first, min(first + s[CHUNK], s[HIDDEN])):
        x[units + h - first] = dot(x, scratch, w, s[REDUCE] + h * channels, channels) + w[s[REDUCE_BIAS] + h]
    for i in range(0, s[CHUNK], LANES):
        store(x, s[Y] + first + i, activated(clamped(load(x, units + i), slope, highest), s[ACTIVATION]))


@kernel
def channel_gates(s, item, m):  # type: ignore[no-untyped-def]
    """Compute the gates of some blocks from the hidden neurons."""
    x, w = m.x, m.w
    channels = s[BLOCKS] * LANES
    slope, highest = broadcast(w[s[LIMITS]]), broadcast(w[s[LIMITS] + 1])
    first = item * s[CHUNK]
    for c in range(first, min(first + s[CHUNK], channels), LANES):
        total = combination(x, s[X], s[HIDDEN], w, s[EXPAND] + c, channels) + load(w, s[EXPAND_BIAS] + c)
        store(x, s[Y] + c, activated(clamped(total, slope, highest), s[ACTIVATION]))


@shared
def dot(x, at, w, w_at, length):  # type: ignore[no-untyped-def]
    """Return the sum of x times w over `length` elements, in four sums that do not wait for each other."""
    a, b, c, d = broadcast(ZERO), broadcast(ZERO), broadcast(ZERO), broadcast(ZERO)
    whole = length // (4 * LANES) * 4 * LANES
    for i in range(0, whole, 4 * LANES):
        a = fma(load(x, at + i), load(w, w_at + i), a)
        b = fma(load(x, at + i + LANES), load(w, w_at + i + LANES), b)
        c = fma(load(x, at + i + 2 * LANES), load(w, w_at + i + 2 * LANES), c)
        d = fma(load(x, at + i + 3 * LANES), load(w, w_at + i + 3 * LANES), d)
    for i in range(whole, length, LANES):
        a = fma(load(x, at + i), load(w, w_at + i), a)
    return lane_sum((a + b) + (c + d))


@shared
def combination(x, at, count, w, w_at, w_row):  # type: ignore[no-untyped-def]
    """Return the sum of x[at + i] times the vector at w[w_at + i * w_row], i < count, in four sums."""
    a, b, c, d = broadcast(ZERO), broadcast(ZERO), broadcast(ZERO), broadcast(ZERO)
    whole = count // 4 * 4
    for i in range(0, whole, 4):
        a = fma(broadcast(x[at + i]), load(w, w_at + i * w_row), a)
        b = fma(broadcast(x[at + i + 1]), load(w, w_at + (i + 1) * w_row), b)
        c = fma(broadcast(x[at + i + 2]), load(w, w_at + (i + 2) * w_row), c)
        d = fma(broadcast(x[at + i + 3]), load(w, w_at + (i + 3) * w_row), d)
    for i in range(whole, count):
        a = fma(broadcast(x[at + i]), load(w, w_at + i * w_row), a)
    return (a + b) + (c + d)


@kernel
def scale_weights(s, item, m):  # type: ignore[no-untyped-def]
    """Multiply one share of the packed weights, (input channel, vectors) after (input channel, vectors), by the gates.

    The first item also copies the biases, so that the convolution finds both in the arena.
    """
    x, w = m.x, m.w
    vectors = s[FIRST_VECTORS] if item < s[FIRST_PANELS] else s[REST_VECTORS]
    block = panel_block(s[FIRST_VECTORS], s[FIRST_PANELS], s[REST_VECTORS], item)
    at = block * LANES * s[INPUTS]
    for c in range(s[INPUTS]):
        gate = broadcast(x[s[GATES] + c])
        for v in range(vectors):
            i = at + (c * vectors + v) * LANES
            store(x, s[Y] + i, load(w, s[WEIGHTS] + i) * gate)
    if item == 0:
        for i in range(0, s[OUTPUTS], LANES):
            store(x, s[SCALED_BIAS] + i, load(w, s[BIAS] + i))
