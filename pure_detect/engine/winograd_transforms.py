"""Winograd's one-dimensional transforms of vectors, by interpolation at 0, a, -a, b, -b and infinity.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), give F(2, 3) and F(4, 3): m outputs of a
three-tap filter from m + 2 products, y = A^T [(G g) * (B^T d)]. For F(4, 3) they take the points 1, -1, 2, -2; here
they are sqrt(1/2), -sqrt(1/2), sqrt(2), -sqrt(2), which cost the same and round less, since the factors are of one
size. G holds the points' powers alone; what it is divided by elsewhere stands in B^T.

With stride 2, y[i] = g[0] d[2 i] + g[2] d[2 i + 2] + g[1] d[2 i + 1] is a filter of two taps over the even inputs and
one of one tap over the odd ones (Huang et al., "DWM: A Decomposable Winograd Method", 2020). The first is F(4, 2), by
interpolation at the same points without 0. The second is the same with a second tap of 0, so that its factor is g[1] at
every finite point and 0 at infinity: four products. Both have one A^T, and their products are summed before it. That
makes 5 + 4 products for four outputs instead of 12.

They are emitted as LLVM instructions, as `tiles.py` does and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from pure_detect.engine.simd import (
    INDEX,
    LANES,
    LLVM_VECTOR,
    VECTOR,
    emit_broadcast,
    emit_clamp,
    emit_fma,
    emit_load,
    emit_store,
    pointer_to,
)

A, B = np.sqrt(0.5), np.sqrt(2.0)  # the points; A A = 1/2, B B = 2, A B = 1
N_A, N_B = -2 / 3, 1 / 6  # 1 / product of p - q over the other points q

# All tables go by how many inputs a tile advances: 2 and 4 are F(2, 3) and F(4, 3), 8 is F(4, 3) with stride 2.
FILTERS: dict[int, NDArray[np.float64]] = {  # G
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array([[1, 0, 0], *([1, p, p * p] for p in (A, -A, B, -B)), [0, 0, 1]]),
    8: np.array([*([1, 0, p] for p in (A, -A, B, -B)), [0, 0, 1], [0, 1, 0]]),
}


def _constant(number: float) -> Any:
    return ir.Constant(LLVM_VECTOR, [float(np.float32(number))] * LANES)


def _times(b: Any, value: Any, factor: float) -> Any:
    return b.fmul(value, _constant(factor))


def _plus_times(b: Any, a: Any, factor: float, c: Any) -> Any:
    """Emit a + factor * c."""
    return emit_fma(b, _constant(factor), c, a)


def _pair(b: Any, even: Any, odd: Any) -> tuple[Any, Any]:
    return b.fadd(even, odd), b.fsub(even, odd)


def _input_4(b: Any, d: list[Any]) -> tuple[Any, ...]:
    """Emit B^T d of F(4, 3)."""
    even_a, odd_a = _plus_times(b, d[4], -2, d[2]), _plus_times(b, d[3], -2, d[1])
    even_b, odd_b = _plus_times(b, d[4], -0.5, d[2]), _plus_times(b, d[3], -0.5, d[1])
    return (
        _plus_times(b, b.fadd(d[0], d[4]), -2.5, d[2]),
        *_pair(b, _times(b, even_a, N_A), _times(b, odd_a, N_A * A)),
        *_pair(b, _times(b, even_b, N_B), _times(b, odd_b, N_B * B)),
        _plus_times(b, b.fadd(d[1], d[5]), -2.5, d[3]),
    )


def _filter_4(b: Any, g: list[Any]) -> tuple[Any, ...]:
    """Emit G g of F(4, 3)."""
    pairs = [_pair(b, _plus_times(b, g[0], p * p, g[2]), _times(b, g[1], p)) for p in (A, B)]
    return g[0], *pairs[0], *pairs[1], g[2]


def _output_4(b: Any, m: list[Any]) -> tuple[Any, ...]:
    """Emit A^T m of F(4, 3)."""
    (even_a, odd_a), (even_b, odd_b) = _pair(b, m[1], m[2]), _pair(b, m[3], m[4])
    return (
        b.fadd(b.fadd(m[0], even_a), even_b),
        _plus_times(b, _times(b, odd_b, B), A, odd_a),
        _plus_times(b, _times(b, even_b, 2), 0.5, even_a),
        _plus_times(b, _plus_times(b, m[5], B**3, odd_b), A**3, odd_a),
    )


def _input_8(b: Any, d: list[Any]) -> tuple[Any, ...]:
    """Emit B^T d of F(4, 2) for even and odd inputs, point by point; at infinity there are even ones only."""
    even, odd = _at_finite_points(b, d[0::2]), _at_finite_points(b, d[1::2])
    infinity = _plus_times(b, b.fadd(d[0], d[8]), -2.5, d[4])
    return *(value for both in zip(even, odd) for value in both), infinity


def _at_finite_points(b: Any, d: list[Any]) -> list[Any]:
    """Emit B^T d of F(4, 2) at A, -A, B and -B, but for the factors N_A A and N_B B, which `_output_8` makes good."""
    values = []
    for p, other_square in ((A, -2.0), (B, -0.5)):
        even, odd = _plus_times(b, d[2], other_square, d[0]), _plus_times(b, d[3], other_square, d[1])
        values += [_plus_times(b, odd, p, even), _plus_times(b, b.fneg(odd), p, even)]
    return values


def _filter_8(b: Any, g: list[Any]) -> tuple[Any, ...]:
    """Emit G g of F(4, 2) for the outer taps, then the middle one."""
    pairs = [_pair(b, g[0], _times(b, g[2], p)) for p in (A, B)]
    return *pairs[0], *pairs[1], g[2], g[1]


def _output_8(b: Any, m: list[Any]) -> tuple[Any, ...]:
    """Emit A^T m of F(4, 2), with the factors that `_at_finite_points` leaves out."""
    (even_a, odd_a), (even_b, odd_b) = _pair(b, m[0], m[1]), _pair(b, m[2], m[3])
    n_a, n_b = N_A * A, N_B * B
    return (
        _plus_times(b, _times(b, even_b, n_b), n_a, even_a),
        _plus_times(b, _times(b, odd_b, n_b * B), n_a * A, odd_a),
        _plus_times(b, _times(b, even_b, n_b * B**2), n_a * A**2, even_a),
        _plus_times(b, _plus_times(b, m[4], n_b * B**3, odd_b), n_a * A**3, odd_a),
    )


def _input_2(b: Any, d: list[Any]) -> tuple[Any, ...]:
    """Emit B^T d of F(2, 3)."""
    return b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[3], d[1])


def _filter_2(b: Any, g: list[Any]) -> tuple[Any, ...]:
    """Emit G g of F(2, 3)."""
    return g[0], *_pair(b, _times(b, b.fadd(g[0], g[2]), 0.5), _times(b, g[1], 0.5)), g[2]


def _output_2(b: Any, m: list[Any]) -> tuple[Any, ...]:
    """Emit A^T m of F(2, 3)."""
    even, odd = _pair(b, m[1], m[2])
    return b.fadd(m[0], even), b.fadd(odd, m[3])


INPUT = {2: (_input_2, 4), 4: (_input_4, 6), 8: (_input_8, 9)}  # transforms, and how many vectors they take
FILTER = {2: (_filter_2, 3), 4: (_filter_4, 3), 8: (_filter_8, 3)}
OUTPUT = {2: (_output_2, 4), 4: (_output_4, 6), 8: (_output_8, 5)}
OUTPUTS = {2: 2, 4: 4, 8: 4}  # m
Transform = tuple[Callable[[Any, list[Any]], tuple[Any, ...]], int]


def _emit_loop(b: Any, count: Any, pointers: list[tuple[Any, Any]], body: Any) -> None:
    """Emit `body(*pointers)` `count` > 0 times, the pointers each moved on by a distance of its own."""
    before, loop, done = b.block, b.append_basic_block("transform"), b.append_basic_block("transformed")
    b.branch(loop)
    b.position_at_end(loop)
    i, now = b.phi(INDEX), [b.phi(pointer.type) for pointer, _ in pointers]
    body(*now)
    after = b.add(i, INDEX(1))
    i.add_incoming(INDEX(0), before)
    i.add_incoming(after, loop)
    for phi, (first, distance) in zip(now, pointers):
        phi.add_incoming(first, before)
        phi.add_incoming(b.gep(phi, [distance]), loop)
    b.cbranch(b.icmp_signed("<", after, count), loop, done)
    b.position_at_end(done)


def _emit_cases(b: Any, number: Any, cases: dict[int, Any]) -> None:
    """Emit a choice of what to do by a number."""
    end = b.append_basic_block("end")
    choice = b.switch(number, end)
    for key, emit in cases.items():
        case = b.append_basic_block(f"case{key}")
        choice.add_case(INDEX(key), case)
        b.position_at_end(case)
        emit()
        b.branch(end)
    b.position_at_end(end)


def _emit_transformed(b: Any, transform: Transform, source: Any, step: Any) -> tuple[Any, ...]:
    """Emit the loading of a transform's inputs, `step` apart, and the transform."""
    emit, inputs = transform
    return emit(b, [emit_load(b, b.gep(source, [b.mul(step, INDEX(k))])) for k in range(inputs)])


