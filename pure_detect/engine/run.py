"""The compiled function that walks a plan's steps, together with the other threads of a team, and all kernels' numbers.

Every thread calls :func:`walk` with the same arrays. The items of a step are independent; a thread takes the next one
by an atomic addition, so whoever has a processor works, and a thread that was put to sleep between two items delays
nobody. A step may begin when all items of the one before it are done. Waiting spins for a moment, then gives the
processor away.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import conv2d_winograd as winograd
from pure_detect.engine import depthwise_conv2d as depthwise
from pure_detect.engine import expand_depthwise, maps, squeeze_excite, step
from pure_detect.engine.calls import DEPTHWISE_ROW, FINISH, PLANAR_TILE_ROW, TILE_ROW, Memory, caller
from pure_detect.engine.simd import address, atomic_add, atomic_load, shared
from pure_detect.engine.step import ITEMS, KERNEL, WIDTH

Array = NDArray[Any]

(READ_IMAGE, DIRECT, DEPTHWISE, WINOGRAD_4, WINOGRAD_2, WINOGRAD_STRIDE_2, WEIGHTED_SUM, SCALE_SHIFT, POOL, UPSAMPLE,
 COPY_CHANNELS, CHANNEL_SUMS, CHANNEL_GATES, SCALE_WEIGHTS, EXPAND_DEPTHWISE, HIDDEN_UNITS) = range(16)  # fmt: skip

NAMES = (
    "read_image", "conv2d_direct", "depthwise_conv2d", "conv2d_winograd F(4x4, 3x3)", "conv2d_winograd F(2x2, 3x3)",
    "conv2d_winograd F(4x4, 3x3)/2",
    "weighted_sum", "scale_shift", "pool", "upsample", "copy_channels", "channel_sums", "channel_gates",
    "scale_weights", "expand_depthwise", "hidden_units",
)  # fmt: skip
KERNELS = (
    maps.read_image, direct.conv2d_direct, depthwise.depthwise_conv2d, *(winograd.conv2d_winograd,) * 3,
    maps.weighted_sum, maps.scale_shift, maps.pool, maps.upsample, maps.copy_channels, squeeze_excite.channel_sums,
    squeeze_excite.channel_gates, squeeze_excite.scale_weights, expand_depthwise.expand_depthwise,
    squeeze_excite.hidden_units,
)  # fmt: skip
PARTS = {
    FINISH: step.activate_and_add, TILE_ROW: direct.tile_row, PLANAR_TILE_ROW: direct.planar_tile_row,
    DEPTHWISE_ROW: depthwise.depthwise_row,
}  # fmt: skip
PARTS_OF = {
    DIRECT: (TILE_ROW, PLANAR_TILE_ROW), DEPTHWISE: (DEPTHWISE_ROW,), EXPAND_DEPTHWISE: (TILE_ROW, DEPTHWISE_ROW),
}  # fmt: skip
COUNTERS = 16  # int64 a step, two lines of cache: [0] items taken, [8] items done
TAKEN, DONE = 0, 8
SPINS = 2000  # looks at a counter before the processor is given away

give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())

_run_item = caller(direct.conv2d_direct)


def machine_code(kernels: Iterable[int]) -> tuple[Array, Array]:
    """Return the addresses of kernels and parts by their numbers, of those that these kernels need.

    What has not been compiled yet is compiled here.
    """
    wanted = sorted(set(kernels))
    needed = {FINISH, *(part for number in wanted for part in PARTS_OF.get(number, ()))}
    addresses, parts = np.zeros(len(KERNELS), np.int64), np.zeros(len(PARTS), np.int64)
    for number in sorted(needed):
        parts[number] = PARTS[number].address
    for number in wanted:
        addresses[number] = KERNELS[number].address
    return addresses, parts


@shared
def wait_for(counters, index, count):  # type: ignore[no-untyped-def]
    """Return when the counter has reached `count`."""
    spins = 0
    while atomic_load(counters, index) < count:
        spins += 1
        if spins > SPINS:
            give_way()


@jit.kernel
def walk(  # type: ignore[no-untyped-def]
    first, last, steps, kernels, x, w, tables, out, image, parts, counters, scratch
):
    """Do whatever is left to do of steps first..last, and return when all of it is done.

    Parameters
    ----------
    steps : (S, WIDTH) int64
    kernels, parts : (...,) int64
        As `machine_code` gives them.
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
    m = Memory(
        address(x, 0), address(w, 0), address(tables, 0), address(out, 0), address(image, 0), address(parts, 0), scratch
    )  # fmt: skip
    for index in range(first, last):
        s = address(steps, index * WIDTH)
        items, base, done = s[ITEMS], index * COUNTERS, 0
        item = atomic_add(counters, base + TAKEN, 1)
        while item < items:
            _run_item(kernels[s[KERNEL]], (s, item, m))
            done += 1
            item = atomic_add(counters, base + TAKEN, 1)
        if done > 0:
            atomic_add(counters, base + DONE, done)
        wait_for(counters, base + DONE, items)
