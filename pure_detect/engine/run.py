"""The one compiled function of the engine: it walks a plan's steps, together with the other threads of a team.

Every thread calls :func:`walk` with the same arrays. The items of a step are independent; a thread takes the next one
by an atomic addition, so whoever has a processor works, and a thread that was put to sleep between two items delays
nobody. A step may begin when all items of the one before it are done. Waiting spins for a moment, then gives the
processor away.
"""

from __future__ import annotations

import sys

from numba import types

from pure_detect.engine import conv2d_direct, conv2d_winograd, depthwise_conv2d, expand_depthwise, maps, squeeze_excite
from pure_detect.engine.simd import atomic_add, atomic_load, inline, shared
from pure_detect.engine.step import ITEMS, KERNEL
from pure_detect.jit import kernel

(READ_IMAGE, DIRECT, DEPTHWISE, WINOGRAD_4, WINOGRAD_2, WINOGRAD_STRIDE_2, WEIGHTED_SUM, SCALE_SHIFT, POOL, UPSAMPLE,
 COPY_CHANNELS, CHANNEL_SUMS, CHANNEL_GATES, SCALE_WEIGHTS, EXPAND_DEPTHWISE, HIDDEN_UNITS) = range(16)  # fmt: skip

NAMES = (
    "read_image", "conv2d_direct", "depthwise_conv2d", "conv2d_winograd F(4x4, 3x3)", "conv2d_winograd F(2x2, 3x3)",
    "conv2d_winograd F(4x4, 3x3)/2",
    "weighted_sum", "scale_shift", "pool", "upsample", "copy_channels", "channel_sums", "channel_gates",
    "scale_weights", "expand_depthwise", "hidden_units",
)  # fmt: skip
COUNTERS = 16  # int64 a step, two lines of cache: [0] items taken, [8] items done
TAKEN, DONE = 0, 8
SPINS = 2000  # looks at a counter before the processor is given away

give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


@inline
def run_item(s, item, x, w, tables, out, image, scratch):  # type: ignore[no-untyped-def]
    """Do one item of a step."""
    kernel = s[KERNEL]
    if kernel == DIRECT:
        conv2d_direct.conv2d_direct(s, item, x, w, tables, out, scratch)
    elif kernel == DEPTHWISE:
        depthwise_conv2d.depthwise_conv2d(s, item, x, w)
    elif kernel == EXPAND_DEPTHWISE:
        expand_depthwise.expand_depthwise(s, item, x, w, tables, scratch)
    elif WINOGRAD_4 <= kernel <= WINOGRAD_STRIDE_2:
        conv2d_winograd.conv2d_winograd(s, item, x, w, scratch)
    elif kernel == WEIGHTED_SUM:
        maps.weighted_sum(s, item, x, w)
    elif kernel == SCALE_SHIFT:
        maps.scale_shift(s, item, x, w)
    elif kernel == POOL:
        maps.pool(s, item, x)
    elif kernel == UPSAMPLE:
        maps.upsample(s, item, x)
    elif kernel == COPY_CHANNELS:
        maps.copy_channels(s, item, x)
    elif kernel == CHANNEL_SUMS:
        squeeze_excite.channel_sums(s, item, x)
    elif kernel == CHANNEL_GATES:
        squeeze_excite.channel_gates(s, item, x, w)
    elif kernel == HIDDEN_UNITS:
        squeeze_excite.hidden_units(s, item, x, w, scratch)
    elif kernel == SCALE_WEIGHTS:
        squeeze_excite.scale_weights(s, item, x, w)
    elif kernel == READ_IMAGE:
        maps.read_image(s, item, x, image)


@shared
def wait_for(counters, index, count):  # type: ignore[no-untyped-def]
    """Return when the counter has reached `count`."""
    spins = 0
    while atomic_load(counters, index) < count:
        spins += 1
        if spins > SPINS:
            give_way()


@kernel
def walk(first, last, steps, x, w, tables, out, image, counters, scratch):  # type: ignore[no-untyped-def]
    """Do whatever is left to do of steps first..last, and return when all of it is done.

    Parameters
    ----------
    steps : (S, WIDTH) int64
    x, w : (...,) float32
        The arena and the packed weights.
    tables : (...,) int64
    out, image : (...,) float32
        The network's outputs and input.
    counters : (S * COUNTERS,) int64
        All zero before the first thread begins.
    scratch : int
        Where this thread's own part of the arena begins.
    """
    for index in range(first, last):
        s = steps[index]
        items, base, done = s[ITEMS], index * COUNTERS, 0
        item = atomic_add(counters, base + TAKEN, 1)
        while item < items:
            run_item(s, item, x, w, tables, out, image, scratch)
            done += 1
            item = atomic_add(counters, base + TAKEN, 1)
        if done > 0:
            atomic_add(counters, base + DONE, done)
        wait_for(counters, base + DONE, items)
