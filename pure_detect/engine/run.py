"""The compiled function that walks a plan's steps, together with the other threads of a team, and all kernels' numbers.

Every thread calls :func:`walk` with the same arrays. The items of a step are independent; a thread takes the next one
by an atomic addition, so whoever has a processor works, and a thread that was put to sleep between two items delays
nobody. Half of the threads take items from the first one on, the others from the last one back: items go from the top
of a map to its bottom, so a thread mostly finds in its own cache what it made in the step before. A step may begin when
all those are done that it has to wait for (`order.py`), often not the ones just before it: so whoever finds no item
left goes on. Waiting spins for a moment, then gives the processor away.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from pure_detect import jit
from pure_detect.engine import conv2d_amx, expand_depthwise, maps, squeeze_excite, step
from pure_detect.engine import conv2d_direct as direct
from pure_detect.engine import conv2d_winograd as winograd
from pure_detect.engine import depthwise_conv2d as depthwise
from pure_detect.engine.calls import (
    COLUMNS_TILE_ROW,
    DEPTHWISE_ROW,
    FINISH,
    SINGLE_TILE_ROW,
    STRIDED_COLUMNS_TILE_ROW,
    STRIDED_TILE_ROW,
    TILE_ROW,
    Memory,
    caller,
)
from pure_detect.engine.simd import address, atomic_add, atomic_load, shared
from pure_detect.engine.step import AFTER, ITEMS, KERNEL, WIDTH

Array = NDArray[Any]

(DIRECT, DEPTHWISE, WINOGRAD_4, WINOGRAD_2, WINOGRAD_STRIDE_2, WEIGHTED_SUM, SCALE_SHIFT, POOL, UPSAMPLE,
 COPY_CHANNELS, CHANNEL_SUMS, CHANNEL_GATES, SCALE_WEIGHTS, EXPAND_DEPTHWISE, HIDDEN_UNITS,
 AMX) = range(16)  # fmt: skip

NAMES = (
    "conv2d_direct", "depthwise_conv2d", "conv2d_winograd F(4x4, 3x3)", "conv2d_winograd F(2x2, 3x3)",
    "conv2d_winograd F(4x4, 3x3)/2",
    "weighted_sum", "scale_shift", "pool", "upsample", "copy_channels", "channel_sums", "channel_gates",
    "scale_weights", "expand_depthwise", "hidden_units", "conv2d_amx",
)  # fmt: skip
KERNELS = (
    direct.conv2d_direct, depthwise.depthwise_conv2d, *(winograd.conv2d_winograd,) * 3,
    maps.weighted_sum, maps.scale_shift, maps.pool, maps.upsample, maps.copy_channels, squeeze_excite.channel_sums,
    squeeze_excite.channel_gates, squeeze_excite.scale_weights, expand_depthwise.expand_depthwise,
    squeeze_excite.hidden_units, conv2d_amx.conv2d_amx,
)  # fmt: skip
PARTS = {
    FINISH: step.activate_and_add, TILE_ROW: direct.tile_row, STRIDED_TILE_ROW: direct.strided_tile_row,
    COLUMNS_TILE_ROW: direct.columns_tile_row, STRIDED_COLUMNS_TILE_ROW: direct.strided_columns_tile_row,
    SINGLE_TILE_ROW: direct.single_tile_row, DEPTHWISE_ROW: depthwise.depthwise_row,
}  # fmt: skip
COUNTERS = 16  # int64 a step, two lines of cache
TAKEN, DONE = 0, 8  # items taken from the front, plus 2^32 times those from the back; items done
FROM_BACK = 1 << 32
SPINS = 2000  # looks at a counter before the processor is given away

give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())

_run_item = caller(direct.conv2d_direct)


def parts_of(numbers: Mapping[int, int]) -> set[int]:
    """Return the parts that a step's kernel calls, by its row of numbers."""
    parts = {FINISH}
    if numbers[KERNEL] in (DIRECT, EXPAND_DEPTHWISE):
        parts.add(numbers[direct.ROW_PART])
    if numbers[KERNEL] in (DEPTHWISE, EXPAND_DEPTHWISE):
        parts.add(DEPTHWISE_ROW)
    return parts


def machine_code(rows: Sequence[Mapping[int, int]]) -> tuple[Array, Array]:
    """Return the addresses of kernels and parts by their numbers, of those that a plan's rows of numbers need.

    What has not been compiled yet is compiled here.
    """
    kernels, parts = np.zeros(len(KERNELS), np.int64), np.zeros(len(PARTS), np.int64)
    for number in sorted(set().union(*map(parts_of, rows))):
        parts[number] = PARTS[number].address
    for number in sorted({row[KERNEL] for row in rows}):
        kernels[number] = KERNELS[number].address
    return kernels, parts


@shared
def next_item(counters, index, items, number):  # type: ignore[no-untyped-def]
    """Take an item and return its number, or -1 where all are taken."""
    taken = atomic_add(counters, index, FROM_BACK if number & 1 else 1)
    front, back = taken & (FROM_BACK - 1), taken >> 32
    if front + back >= items:
        return -1
    return items - 1 - back if number & 1 else front


@shared
def wait_for(counters, index, count):  # type: ignore[no-untyped-def]
    """Return when the counter has reached `count`."""
    spins = 0
    while atomic_load(counters, index) < count:
        spins += 1
        if spins > SPINS:
            give_way()


@shared
def wait_up_to(counters, steps, first, last):  # type: ignore[no-untyped-def]
    """Return when steps first..last are done, all included, the number of the next one."""
    while first <= last:
        wait_for(counters, first * COUNTERS + DONE, steps[first, ITEMS])
        first += 1
    return first


@jit.kernel
def walk(  # type: ignore[no-untyped-def]
    first, last, steps, kernels, x, w, tables, out, image, parts, counters, scratch, number
):
    """Do whatever is left to do of steps first..last, and return when all of it is done.

    Parameters
    ----------
    steps : (S, WIDTH) int64
    kernels, parts : (...,) int64
        As :func:`machine_code` gives them.
    x, w : (...,) float32
        The arena and the packed weights.
    tables : (...,) int64
    out, image : (...,) float32
        The network's outputs and input.
    counters : (S * COUNTERS,) int64
        All zero before the first thread begins.
    scratch : int
        Where this thread's own part of the arena begins.
    number : int
        This thread's; odd ones begin with the last item.
    """
    m = Memory(
        address(x, 0), address(w, 0), address(tables, 0), address(out, 0), address(image, 0), address(parts, 0), scratch
    )  # fmt: skip
    waited = first
    for index in range(first, last):
        s = address(steps, index * WIDTH)
        waited = wait_up_to(counters, steps, waited, s[AFTER])
        items, base, done = s[ITEMS], index * COUNTERS, 0
        item = next_item(counters, base + TAKEN, items, number)
        while item >= 0:
            _run_item(kernels[s[KERNEL]], (s, item, m))
            done += 1
            item = next_item(counters, base + TAKEN, items, number)
        if done > 0:
            atomic_add(counters, base + DONE, done)
    wait_up_to(counters, steps, waited, last - 1)
