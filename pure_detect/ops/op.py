"""What an operation is: its formula as a function, and the rules that need no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.ops.geometry import Shape

Array = NDArray[Any]
ParameterShapes = Mapping[str, tuple[int, ...]]


def _no_multiply_adds(inputs: Sequence[Shape], parameters: ParameterShapes, output: Shape) -> int:
    return 0


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes
    ----------
    name : str
        How graphs name it.
    run : callable
        `run(*inputs, **parameters, **attributes)` on (N, C, H, W) arrays, by the reference kernel.
    shape : callable
        `shape(input_shapes, parameter_shapes, **attributes)`: the (C, H, W) of the output.
    multiply_adds : callable
        `multiply_adds(input_shapes, parameter_shapes, output_shape)` for one picture. As the field counts them:
        convolutions and matrix products only.
    """

    name: str
    run: Callable[..., Array]
    shape: Callable[..., Shape]
    multiply_adds: Callable[[Sequence[Shape], ParameterShapes, Shape], int] = _no_multiply_adds


def check_map(name: str, x: Array) -> None:
    """Raise a ValueError unless `x` is a floating (N, C, H, W) array."""
    if x.ndim != 4 or x.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name}: expected float32 or float64 (N, C, H, W), got {x.dtype} {x.shape}")


def check_batches(name: str, *inputs: Array) -> None:
    """Raise a ValueError unless all inputs hold the same number of pictures."""
    if len({x.shape[0] for x in inputs}) != 1:
        raise ValueError(f"{name}: expected one batch size, got {', '.join(str(x.shape[0]) for x in inputs)}")


def contiguous(x: Array) -> Array:
    """Return `x` as the writable C-contiguous array that kernels are compiled for, copying only if it is not."""
    return np.require(x, requirements=["C", "W"])
