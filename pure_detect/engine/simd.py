"""A small vocabulary of vectors for Numba kernels: what a kernel says is what the processor does.

A vector is an ordinary value of compiled code: `LANES` float32 numbers in one register. Its width and the number of
registers come from the processor that Numba compiles for: 16 lanes and 32 registers with AVX-512, 8 and 16 with AVX2,
4 and 32 with NEON, else 4 and 16. `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another one, for tests.

    v = load(x, i)                  x[i : i + LANES], a one-dimensional float32 array
    store(x, i, v)
    broadcast(number)               the number in every lane
    fma(a, b, c)                    a * b + c, in one instruction where there is one
    a + b, a - b, a * b, a / b, maximum(a, b), minimum(a, b)
    exp(v), sigmoid(v)              e^v and 1 / (1 + e^-v)
    swish_pair(v, w)                v / (1 + e^-v) and w / (1 + e^-w)
    hard_sigmoid(v, sixth)          relu6(v + 3) * sixth
    hard_swish(v)                   v relu6(v + 3) / 6
    lane_sum(v)                     the sum over the lanes

`x` is an array, or the address of its first element: kernels take addresses (`FLOATS`, `INTEGERS`; `address(x, i)` is
that of x[i]), of which scalars are read and written as of arrays. Indices are not checked, and nothing wraps around.
`atomic_add` and `atomic_load` are for the threads. The inner loops that are too long to write out stand in `tiles.py`.
"""

from __future__ import annotations

import operator
import platform
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, overload, register_model

INDEX, FLOAT, INT32 = ir.IntType(64), ir.FloatType(), ir.IntType(32)
BEFORE_AVX512 = ("haswell", "broadwell", "skylake", "znver1", "znver2", "znver3", "x86-64-v3")


class Isa(NamedTuple):
    """What kernels need to know of a processor."""

    name: str
    lanes: int
    registers: int


def isa_of(cpu_name: str, features: str, machine: str) -> Isa:
    """Return the instruction set for LLVM's name of a CPU, its comma-separated features, and the machine's family."""
    has = set(features.split(","))
    if {"+avx512f", "+avx512vl", "+avx512dq"} <= has and cpu_name not in BEFORE_AVX512:
        return Isa("AVX-512", 16, 32)
    if {"+avx2", "+fma"} <= has:
        return Isa("AVX2", 8, 16)
    if machine.lower() in ("aarch64", "arm64"):
        return Isa("NEON", 4, 32)
    return Isa("generic", 4, 16)


def cpu_features() -> str:
    """Return LLVM's names of what the processor that Numba compiles for has and has not."""
    if config.CPU_FEATURES is not None:
        return str(config.CPU_FEATURES)
    return str(binding.get_host_cpu_features().flatten())


ISA = isa_of(config.CPU_NAME or binding.get_host_cpu_name(), cpu_features(), platform.machine())
LANES = ISA.lanes
LLVM_VECTOR = ir.VectorType(FLOAT, LANES)
LLVM_INTEGERS = ir.VectorType(INT32, LANES)


class VectorType(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


VECTOR = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, LLVM_VECTOR)


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a helper of kernels that becomes a part of whatever calls it, before anything is compiled.

    Numba translates every function that is not declared so to machine code on its own, and all that it calls once
    more with it: through five levels of calls the tiles would be compiled five times.
    """
    return numba.njit(inline="always", error_model="numpy", nogil=True)(function)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a helper of kernels that is compiled by itself, and once more with each of them: for what is small."""
    return numba.njit(error_model="numpy", nogil=True)(function)


FLOATS, INTEGERS = types.CPointer(types.float32), types.CPointer(types.int64)


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Emit the address of an element of an array, or of what begins at an address."""
    data = array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def address(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Return the address of an element of a contiguous array."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return pointer_to(context, builder, signature.args[0], *args)

    return types.CPointer(array.dtype)(array, types.intp), codegen


def emit_load(builder: Any, pointer: Any) -> Any:
    """Emit the loading of a vector from a float's address."""
    value = builder.load(builder.bitcast(pointer, LLVM_VECTOR.as_pointer()))
    value.align = 4
    return value


