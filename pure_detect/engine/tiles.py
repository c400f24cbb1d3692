"""The inner loops of the hot kernels, unrolled over the registers that the processor has.

They are emitted as LLVM instructions: written out in Python they would be hundreds of lines for every shape, and source
made at run time cannot be kept in Numba's cache.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pure_detect.engine.simd import (
    INDEX,
    LANES,
    LLVM_INTEGERS,
    LLVM_VECTOR,
    emit_broadcast,
    emit_clamp,
    emit_fma,
    emit_hard_swish,
    emit_load,
    emit_store,
    pointer_to,
)
from pure_detect.engine.step import HARD_SWISH


@cache
def register_tiles(shapes: tuple[tuple[int, int], ...], unroll: int, step: int | None = None) -> Any:
    """Return the inner loop of every matrix product: rows x vectors sums that stay in registers.

    The intrinsic is called as

        tile(vectors, rows, x, start, step, table, first, count, w, w_start, bias, y, y_start, y_block,
             activation, slope, highest)

    where (vectors, rows) is one of `shapes`, and computes, for rows m and lanes of the vectors v,

        y[y_start + m * LANES + v * y_block] = clamp(w[bias + v * LANES] + sum over t < count, u < unroll of
            x[start + m * step + table[first + t] + u] * w[w_start + ((t * unroll + u) * vectors + v) * LANES])

    with clamp(a) = min(max(a, slope * a), highest), leaky ReLU, ReLU and ReLU6, or hard swish where that is the
    activation. The table of offsets is what makes one loop serve all convolutions: its entries walk over kernel rows,
    kernel columns and channels. Where the `step` is known beforehand one register serves all rows in place of one each.
    """
    known_step = step

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typingctx, vectors, rows, x, start, step, table, first, count, w, w_start, bias, y, y_start, y_block,
        activation, slope, highest,
    ):  # fmt: skip
        n = types.intp
        signature = types.void(n, n, x, n, n, table, n, n, w, n, n, y, n, n, n, types.float32, types.float32)

        def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
            _, _, x, start, step, table, first, count, w, w_start, bias, y, y_start, y_block, *limit = args
            at = TileAddresses(
                pointer_to(context, b, sig.args[2], x, start),
                step if known_step is None else INDEX(known_step),
                pointer_to(context, b, sig.args[5], table, first),
                count,
                pointer_to(context, b, sig.args[8], w, w_start),
                pointer_to(context, b, sig.args[8], w, bias),
                pointer_to(context, b, sig.args[11], y, y_start),
                y_block,
                Limit.of(b, *limit),
            )
            end = b.append_basic_block("end")
            choice = b.switch(b.add(b.mul(args[0], INDEX(64)), args[1]), end)
            for rows, vectors in shapes:
                case = b.append_basic_block(f"tile{rows}x{vectors}")
                choice.add_case(INDEX(vectors * 64 + rows), case)
                b.position_at_end(case)
                _emit_tile(b, rows, vectors, unroll, at)
                b.branch(end)
            b.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return tile


class Limit(NamedTuple):
    """The LLVM values of what tiles do with their sums: the clamp's two numbers, as vectors, and two conditions."""

    slope: Any
    highest: Any
    is_clamp: Any
    is_hard_swish: Any

    @classmethod
    def of(cls, b: Any, activation: Any, slope: Any, highest: Any) -> Limit:
        """Emit whether slope and highest value change anything, and whether it is hard swish."""
        one, infinity = ir.Constant(slope.type, 1.0), ir.Constant(slope.type, float("inf"))
        is_clamp = b.or_(b.fcmp_ordered("!=", slope, one), b.fcmp_ordered("!=", highest, infinity))
        is_hard_swish = b.icmp_signed("==", activation, INDEX(HARD_SWISH))
        return cls(emit_broadcast(b, slope), emit_broadcast(b, highest), is_clamp, is_hard_swish)


class TileAddresses(NamedTuple):
    """The LLVM values that a tile is emitted from; pointers to float32, distances in elements."""

    x: Any
    step: Any
    table: Any
    count: Any
    weights: Any
    bias: Any
    y: Any
    y_block: Any
    limit: Limit


