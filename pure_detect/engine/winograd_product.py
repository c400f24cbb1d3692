"""The inner loop of Winograd's method: many small matrix products whose sums stay in registers.

Emitted as LLVM instructions for the reason that `tiles.py` gives. It differs from the tile there in that its inputs
have just been laid out by the transform, so every address is one pointer and a constant.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pure_detect.engine.layout import LINE
from pure_detect.engine.simd import (
    INDEX,
    ISA,
    LANES,
    LLVM_VECTOR,
    emit_broadcast,
    emit_fma,
    emit_load,
    emit_prefetch,
    emit_store,
    pointer_to,
)

FEW_REGISTERS = ISA.registers == 16
ROWS = 6 if FEW_REGISTERS else 7  # tiles of the largest product
AHEAD = max(1, LANES * LANES // 64) * LINE  # float32 that are asked for with each block of input channels
WIDTHS = (2,) if FEW_REGISTERS else (2, 4)  # vectors of output channels that a panel of weights can have


@intrinsic
def product(typingctx, rows, vectors, x, v, count, w, u, m, goes_on, v_next, asked, ahead, ahead_step):  # type: ignore[no-untyped-def]
    """Multiply `rows` <= ROWS tiles with a panel of `vectors` vectors of output channels, one of WIDTHS.

    For tiles r, vectors k and every lane,

        x[m + (r * vectors + k) * LANES] = (the same if goes_on else 0) + sum over c < count, i < LANES of
            x[v + (c * rows + r) * LANES + i] * w[u + ((c * LANES + i) * vectors + k) * LANES]

    so `v` has input channels in blocks of LANES, each block with all its tiles. The tiles at `v_next` are asked for, so
    that they are in the second-level cache for the next product; and for each block some lines of cache of
    `asked`, AHEAD numbers from `ahead` on, are asked for, which is then moved on by `ahead_step`.
    """
    n = types.intp
    signature = types.void(n, n, x, n, n, w, n, n, types.boolean, n, asked, n, n)

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        rows, vectors, x, v, count, w, u, m, goes_on, v_next, asked, ahead, ahead_step = args
        v_start, m_start = (pointer_to(context, b, sig.args[2], x, at) for at in (v, m))
        v_next = pointer_to(context, b, sig.args[2], x, v_next)
        u_start = pointer_to(context, b, sig.args[5], w, u)
        ahead = pointer_to(context, b, sig.args[10], asked, ahead)
        goes_on = b.trunc(goes_on, ir.IntType(1)) if goes_on.type != ir.IntType(1) else goes_on
        end = b.append_basic_block("end")
        choice = b.switch(b.add(b.mul(vectors, INDEX(64)), rows), end)
        for width in WIDTHS:
            for height in range(1, ROWS + 1):
                case = b.append_basic_block(f"product{height}x{width}")
                choice.add_case(INDEX(width * 64 + height), case)
                b.position_at_end(case)
                _emit_product(b, height, width, v_start, count, u_start, m_start, goes_on, v_next, (ahead, ahead_step))
                b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


def _emit_product(
    b: Any, rows: int, vectors: int, v: Any, count: Any, u: Any, m: Any, goes_on: Any, v_next: Any,
    ahead: tuple[Any, Any],
) -> None:  # fmt: skip
    """Emit the loop over blocks of input channels, and the stores."""
    zero = ir.Constant(LLVM_VECTOR, [0.0] * LANES)
    targets = [b.gep(m, [INDEX(i * LANES)]) for i in range(rows * vectors)]
    starts = [b.select(goes_on, emit_load(b, target), zero) for target in targets]
    before, loop, done = b.block, b.append_basic_block("sum"), b.append_basic_block("store")
    b.branch(loop)
    b.position_at_end(loop)
    c, source, weights, asked, following_source = (b.phi(kind) for kind in (INDEX, v.type, u.type, u.type, v.type))
    sums = [b.phi(LLVM_VECTOR) for _ in starts]
    new: list[Any] = list(sums)
    for i in range(LANES):
        factors = [emit_load(b, b.gep(weights, [INDEX((i * vectors + k) * LANES)])) for k in range(vectors)]
        for r in range(rows):
            value = emit_broadcast(b, b.load(b.gep(source, [INDEX(r * LANES + i)])))
            for k, factor in enumerate(factors):
                new[r * vectors + k] = emit_fma(b, value, factor, new[r * vectors + k])
    for line in range(0, AHEAD, LINE):
        emit_prefetch(b, b.gep(asked, [INDEX(line)]))
    for line in range(0, rows * LANES, LINE):
        emit_prefetch(b, b.gep(following_source, [INDEX(line)]))
    after = b.add(c, INDEX(1))
    phis = [(c, INDEX(0), after), (source, v, b.gep(source, [INDEX(rows * LANES)]))]
    phis += [(following_source, v_next, b.gep(following_source, [INDEX(rows * LANES)]))]
    phis += [(asked, ahead[0], b.gep(asked, [ahead[1]]))]
    phis += [(weights, u, b.gep(weights, [INDEX(LANES * vectors * LANES)])), *zip(sums, starts, new)]
    for phi, first, following in phis:
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", after, count), loop, done)
    b.position_at_end(done)
    for target, value in zip(targets, new):
        emit_store(b, value, target)