def _one_dimension(transforms: Mapping[int, Transform]) -> Any:
    """Return the intrinsic of a transform.

    It is called as

        transform(advance, count, w, source, source_step, source_next, x, target, target_step, target_next)

    and does the transform `count` times, from `w` to `x`. Its inputs begin at `source` and are `source_step` apart, and
    `source_next` further on for the next time; likewise the outputs.
    """

    @intrinsic
    def transform(  # type: ignore[no-untyped-def]
        typingctx, advance, count, w, source, source_step, source_next, x, target, target_step, target_next
    ):
        n = types.intp
        signature = types.void(n, n, w, n, n, n, x, n, n, n)

        def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
            advance, count, w, source, source_step, source_next, x, target, target_step, target_next = args
            pointers = [
                (pointer_to(context, b, sig.args[2], w, source), source_next),
                (pointer_to(context, b, sig.args[6], x, target), target_next),
            ]

            def case(one):  # type: ignore[no-untyped-def]
                def body(source, target):  # type: ignore[no-untyped-def]
                    for k, value in enumerate(_emit_transformed(b, one, source, source_step)):
                        emit_store(b, value, b.gep(target, [b.mul(target_step, INDEX(k))]))

                return lambda: _emit_loop(b, count, pointers, body)

            _emit_cases(b, advance, {key: case(one) for key, one in transforms.items()})
            return context.get_dummy_value()

        return signature, codegen

    return transform