def _emit_tile(b: Any, rows: int, vectors: int, unroll: int, at: TileAddresses) -> None:
    """Emit the loop over the table with its rows x vectors sums, then the clamp and the stores."""
    starts = [emit_load(b, b.gep(at.bias, [INDEX(v * LANES)])) for v in range(vectors)]
    before, loop, done = b.block, b.append_basic_block("sum"), b.append_basic_block("store")
    b.branch(loop)
    b.position_at_end(loop)
    t, weights = b.phi(INDEX), b.phi(at.weights.type)
    sums = [[b.phi(LLVM_VECTOR) for _ in range(vectors)] for _ in range(rows)]
    offset = b.load(b.gep(at.table, [t]))
    source = b.gep(at.x, [offset])
    sources = [b.gep(source, [b.mul(at.step, INDEX(m))]) for m in range(rows)]
    new: list[list[Any]] = [list(row) for row in sums]
    for u in range(unroll):
        columns = [emit_load(b, b.gep(weights, [INDEX((u * vectors + v) * LANES)])) for v in range(vectors)]
        for m in range(rows):
            value = emit_broadcast(b, b.load(b.gep(sources[m], [INDEX(u)])))
            new[m] = [emit_fma(b, value, column, total) for column, total in zip(columns, new[m])]
    after, weights_after = b.add(t, INDEX(1)), b.gep(weights, [INDEX(unroll * vectors * LANES)])
    phis = [(t, INDEX(0), after), (weights, at.weights, weights_after)]
    phis += [(sums[m][v], starts[v], new[m][v]) for m in range(rows) for v in range(vectors)]
    for phi, first, following in phis:
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", after, at.count), loop, done)

    b.position_at_end(done)
    pixels = [b.gep(at.y, [INDEX(m * LANES)]) for m in range(rows)]
    targets = [b.gep(pixel, [b.mul(at.y_block, INDEX(v))]) for pixel in pixels for v in range(vectors)]
    _emit_stores(b, at.limit, [value for row in new for value in row], targets)


def _emit_stores(b: Any, limit: Limit, values: list[Any], targets: list[Any]) -> None:
    """Emit the stores of some vectors thrice, and the choice between them: as they are, clamped, with hard swish."""
    plain, clamp, hard, other, end = (b.append_basic_block(n) for n in ("plain", "clamp", "hard", "other", "stored"))
    b.cbranch(limit.is_clamp, clamp, other)
    b.position_at_end(other)
    b.cbranch(limit.is_hard_swish, hard, plain)
    for block in (plain, clamp, hard):
        b.position_at_end(block)
        for value, target in zip(values, targets):
            if block is clamp:
                value = emit_clamp(b, value, limit.slope, limit.highest)
            elif block is hard:
                value = emit_hard_swish(b, value)
            emit_store(b, value, target)
        b.branch(end)
    b.position_at_end(end)


