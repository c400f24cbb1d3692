"""A small vocabulary of vectors for Numba kernels: what a kernel says is what the processor does.

A vector is an ordinary value of compiled code: `LANES` float32 numbers in one register. Its width and the number of
registers come from the processor that Numba compiles for: 16 lanes and 32 registers with AVX-512, 8 and 16 with AVX2,
4 and 32 with NEON, else 4 and 16. `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES` choose another one, for tests.

    v = load(x, i)                  x[i : i + LANES], a one-dimensional float32 array
    store(x, i, v)
    broadcast(number)               the number in every lane
    fma(a, b, c)                    a * b + c, in one instruction where there is one
    a + b, a - b, a * b, a / b, maximum(a, b), minimum(a, b)
    exp(v), over_sigmoid(a, v)      e^v and a / (1 + e^-v)
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
    if {"+avx512f", "+avx512vl"} <= has and cpu_name not in BEFORE_AVX512:
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


def _emit_to_exponent(builder: Any, value: Any) -> Any:
    """Emit 2^n for the number n + 127 in the low bits of `value`."""
    return builder.bitcast(_emit_shifted(builder, value, 23), LLVM_VECTOR)


def _emit_to_eighths(builder: Any, value: Any) -> Any:
    """Emit 2^(k/8) for the number k + 8 * 127 in the low bits of `value`.

    Its lowest three bits choose one of eight roots within a register; the others are moved into the exponent, with
    the three behind them, which is why the roots are kept less their own number there.
    """
    roots = (2 ** (np.arange(8) / 8)).astype(np.float32).view(np.int32) - (127 << 23) - (np.arange(8) << 20)
    table = builder.bitcast(ir.Constant(LLVM_INTEGERS, [int(roots[i % 8]) for i in range(LANES)]), LLVM_VECTOR)
    name = "llvm.x86.avx2.permps" if LANES == 8 else "llvm.x86.avx512.permvar.sf.512"
    kind = ir.FunctionType(LLVM_VECTOR, [LLVM_VECTOR, LLVM_INTEGERS])
    permute = cgutils.get_or_insert_function(builder.module, kind, name)
    root = builder.call(permute, [table, builder.bitcast(value, LLVM_INTEGERS)])
    return builder.bitcast(
        builder.add(_emit_shifted(builder, value, 20), builder.bitcast(root, LLVM_INTEGERS)), LLVM_VECTOR
    )


_to_exponent = _operation(1, _emit_to_exponent)
_to_eighths = _operation(1, _emit_to_eighths)

LOG2_E = np.float32(1.4426950408889634)
LOG2_E_EIGHTHS = np.float32(8 * 1.4426950408889634)
# Added to a small number, these leave the rounded number + 127 (or 8 * 127) in the low bits.
ROUNDER, ROUNDER_EIGHTHS = np.float32(1.5 * 2**23 + 127), np.float32(1.5 * 2**23 + 8 * 127)
LOWEST, HIGHEST = np.float32(-87), np.float32(87)
# 2^f and 2^(f/8) on -0.5..0.5, P0 = 1, nearly minimax: fitted at Chebyshev nodes, relative errors 1.2e-7 and 2.6e-8.
P1, P2, P3, P4, P5 = (np.float32(v) for v in (0.693146856, 0.24022238, 0.0555089295, 0.00967169794, 0.00132186725))
EIGHTHS1, EIGHTHS2, EIGHTHS3 = (np.float32(v) for v in (0.0866434053, 0.00375402835, 0.000108376822))
ONE, ZERO = np.float32(1), np.float32(0)


@shared
def _power_plus(x, sign, addend):  # type: ignore[no-untyped-def]
    """Return addend + e^(sign x) for each lane, x clipped to -87..87.

    e^x = 2^n 2^f with n the whole number nearest to x log2(e). The polynomial is summed in pairs (Estrin): its chain of
    dependent instructions is half as long as Horner's.
    """
    x = minimum(broadcast(HIGHEST), maximum(broadcast(LOWEST), x))
    base = broadcast(sign * LOG2_E)
    shifted = fma(x, base, broadcast(ROUNDER))
    f = fma(x, base, broadcast(ROUNDER) - shifted)
    square = f * f
    low = fma(broadcast(P1), f, broadcast(ONE))
    middle = fma(broadcast(P3), f, broadcast(P2))
    high = fma(broadcast(P5), f, broadcast(P4))
    power = fma(fma(high, square, middle), square, low)
    return fma(power, _to_exponent(shifted), addend)


@shared
def _power_plus_by_eighths(x, sign, addend):  # type: ignore[no-untyped-def]
    """Return the same where a register can be looked up in: in eighths a shorter polynomial will do."""
    x = minimum(broadcast(HIGHEST), maximum(broadcast(LOWEST), x))
    base = broadcast(sign * LOG2_E_EIGHTHS)
    shifted = fma(x, base, broadcast(ROUNDER_EIGHTHS))
    f = fma(x, base, broadcast(ROUNDER_EIGHTHS) - shifted)
    power = fma(fma(fma(broadcast(EIGHTHS3), f, broadcast(EIGHTHS2)), f, broadcast(EIGHTHS1)), f, broadcast(ONE))
    return fma(power, _to_eighths(shifted), addend)


power_plus = _power_plus_by_eighths if LANES >= 8 else _power_plus


@shared
def exp(x):  # type: ignore[no-untyped-def]
    """Return e^x for each lane, x clipped to -87..87."""
    return power_plus(x, ONE, broadcast(ZERO))


@shared
def over_sigmoid(a, x):  # type: ignore[no-untyped-def]
    """Return a / (1 + e^-x) for each lane: the sigmoid for a = 1, the swish for a = x."""
    return a / power_plus(x, -ONE, broadcast(ONE))


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
