"""A convolution and the depthwise convolution behind it, without the wide map in between ever reaching memory.

Equals :func:`pure_detect.ops.conv2d.conv2d_reference` twice, with activations. What differs: an item takes one panel of
channels through both. It computes as many rows of the first convolution as the second one needs for some rows, in its
thread's own scratch with a border of zeros, and carries over the rows that the next ones see again. The first is 1x1
(inverted residuals expand their input sixfold; that map would go to the third-level cache and back) or the picture's.
"""

from __future__ import annotations

from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import depthwise_conv2d as depthwise
from pure_detect.engine.calls import kernel
from pure_detect.engine.picture import input_of_row
from pure_detect.engine.simd import LANES, inline, load, shared, store
from pure_detect.engine.step import (
    BLOCKS,
    CHUNKS,
    DEPTHWISE_OWN,
    HEIGHT,
    finish,
    left_by_tiles,
    share_of,
    zeros,
)

(STRIP, ROW, PLANE, EXPANDED_HEIGHT, EXPANDED_COLUMNS, ABOVE, BEFORE, AFTER, EXPAND_ACTIVATION,
 EXPAND_LIMITS, PANELS) = range(DEPTHWISE_OWN + 10, DEPTHWISE_OWN + 21)  # fmt: skip
# STRIP: rows of the output computed at a time. ROW, PLANE: distances in the scratch. ABOVE, BEFORE, AFTER: padding.


@kernel
def expand_depthwise(s, item, m):  # type: ignore[no-untyped-def]
    """Compute one item: some rows of one panel of channels."""
    x, scratch, share, panel = m.x, m.scratch, item // s[PANELS], item % s[PANELS]
    vectors = s[direct.FIRST_VECTORS] if panel < s[direct.FIRST_PANELS] else s[direct.REST_VECTORS]
    block = direct.panel_block(s[direct.FIRST_VECTORS], s[direct.FIRST_PANELS], s[direct.REST_VECTORS], panel)
    first, last = share_of(share, s[HEIGHT], s[CHUNKS])
    filled = first * s[depthwise.STRIDE] - s[ABOVE]
    base = filled
    for strip in range(first, last, s[STRIP]):
        strip_end = min(strip + s[STRIP], last)
        begin = strip * s[depthwise.STRIDE] - s[ABOVE]
        end = (strip_end - 1) * s[depthwise.STRIDE] - s[ABOVE] + s[depthwise.SIZE]
        if begin > base:
            for v in range(vectors):
                move(x, scratch + v * s[PLANE], (begin - base) * s[ROW], (filled - begin) * s[ROW])
            base = begin
        for row in range(max(filled, begin), end):
            expand_row(m, s, block, vectors, row, scratch + (row - base) * s[ROW])
        filled = end
        for v in range(vectors):
            depthwise.depthwise_rows(m, s, block + v, strip, strip_end, scratch + v * s[PLANE], s[ROW])
            if s[depthwise.SUMS] >= 0:
                at = s[depthwise.SUMS] + (share * s[BLOCKS] + block + v) * LANES
                total = depthwise.block_sum(s, block + v, strip, strip_end, x)
                store(x, at, total if strip == first else total + load(x, at))


@shared
def move(x, at, distance, length):  # type: ignore[no-untyped-def]
    """Copy `length` elements that stand `distance` after `at` to `at`."""
    for i in range(at, at + length, LANES):
        store(x, i, load(x, i + distance))


@inline
def expand_row(m, s, block, vectors, row, target):  # type: ignore[no-untyped-def]
    """Compute one row of the first convolution's panel, with its border; outside of the map it is zeros."""
    x, w = m.x, m.w
    if row < 0 or row >= s[EXPANDED_HEIGHT]:
        for v in range(vectors):
            zeros(x, target + v * s[PLANE], s[ROW])
        return
    width = s[EXPANDED_COLUMNS]
    inside = target + s[BEFORE] * LANES
    direct.tiles_of_row(
        m, s, vectors, block, width, input_of_row(s, row, m), s[direct.TABLE], w,
        inside, s[PLANE], s[EXPAND_ACTIVATION], w[s[EXPAND_LIMITS]], w[s[EXPAND_LIMITS] + 1],
    )  # fmt: skip
    for v in range(vectors):
        at = target + v * s[PLANE]
        finish(m, at + s[BEFORE] * LANES, width * LANES, left_by_tiles(s[EXPAND_ACTIVATION]), -1)
        zeros(x, at, s[BEFORE] * LANES)
        zeros(x, at + (s[BEFORE] + width) * LANES, s[AFTER] * LANES)