def emit_store(builder: Any, value: Any, pointer: Any) -> Any:
    """Emit the storing of a vector to a float's address; return the instruction."""
    stored = builder.store(value, builder.bitcast(pointer, LLVM_VECTOR.as_pointer()))
    stored.align = 4
    return stored


def emit_broadcast(builder: Any, scalar: Any) -> Any:
    """Emit a vector whose lanes are all one number."""
    undefined = ir.Constant(LLVM_VECTOR, ir.Undefined)
    one = builder.insert_element(undefined, scalar, INT32(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(LLVM_INTEGERS, [0] * LANES))


def emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a * b + c; fmuladd, unlike fma, is never a library call where the processor has no such instruction."""
    return _emit_call(builder, "fmuladd", a, b, c)


def emit_maximum(builder: Any, a: Any, b: Any) -> Any:
    """Emit a where a > b, else b, so NaN in `a` gives `b`."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def emit_minimum(builder: Any, a: Any, b: Any) -> Any:
    """Emit a where a < b, else b."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def emit_clamp(builder: Any, value: Any, slope: Any, highest: Any) -> Any:
    """Emit min(max(value, slope * value), highest); this way round NaN stays NaN."""
    return emit_minimum(builder, highest, emit_maximum(builder, value, builder.fmul(value, slope)))


def emit_hard_sigmoid(builder: Any, value: Any, sixth: Any) -> Any:
    """Emit relu6(value + 3) * sixth."""
    three, zero, six = (emit_broadcast(builder, FLOAT(number)) for number in (3.0, 0.0, 6.0))
    inside = emit_minimum(builder, six, emit_maximum(builder, builder.fadd(value, three), zero))
    return builder.fmul(inside, sixth)


def emit_hard_swish(builder: Any, value: Any) -> Any:
    """Emit value * relu6(value + 3) / 6."""
    sixth = emit_broadcast(builder, FLOAT(float(np.float32(1 / 6))))
    return builder.fmul(value, emit_hard_sigmoid(builder, value, sixth))


def _emit_call(builder: Any, name: str, *vectors: Any) -> Any:
    kind = ir.FunctionType(LLVM_VECTOR, [LLVM_VECTOR] * len(vectors))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32"), vectors)


@intrinsic
def load(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Return array[index : index + LANES]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return emit_load(builder, pointer_to(context, builder, signature.args[0], *args))

    return VECTOR(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, vector):  # type: ignore[no-untyped-def]
    """Set array[index : index + LANES]."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        emit_store(builder, args[2], pointer_to(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), codegen


def emit_prefetch(builder: Any, pointer: Any) -> None:
    """Emit the wish to have a line of memory in the second-level cache soon."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(pointer, byte), number(0), number(2), number(1)])


@intrinsic
def prefetch(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Ask for the line of memory of an element, which need not be one."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        emit_prefetch(builder, pointer_to(context, builder, signature.args[0], *args))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def broadcast(typingctx, number):  # type: ignore[no-untyped-def]
    """Return a float32 in every lane."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return emit_broadcast(builder, args[0])

    return VECTOR(types.float32), codegen


def _operation(vectors: int, emit: Callable[..., Any]) -> Any:
    """Return an intrinsic that takes so many vectors and gives one."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return emit(builder, *args)

    if vectors == 3:
        return intrinsic(lambda typingctx, a, b, c: (VECTOR(VECTOR, VECTOR, VECTOR), codegen))
    if vectors == 2:
        return intrinsic(lambda typingctx, a, b: (VECTOR(VECTOR, VECTOR), codegen))
    return intrinsic(lambda typingctx, a: (VECTOR(VECTOR), codegen))


fma = _operation(3, emit_fma)
maximum = _operation(2, emit_maximum)
minimum = _operation(2, emit_minimum)
hard_sigmoid = _operation(2, emit_hard_sigmoid)
hard_swish = _operation(1, emit_hard_swish)
_add = _operation(2, lambda builder, a, b: builder.fadd(a, b))
_subtract = _operation(2, lambda builder, a, b: builder.fsub(a, b))
_multiply = _operation(2, lambda builder, a, b: builder.fmul(a, b))
_divide = _operation(2, lambda builder, a, b: builder.fdiv(a, b))


def _overload_operator(operation: Callable[..., Any], vector_operation: Any) -> None:
    @overload(operation)
    def implementation(a, b):  # type: ignore[no-untyped-def]
        if isinstance(a, VectorType) and isinstance(b, VectorType):
            return lambda a, b: vector_operation(a, b)
        return None


for _operator, _vector_operation in (
    (operator.add, _add),
    (operator.sub, _subtract),
    (operator.mul, _multiply),
    (operator.truediv, _divide),
):
    _overload_operator(_operator, _vector_operation)


def _emit_shifted(builder: Any, value: Any, places: int) -> Any:
    """Emit the bits of `value` moved up by so many places, as integers."""
    bits = builder.bitcast(value, LLVM_INTEGERS)
    return builder.shl(bits, ir.Constant(LLVM_INTEGERS, [places] * LANES))


PARTS = {8: 8, 16: 32}.get(LANES, 1)  # of a doubling, whose roots one or two registers hold, to be looked up there


def _emit_to_power(builder: Any, value: Any) -> Any:
    """Emit 2^(k / PARTS) for the number k + PARTS * 127 in the low bits of `value`.

    Its lowest bits choose one of the roots; the others are moved into the exponent, with the lowest behind them, which
    is why the roots are kept less their own number there.
    """
    places = 24 - PARTS.bit_length()
    moved = _emit_shifted(builder, value, places)
    if PARTS > 1:
        roots = (2 ** (np.arange(PARTS) / PARTS)).astype(np.float32).view(np.int32)
        root = _emit_looked_up(builder, roots - (127 << 23) - (np.arange(PARTS) << places), value)
        moved = builder.add(moved, builder.bitcast(root, LLVM_INTEGERS))
    return builder.bitcast(moved, LLVM_VECTOR)


def _emit_looked_up(builder: Any, table: Any, value: Any) -> Any:
    """Emit the elements of a table of one or two vectors that the lowest bits of `value` number."""
    halves = [
        builder.bitcast(ir.Constant(LLVM_INTEGERS, [int(v) for v in half]), LLVM_VECTOR)
        for half in np.split(table, len(table) // LANES)
    ]
    name = "llvm.x86.avx2.permps" if LANES == 8 else "llvm.x86.avx512.vpermi2var.ps.512"
    number = builder.bitcast(value, LLVM_INTEGERS)
    arguments = [halves[0], number, *halves[1:]]
    kind = ir.FunctionType(LLVM_VECTOR, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _emit_bounded(builder: Any, value: Any, bound: Any) -> Any:
    if LANES < 16:
        return emit_minimum(builder, emit_maximum(builder, value, builder.fneg(bound)), bound)
    smaller_with_sign_of_first, whole, mask = INT32(2), INT32(4), ir.IntType(16)
    arguments = [value, bound, smaller_with_sign_of_first, value, mask(-1), whole]
    kind = ir.FunctionType(LLVM_VECTOR, [argument.type for argument in arguments])
    name = "llvm.x86.avx512.mask.range.ps.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


_to_power = _operation(1, _emit_to_power)
_bounded = _operation(2, _emit_bounded)  # to -bound..bound, NaN to one of the two

LOG2_E_PARTS = np.float32(PARTS * 1.4426950408889634)
# Added to a small number, this leaves the rounded number + PARTS * 127 in the low bits.
ROUNDER = np.float32(1.5 * 2**23 + PARTS * 127)
LOWEST, HIGHEST = np.float32(-87), np.float32(87)
HIGHEST_OF_PAIR = np.float32(43)  # (1 + e^43)^2 is a float32
# 2^(f / PARTS) on -0.5..0.5, P0 = 1, nearly minimax: fitted at Chebyshev nodes.
POLYNOMIALS = {
    1: (0.693146856, 0.24022238, 0.0555089295, 0.00967169794, 0.00132186725),  # relative error 1.2e-7
    8: (0.0866434053, 0.00375402835, 0.000108376822),  # 2.6e-8
    32: (0.021661166, 0.00023459665),  # 5.4e-8
}
P1, P2, P3, P4, P5 = (np.float32(v) for v in (*POLYNOMIALS[PARTS], 0, 0, 0)[:5])
ONE, ZERO = np.float32(1), np.float32(0)


@shared
def power_plus(x, sign, addend):  # type: ignore[no-untyped-def]
    """Return addend + e^(sign x) for each lane, x in -87..87.

    e^x = 2^(n / PARTS) 2^(f / PARTS) with n the whole number nearest to x log2(e) PARTS. The longest polynomial is
    summed in pairs (Estrin): its chain of dependent instructions is half as long as Horner's.
    """
    base = broadcast(sign * LOG2_E_PARTS)
    shifted = fma(x, base, broadcast(ROUNDER))
    f = fma(x, base, broadcast(ROUNDER) - shifted)
    power = fma(broadcast(P1), f, broadcast(ONE))
    if PARTS == 32:
        power = fma(fma(broadcast(P2), f, broadcast(P1)), f, broadcast(ONE))
    elif PARTS == 8:
        power = fma(fma(fma(broadcast(P3), f, broadcast(P2)), f, broadcast(P1)), f, broadcast(ONE))
    else:
        square = f * f
        high = fma(fma(broadcast(P5), f, broadcast(P4)), square, fma(broadcast(P3), f, broadcast(P2)))
        power = fma(high, square, power)
    return fma(power, _to_power(shifted), addend)


@shared
def exp(x):  # type: ignore[no-untyped-def]
    """Return e^x for each lane, x clipped to -87..87; NaN stays NaN."""
    return power_plus(minimum(broadcast(HIGHEST), maximum(broadcast(LOWEST), x)), ONE, broadcast(ZERO))


@shared
def sigmoid(x):  # type: ignore[no-untyped-def]
    """Return 1 / (1 + e^-x) for each lane; NaN stays NaN."""
    x = minimum(broadcast(HIGHEST), maximum(broadcast(LOWEST), x))
    return broadcast(ONE) / power_plus(x, -ONE, broadcast(ONE))


@shared
def swish_pair(a, b):  # type: ignore[no-untyped-def]
    """Return x / (1 + e^-x) for each lane of two vectors, -x cut to 43 in the power; NaN stays NaN, in its own vector.

    A division of 16 lanes takes longer than all else, so one does for both: a / p is a q / (p q), b / q is b p / (p q).
    """
    bound = broadcast(HIGHEST_OF_PAIR)
    p, q = power_plus(_bounded(a, bound), -ONE, broadcast(ONE)), power_plus(_bounded(b, bound), -ONE, broadcast(ONE))
    if LANES < 16:
        return a / p, b / q
    inverse = broadcast(ONE) / (p * q)
    return a * q * inverse, b * p * inverse


@intrinsic
def lane_sum(typingctx, vector):  # type: ignore[no-untyped-def]
    """Return the sum over the lanes, pairs first."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        parts = [builder.extract_element(args[0], INT32(i)) for i in range(LANES)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [builder.fadd(a, b) for a, b in zip(parts[:half], parts[half:])]
        return parts[0]

    return types.float32(VECTOR), codegen


@intrinsic
def atomic_add(typingctx, array, index, amount):  # type: ignore[no-untyped-def]
    """Add to an int64 element as one act that all threads see in one order; return what stood there before."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = pointer_to(context, builder, signature.args[0], *args[:2])
        return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Read an int64 element that other threads write."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load_atomic(pointer_to(context, builder, signature.args[0], *args), "seq_cst", 8)

    return types.int64(array, types.intp), codegen
