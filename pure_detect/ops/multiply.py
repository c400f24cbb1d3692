"""Products of maps: squeeze-and-excite's scale, spatial attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_batches, check_map


def multiply(x: Array, factor: Array) -> Array:
    """Multiply a map by a factor a channel, a factor a position, or a map of its own shape.

    out[n, c, y, x] = in[n, c, y, x] * factor[n, c or 0, y or 0, x or 0]

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    factor : (N, C, 1, 1), (N, 1, H, W) or (N, C, H, W)

    Source
    ------
    `forward_scale_channels_layer`, `forward_sam_layer` (AlexeyAB/darknet).
    """
    check_map("multiply", x)
    check_batches("multiply", x, factor)
    multiply_shape([x.shape[1:], factor.shape[1:]], {})
    return np.multiply(x, factor, dtype=x.dtype)


def multiply_shape(inputs: Sequence[Shape], parameters: ParameterShapes) -> Shape:
    """Return the first input's shape; the second must be one of the three that fit it."""
    channels, height, width = inputs[0]
    allowed = ((channels, 1, 1), (1, height, width), inputs[0])
    if inputs[1] not in allowed:
        raise ValueError(f"a factor for {inputs[0]} must be one of {allowed}, got {inputs[1]}")
    return inputs[0]


MULTIPLY = Op("multiply", multiply, multiply_shape)
