"""Every operation: one file each with its formula, its shape rule and its reference kernel.

The functions can be called on plain arrays, as an oracle for an implementation of one's own::

    from pure_detect import ops
    y = ops.conv2d(x, weight, stride=(2, 2), padding=(0, 0, 1, 1))
"""

from pure_detect.ops.activation import ACTIVATION, ACTIVATIONS, activation
from pure_detect.ops.add import ADD, WEIGHTED_ADD, add, weighted_add
from pure_detect.ops.batch_norm import BATCH_NORM, batch_norm
from pure_detect.ops.connected import CONNECTED, CONSTANT, connected, constant
from pure_detect.ops.conv2d import CONV2D, conv2d
from pure_detect.ops.multiply import MULTIPLY, multiply
from pure_detect.ops.op import Op
from pure_detect.ops.pool import (
    AVERAGE_POOL,
    GLOBAL_AVERAGE_POOL,
    MAX_POOL,
    average_pool,
    global_average_pool,
    max_pool,
)
from pure_detect.ops.rearrange import (
    CHANNEL_SLICE,
    CONCAT,
    REORG,
    UPSAMPLE_NEAREST,
    channel_slice,
    concat,
    reorg,
    upsample_nearest,
)
from pure_detect.ops.softmax import SOFTMAX, softmax

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        CONV2D,
        BATCH_NORM,
        ACTIVATION,
        MAX_POOL,
        AVERAGE_POOL,
        GLOBAL_AVERAGE_POOL,
        UPSAMPLE_NEAREST,
        CONCAT,
        CHANNEL_SLICE,
        REORG,
        ADD,
        WEIGHTED_ADD,
        MULTIPLY,
        SOFTMAX,
        CONNECTED,
        CONSTANT,
    )
}

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "Op",
    "activation",
    "add",
    "average_pool",
    "batch_norm",
    "channel_slice",
    "concat",
    "connected",
    "constant",
    "conv2d",
    "global_average_pool",
    "max_pool",
    "multiply",
    "reorg",
    "softmax",
    "upsample_nearest",
    "weighted_add",
]
