"""Batch normalisation with stored statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pure_detect.jit import kernel, parallel_for
from pure_detect.ops.geometry import Shape
from pure_detect.ops.op import Array, Op, ParameterShapes, check_map, contiguous


def batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    epsilon_inside: bool = True,
) -> Array:
    """Normalise each channel by its stored statistics, then scale and shift it.

    out = scale * (x - mean) / deviation + bias

    with deviation = sqrt(variance + epsilon) when `epsilon_inside`, else sqrt(variance) + epsilon. The two differ by
    up to one percent a channel on real networks, so which one a network was trained with is part of its definition:
    1e-5 inside (Darknet on the GPU, AlexeyAB's fork, PyTorch), 1e-6 inside (OpenCV's Darknet importer), 1e-6
    outside (pjreddie's Darknet on the CPU), 1e-3 inside (TensorFlow).

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    scale, bias, mean, variance : (C,)
        The paper's gamma, beta and moving statistics (Ioffe and Szegedy 2015, Algorithm 2).

    Returns
    -------
    (N, C, H, W), dtype of `x`; computed in float64.

    Source
    ------
    `normalize_cpu` (pjreddie/darknet and AlexeyAB/darknet, `blas.c`); torch.nn.BatchNorm2d (PyTorch 2.13).
    """
    check_map("batch_norm", x)
    if any(p.shape != (x.shape[1],) for p in (scale, bias, mean, variance)):
        raise ValueError(f"batch_norm: expected four vectors of {x.shape[1]} channels")
    spread = np.asarray(variance, np.float64)
    deviation = np.sqrt(spread + epsilon) if epsilon_inside else np.sqrt(spread) + epsilon
    out = np.empty(x.shape, x.dtype)
    vectors = [np.array(p, np.float64) for p in (scale, bias, mean, deviation)]
    parallel_for(batch_norm_reference, x.shape[0] * x.shape[1], contiguous(x), *vectors, out)
    return out


@kernel
def batch_norm_reference(start, stop, x, scale, bias, mean, deviation, out):  # type: ignore[no-untyped-def]
    """Normalise planes start..stop of (N*C)."""
    _, C, H, W = x.shape
    for index in range(start, stop):
        n, c = index // C, index % C
        for y in range(H):
            for i in range(W):
                out[n, c, y, i] = scale[c] * (x[n, c, y, i] - mean[c]) / deviation[c] + bias[c]


def batch_norm_shape(
    inputs: Sequence[Shape], parameters: ParameterShapes, *, epsilon: float, epsilon_inside: bool
) -> Shape:
    """Return the input's shape, after checking the four vectors."""
    for name, shape in parameters.items():
        if shape != (inputs[0][0],):
            raise ValueError(f"expected {name} ({inputs[0][0]},), got {shape}")
    return inputs[0]


BATCH_NORM = Op("batch_norm", batch_norm, batch_norm_shape)
