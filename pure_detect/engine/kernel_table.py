"""The table of kernels: what each equals, when it applies, how far it may be off. Dispatch, tests and plans walk it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pure_detect.engine import amx, emit_amx, emit_convolutions, emit_maps, winograd_plan
from pure_detect.engine.emitter import Emitter
from pure_detect.engine.fuse import Task, is_depthwise
from pure_detect.engine.placement import Placement


class Kernel(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    name : str
    equals : tuple of str
        The operations whose reference kernels, one after another, give the same.
    applies : callable
        `applies(task, placement)`; the first row that does is taken.
    emit : callable
        `emit(emitter, task)` adds the steps.
    units : float
        How far an element may be from the reference in float64, in float32 epsilons times its magnitude: of a sum, the
        sum of the absolute terms. Measured on the shapes of the tests; see `tests/test_engine_kernels.py`.
    """

    name: str
    equals: tuple[str, ...]
    applies: Callable[[Task, Placement], bool]
    emit: Callable[[Emitter, Task], None]
    units: float


MOST_INPUTS = 8  # of a sum of maps


def _reads_picture(task: Task, placement: Placement) -> bool:
    return placement.graph.input.name in task.reads


def _is_winograd(task: Task, placement: Placement) -> bool:
    allowed = placement.precision != "direct" and not _reads_picture(task, placement)
    return allowed and task.kind == "conv2d" and winograd_plan.suits(task.main)


def _is_amx(task: Task, placement: Placement) -> bool:
    if placement.precision != "bf16x3" or task.kind != "conv2d" or _reads_picture(task, placement):
        return False
    return amx.is_available() and emit_amx.suits(task.main)


def _is_sum(task: Task, placement: Placement) -> bool:
    if task.kind not in ("add", "weighted_add") or _reads_picture(task, placement):
        return False
    alike = all(placement.shapes[name] == task.main.shape for name in task.inputs)
    return alike and len(task.inputs) <= MOST_INPUTS


def _of_kind(*kinds: str) -> Callable[[Task, Placement], bool]:
    """Return the test for tasks of these kinds, on maps in the arena."""
    return lambda task, placement: task.kind in kinds and not _reads_picture(task, placement)


KERNELS = (
    Kernel("expand_depthwise", ("conv2d", "conv2d"), lambda task, _: task.expand is not None,
           emit_convolutions.emit_expand_depthwise, 40),
    Kernel("depthwise_conv2d", ("conv2d",),
           lambda task, placement: task.kind == "conv2d" and is_depthwise(task.main)
           and not _reads_picture(task, placement),
           emit_convolutions.emit_depthwise, 8),
    Kernel("conv2d_winograd", ("conv2d",), _is_winograd, emit_convolutions.emit_winograd, 200),
    Kernel("conv2d_amx", ("conv2d",), _is_amx, emit_amx.emit_amx, 4),
    Kernel("conv2d_direct", ("conv2d",), lambda task, _: task.kind == "conv2d", emit_convolutions.emit_direct, 8),
    Kernel("weighted_sum", ("weighted_add",), _is_sum, emit_maps.emit_weighted_sum, 4),
    Kernel("scale_shift", ("batch_norm",), _of_kind("batch_norm", "activation"), emit_maps.emit_scale_shift, 4),
    Kernel("pool", ("max_pool",), _of_kind("max_pool", "average_pool", "global_average_pool"), emit_maps.emit_pool, 8),
    Kernel("upsample", ("upsample_nearest",), _of_kind("upsample_nearest"), emit_maps.emit_upsample, 0),
    Kernel("concat", ("concat",), _of_kind("concat"), emit_maps.emit_concat, 0),
    Kernel("channel_slice", ("channel_slice",), _of_kind("channel_slice"), emit_maps.emit_slice, 0),
    Kernel("channel_gates", ("global_average_pool", "conv2d", "activation", "conv2d", "activation", "multiply"),
           _of_kind("gates"), emit_maps.emit_gates, 16),
)  # fmt: skip
BY_NAME = {kernel.name: kernel for kernel in KERNELS}
REFERENCE = "reference"


def kernel_for(task: Task, placement: Placement) -> str:
    """Return the name of the kernel that does a task, or "reference" where the plain kernels must."""
    return next((kernel.name for kernel in KERNELS if kernel.applies(task, placement)), REFERENCE)
