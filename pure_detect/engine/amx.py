"""Matrix products on the tile registers that some processors have (AMX), on float32 taken apart into three bfloat16.

A tile register holds 16 rows of 64 bytes. One instruction multiplies 16 pixels x 32 channels of bfloat16 with 32 x 16
weights and adds to 16 x 16 float32 sums; in the same time vectors do a sixteenth of that. bfloat16 has eight bits of a
number's 24, and a float32 is exactly the sum of three of them, x = x0 + x1 + x2. Of the nine products of two such sums
six are computed; the three others come to 2^-27 of the whole on the average and to 2^-22 at most. Measured, results are
off by half of what sums of float32 products on vectors are, at 16 / 6 of their speed at best. A core's two
hardware threads share the tiles: beside a busy neighbour less is left than vectors do, so one has to ask for them.
Numbers below 2^-126 count as zero, and an infinity becomes NaN.

Taken apart, values lie in float32 memory as words of two bfloat16. Of two blocks of channels a word has the same lane
of both, in three parts after one another (a pair); of a single block a word has two parts of the same lane.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and TDPBF16PS in volume 2.
The same decomposition: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
Higher-Precision Computations", 2019.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

from pure_detect.engine.simd import (
    INDEX,
    LANES,
    LLVM_INTEGERS,
    LLVM_VECTOR,
    VECTOR,
    cpu_features,
    emit_store,
    pointer_to,
)

ROWS = 16  # of a tile register
TILE = ROWS * LANES  # float32 that it holds
PARTS = 3
PIXEL = PARTS * LANES  # float32 from one pixel of what is taken apart to the next
WEIGHT_TILES = 3  # of a stage: the weights of a pair of blocks of input channels, or of a single one
SHAPES = ((2, 2), (1, 2), (3, 1), (2, 1), (1, 1))  # (tiles of pixels, blocks of output channels) of a product
MOST_TILES = 4  # of pixels, less the blocks of output channels
# Registers; the fourth sum's is free where three tiles of pixels need one each.
SUMS, PIXELS, WEIGHTS = (0, 1, 2, 3), (3, 4, 5), (6, 7)
# Which tile of pixels is multiplied with which one of weights; neighbours share one of them.
PAIR_PRODUCTS = ((0, 2), (0, 1), (1, 1), (1, 0), (0, 0), (2, 0))
SINGLE_PRODUCTS = ((1, 2), (0, 1), (0, 0))
UPPER, HALF = 0xFFFF0000, 0x8000  # the bits of a float32 that a bfloat16 has, and half of its last place

BYTE, NOTHING = ir.IntType(8), ir.VoidType()
BYTES = BYTE.as_pointer()


@functools.cache
def is_available() -> bool:
    """Tell whether the processor that Numba compiles for has tile registers, and the system lets us use them.

    `NUMBA_CPU_NAME`, which asks for another processor, is taken to mean one without.
    """
    has = set(cpu_features().split(","))
    return config.CPU_NAME is None and LANES == ROWS and {"+amx-tile", "+amx-bf16"} <= has and _is_permitted()


def _is_permitted() -> bool:
    """Ask Linux for the memory in which it keeps a thread's tiles when another one runs (arch_prctl(2))."""
    if sys.platform != "linux":
        return False
    request, tile_data, system_call = 0x1023, 18, 158
    return bool(ctypes.CDLL(None).syscall(system_call, request, tile_data) == 0)