@cache
def depthwise_tiles(shapes: tuple[tuple[int, int, int], ...]) -> Any:
    """Return the inner loop of depthwise convolutions: neighbouring output columns that share the loads of a row.

    The intrinsic is called as

        tile(kernel, stride, columns, x, start, row, w, w_start, bias, y, y_start, activation, slope, highest)

    where (kernel, stride, columns) is one of `shapes`, and computes, for output columns c and every lane,

        y[y_start + c * LANES] = clamp(w[bias] + sum over i, j < kernel of
            x[start + i * row + (c * stride + j) * LANES] * w[w_start + (i * kernel + j) * LANES])
    """

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typingctx, kernel, stride, columns, x, start, row, w, w_start, bias, y, y_start, activation, slope, highest
    ):
        n = types.intp
        signature = types.void(n, n, n, x, n, n, w, n, n, y, n, n, types.float32, types.float32)

        def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
            kernel, stride, columns, x, start, row, w, w_start, bias, y, y_start, *limit = args
            first = emit_load(b, pointer_to(context, b, sig.args[6], w, bias))
            x_start = pointer_to(context, b, sig.args[3], x, start)
            weights = pointer_to(context, b, sig.args[6], w, w_start)
            y_start = pointer_to(context, b, sig.args[9], y, y_start)
            limit = Limit.of(b, *limit)
            end = b.append_basic_block("end")
            key = b.add(b.mul(b.add(b.mul(kernel, INDEX(8)), stride), INDEX(64)), columns)
            choice = b.switch(key, end)
            for k, s, c in shapes:
                case = b.append_basic_block(f"depthwise{k}x{k}s{s}c{c}")
                choice.add_case(INDEX((k * 8 + s) * 64 + c), case)
                b.position_at_end(case)
                sums = _emit_depthwise(b, k, s, c, x_start, row, weights, first)
                _emit_stores(b, limit, sums, [b.gep(y_start, [INDEX(column * LANES)]) for column in range(c)])
                b.branch(end)
            b.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _emit_depthwise(
    b: Any, kernel: int, stride: int, columns: int, x: Any, row: Any, weights: Any, first: Any
) -> list[Any]:
    """Emit the loop over kernel rows; each input vector is loaded once a row and used by every column that sees it."""
    before, loop, done = b.block, b.append_basic_block("row"), b.append_basic_block("store")
    b.branch(loop)
    b.position_at_end(loop)
    i, source, weight = b.phi(INDEX), b.phi(x.type), b.phi(weights.type)
    sums = [b.phi(LLVM_VECTOR) for _ in range(columns)]
    factors = [emit_load(b, b.gep(weight, [INDEX(j * LANES)])) for j in range(kernel)]
    new: list[Any] = list(sums)
    for p in range((columns - 1) * stride + kernel):
        users = [(c, p - c * stride) for c in range(columns) if 0 <= p - c * stride < kernel]
        if users:
            value = emit_load(b, b.gep(source, [INDEX(p * LANES)]))
            for c, j in users:
                new[c] = emit_fma(b, value, factors[j], new[c])
    after = b.add(i, INDEX(1))
    phis = [(i, INDEX(0), after), (source, x, b.gep(source, [row]))]
    phis += [(weight, weights, b.gep(weight, [INDEX(kernel * LANES)]))]
    phis += [(total, first, value) for total, value in zip(sums, new)]
    for phi, start, following in phis:
        phi.add_incoming(start, before)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", after, INDEX(kernel)), loop, done)
    b.position_at_end(done)
    return new


def _transposed_store(past_cache: bool) -> Any:
    """Return the intrinsic that sets y[y_start + l * y_row + i] = x[at + i * LANES + l] for all i, l < LANES.

    Past the cache go whole lines at addresses that are multiples of a line.
    """

    @intrinsic
    def store_transposed(typingctx, x, at, y, y_start, y_row):  # type: ignore[no-untyped-def]
        n = types.intp

        def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
            source = pointer_to(context, b, sig.args[0], *args[:2])
            target = pointer_to(context, b, sig.args[2], *args[2:4])
            rows = _emit_transposed(b, [emit_load(b, b.gep(source, [INDEX(i * LANES)])) for i in range(LANES)])
            for i, row in enumerate(rows):
                stored = emit_store(b, row, b.gep(target, [b.mul(args[4], INDEX(i))]))
                if past_cache:
                    stored.align = 4 * LANES
                    stored.set_metadata("nontemporal", b.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
            return context.get_dummy_value()

        return types.void(x, n, y, n, n), codegen

    return store_transposed


def _emit_transposed(b: Any, rows: list[Any]) -> list[Any]:
    """Emit the transposition of LANES vectors: exchange ever smaller quarters between pairs of rows."""
    half = LANES // 2
    while half:
        for i in range(LANES):
            if i & half:
                continue
            upper, lower = rows[i], rows[i + half]
            first = [k if not k & half else LANES + k - half for k in range(LANES)]
            second = [k + half if not k & half else LANES + k for k in range(LANES)]
            rows[i] = b.shuffle_vector(upper, lower, ir.Constant(LLVM_INTEGERS, first))
            rows[i + half] = b.shuffle_vector(upper, lower, ir.Constant(LLVM_INTEGERS, second))
        half //= 2
    return rows


store_transposed = _transposed_store(past_cache=False)
store_transposed_past_cache = _transposed_store(past_cache=True)