transform_input = _one_dimension(INPUT)
transform_filter = _one_dimension(FILTER)
transform_output = _one_dimension(OUTPUT)


@intrinsic
def transform_to_pixels(  # type: ignore[no-untyped-def]
    typingctx, advance, x, source, target, row, bias, slope, highest, r, r_row
):
    """Do the output's second transform, of m rows of vectors from `source` on, and write m x m pixels.

    To each the bias is added, then it is clamped, then, unless r < 0, the pixel of the map at `r` is added.
    """
    n = types.intp
    signature = types.void(n, x, n, n, n, VECTOR, types.float32, types.float32, n, n)

    def codegen(context, b, sig, args):  # type: ignore[no-untyped-def]
        advance, x, source, target, row, bias, slope, highest, r, r_row = args
        slope, highest = emit_broadcast(b, slope), emit_broadcast(b, highest)
        source, target, added = (pointer_to(context, b, sig.args[1], x, at) for at in (source, target, r))

        def case(transform, m, adds):  # type: ignore[no-untyped-def]
            def body(source, target, added):  # type: ignore[no-untyped-def]
                for k, value in enumerate(_emit_transformed(b, transform, source, INDEX(LANES))):
                    value = b.fadd(value, bias)
                    value = emit_clamp(b, value, slope, highest)
                    if adds:
                        value = b.fadd(value, emit_load(b, b.gep(added, [INDEX(k * LANES)])))
                    emit_store(b, value, b.gep(target, [INDEX(k * LANES)]))

            pointers = [(source, INDEX(transform[1] * LANES)), (target, row), (added, r_row)]
            return lambda: _emit_loop(b, INDEX(m), pointers, body)

        adds = b.zext(b.icmp_signed(">=", r, INDEX(0)), INDEX)
        cases = {2 * key + yes: case(OUTPUT[key], OUTPUTS[key], bool(yes)) for key in OUTPUT for yes in (0, 1)}
        _emit_cases(b, b.add(b.mul(advance, INDEX(2)), adds), cases)
        return context.get_dummy_value()

    return signature, codegen