def apart(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the three parts of numbers, (3, ...), each in the upper half of a word."""
    first = (values.view(np.uint32) + np.uint32(HALF)) & np.uint32(UPPER)
    rest = values - first.view(np.float32)
    second = rest.view(np.uint32) & np.uint32(UPPER)
    third = rest - second.view(np.float32)
    return np.stack([first, second, third.view(np.uint32)])


def words(lower: NDArray[np.uint32], upper: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return words of two bfloat16, each given in the upper half of a word."""
    return ((lower >> np.uint32(16)) | (upper & np.uint32(UPPER))).view(np.float32)


def _emit_apart(b: Any, value: Any) -> list[Any]:
    """Emit the three parts of a vector, as :func:`apart` gives them."""

    def every(number: int) -> Any:
        return ir.Constant(LLVM_INTEGERS, [number] * LANES)

    def less(value: Any, part: Any) -> Any:
        return b.fsub(value, b.bitcast(part, LLVM_VECTOR))

    first = b.and_(b.add(b.bitcast(value, LLVM_INTEGERS), every(HALF)), every(UPPER))
    rest = less(value, first)
    second = b.and_(b.bitcast(rest, LLVM_INTEGERS), every(UPPER))
    return [first, second, b.bitcast(less(rest, second), LLVM_INTEGERS)]


def _emit_words(b: Any, lower: Any, upper: Any) -> Any:
    """Emit what :func:`words` returns."""
    sixteen, mask = (ir.Constant(LLVM_INTEGERS, [number] * LANES) for number in (16, UPPER))
    return b.bitcast(b.or_(b.lshr(lower, sixteen), b.and_(upper, mask)), LLVM_VECTOR)


@intrinsic
def store_pair(typingctx, first, second, out, at):  # type: ignore[no-untyped-def]
    """Set out[at + k * LANES : ... + LANES] to the words of part k < 3 of two vectors."""

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        target = pointer_to(context, b, sig.args[2], *args[2:4])
        for k, (lower, upper) in enumerate(zip(*(_emit_apart(b, value) for value in args[:2]))):
            emit_store(b, _emit_words(b, lower, upper), b.gep(target, [INDEX(k * LANES)]))
        return context.get_dummy_value()

    return types.void(VECTOR, VECTOR, out, types.intp), codegen


@intrinsic
def store_single(typingctx, value, out, at):  # type: ignore[no-untyped-def]
    """Set out[at : at + LANES] to the words of parts 0 and 1 of a vector, and what follows to parts 0 and 2."""

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        target = pointer_to(context, b, sig.args[1], *args[1:3])
        first, *others = _emit_apart(b, args[0])
        for k, other in enumerate(others):
            emit_store(b, _emit_words(b, first, other), b.gep(target, [INDEX(k * LANES)]))
        return context.get_dummy_value()

    return types.void(VECTOR, out, types.intp), codegen


def _emit(b: Any, name: str, *args: Any) -> None:
    kind = ir.FunctionType(NOTHING, [arg.type for arg in args])
    b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.x86.{name}"), args)


@intrinsic
def set_tiles(typingctx, rows):  # type: ignore[no-untyped-def]
    """Set up this thread's tile registers, with so many rows of pixels, or give them back for 0."""

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        with b.if_else(b.icmp_signed("==", args[0], INDEX(0))) as (none, some):
            with none:
                _emit(b, "tilerelease")
            with some:
                layout = cgutils.alloca_once(b, ir.ArrayType(BYTE, 64))
                b.store(ir.Constant(layout.type.pointee, None), layout)
                start = b.bitcast(layout, BYTES)
                pixels = b.trunc(args[0], BYTE)
                b.store(BYTE(1), start)  # the palette
                for register in {*SUMS, *PIXELS, *WEIGHTS}:
                    b.store(BYTE(64), b.gep(start, [INDEX(16 + 2 * register)]))
                    rows = BYTE(ROWS) if register in WEIGHTS else pixels
                    b.store(rows, b.gep(start, [INDEX(48 + register)]))
                _emit(b, "ldtilecfg", start)
        return context.get_dummy_value()

    return types.void(types.intp), codegen


class _Addresses(NamedTuple):
    """The LLVM values that a product is emitted from; pointers to bytes, distances in bytes."""

    sources: list[Any]
    pair: Any
    weights: Any
    w_block: Any
    bias: Any
    targets: list[Any]
    y_block: Any


@intrinsic
def product(  # type: ignore[no-untyped-def]
    typingctx, tiles, blocks, x, source, pair, pairs, singles, starts, w, weights, w_block, bias, target, y_block
):
    """Multiply some tiles of pixels with some blocks of output channels.

    (tiles, blocks) is one of SHAPES. For tiles t, their pixels p, blocks k and every lane,

        x[target + (starts[t] + p) * LANES + k * y_block] = w[bias + k * LANES] + sum over the stages s and their
            products (i, j) of the words at x[source + s * pair + (starts[t] + p) * PIXEL + i * LANES] times
            tile j of the stage's, at w[weights + k * w_block + (s * WEIGHT_TILES + j) * TILE]

    The first `pairs` stages are of pairs of blocks, `singles` more of single ones.
    """
    n = types.intp
    signature = types.void(n, n, x, n, n, n, n, types.UniTuple(n, MOST_TILES - 1), w, n, n, n, n, n)

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        tiles, blocks, x, source, pair, pairs, singles, starts, w, weights, w_block, bias, target, y_block = args

        def bytes_at(kind: Any, array: Any, *terms: Any) -> Any:
            return b.bitcast(pointer_to(context, b, kind, array, functools.reduce(b.add, terms)), BYTES)

        places = cgutils.unpack_tuple(b, starts)
        at = _Addresses(
            [bytes_at(sig.args[2], x, source, b.mul(place, INDEX(PIXEL))) for place in places],
            _bytes(b, pair),
            bytes_at(sig.args[8], w, weights),
            _bytes(b, w_block),
            bytes_at(sig.args[8], w, bias),
            [bytes_at(sig.args[2], x, target, b.mul(place, INDEX(LANES))) for place in places],
            _bytes(b, y_block),
        )
        end = b.append_basic_block("end")
        choice = b.switch(b.add(b.mul(tiles, INDEX(8)), blocks), end)
        for height, width in SHAPES:
            case = b.append_basic_block(f"product{height}x{width}")
            choice.add_case(INDEX(height * 8 + width), case)
            b.position_at_end(case)
            _emit_product(b, height, width, at, pairs, singles)
            b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _bytes(b: Any, floats: Any) -> Any:
    return b.mul(floats, INDEX(4))


def _emit_product(b: Any, tiles: int, blocks: int, at: _Addresses, pairs: Any, singles: Any) -> None:
    """Emit the sums over both kinds of stages, which stay in tile registers, and what is before and behind them."""
    sums = [[BYTE(SUMS[t * blocks + k]) for k in range(blocks)] for t in range(tiles)]
    for t in range(tiles):
        for k in range(blocks):  # a step of 0: all pixels begin with the one row of biases
            _emit(b, "tileloadd64", sums[t][k], b.gep(at.bias, [INDEX(4 * k * LANES)]), INDEX(0))
    _emit_stages(b, sums, at, INDEX(0), pairs, PAIR_PRODUCTS)
    _emit_stages(b, sums, at, pairs, b.add(pairs, singles), SINGLE_PRODUCTS)
    for t in range(tiles):
        for k in range(blocks):
            target = b.gep(at.targets[t], [b.mul(at.y_block, INDEX(k))])
            _emit(b, "tilestored64", sums[t][k], target, INDEX(4 * LANES))


def _emit_stages(
    b: Any, sums: list[list[Any]], at: _Addresses, first: Any, last: Any, products: tuple[tuple[int, int], ...]
) -> None:
    """Emit the loop over stages first..last."""
    before, loop, done = b.block, b.append_basic_block("stage"), b.append_basic_block("stages_done")
    b.cbranch(b.icmp_signed("<", first, last), loop, done)
    b.position_at_end(loop)
    stage = b.phi(INDEX)
    stage.add_incoming(first, before)
    offset = b.mul(at.pair, stage)
    weights = b.gep(at.weights, [b.mul(stage, INDEX(4 * WEIGHT_TILES * TILE))])
    held: dict[int, tuple[int, int]] = {}

    def register(number: int, tile: tuple[int, int], start: Any, distance: int, step: int) -> Any:
        """Return a register that holds a tile; it is loaded if another one is there."""
        if held.get(number) != tile:
            held[number] = tile
            _emit(b, "tileloadd64", BYTE(number), b.gep(start, [INDEX(4 * distance)]), INDEX(4 * step))
        return BYTE(number)

    for i, j in products:
        for t, row in enumerate(sums):
            pixels = PIXELS[-1 - (t if len(sums) > 1 else i % 2)]
            x = register(pixels, (t, i), b.gep(at.sources[t], [offset]), i * LANES, PIXEL)
            for k, total in enumerate(row):
                start = b.gep(weights, [b.mul(at.w_block, INDEX(k))])
                w = register(WEIGHTS[k if len(row) > 1 else j % 2], (k, j), start, j * TILE, LANES)
                _emit(b, "tdpbf16ps", total, x, w)
    after = b.add(stage, INDEX(1))
    stage.add_incoming(after, b.block)
    b.cbranch(b.icmp_signed("<", after, last), loop, done)
    b.position_at_end(done)
