"""What a kernel is given, and how compiled functions call each other by address.

Numba makes a function that is compiled a part of all that call it, and translates it once more with each of them. The
kernels, and the parts that several of them need, are therefore compiled on their own, kept in the cache on their own,
and called through their addresses: a network waits for the kernels that it uses, once, and for no others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pure_detect import jit
from pure_detect.engine.simd import FLOATS, INTEGERS


class Memory(NamedTuple):
    """The addresses that every kernel works on, and where the thread's own part of the arena begins.

    `x`: the arena of all maps; `w`: the packed weights; `tables`: offsets; `out` and `image`: the network's outputs and
    input; `parts`: the machine code of the functions that are numbered below.
    """

    x: Any
    w: Any
    tables: Any
    out: Any
    image: Any
    parts: Any
    scratch: Any


MEMORY = types.NamedTuple([FLOATS, FLOATS, INTEGERS, FLOATS, FLOATS, INTEGERS, types.intp], Memory)
(FINISH, TILE_ROW, STRIDED_TILE_ROW, COLUMNS_TILE_ROW, STRIDED_COLUMNS_TILE_ROW, SINGLE_TILE_ROW,
 DEPTHWISE_ROW) = range(7)  # parts  # fmt: skip


class Compiled(NamedTuple):
    """A function that is called by address, and the types of its arguments."""

    function: Any
    kinds: tuple[Any, ...]

    @property
    def address(self) -> int:
        """Return where its machine code begins; it is compiled, or found in the cache, when first asked for."""
        return jit.address(self.function, self.kinds)


def kernel(function: Callable[..., Any]) -> Compiled:
    """Declare a kernel: `kernel(s, item, m)` does one item of the step whose row of numbers begins at `s`."""
    return Compiled(jit.kernel(function), (INTEGERS, types.intp, MEMORY))


def part(*kinds: Any) -> Callable[[Callable[..., Any]], Compiled]:
    """Declare a part of kernels with arguments of these types, none of them a tuple."""
    return lambda function: Compiled(jit.kernel(function), kinds)


def caller(compiled: Compiled) -> Any:
    """Return the intrinsic `call(address, arguments)` for functions with the arguments of this one."""
    kinds = compiled.kinds

    @intrinsic
    def call(typingctx, address, arguments):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            given = zip(cgutils.unpack_tuple(builder, args[1]), signature.args[1].types, kinds)
            values = [context.cast(builder, value, have, want) for value, have, want in given]
            kind = context.call_conv.get_function_type(types.none, kinds)
            function = builder.inttoptr(args[0], kind.as_pointer())
            context.call_conv.call_function(builder, function, types.none, kinds, values)
            return context.get_dummy_value()

        return types.void(types.int64, arguments), codegen

    return call
