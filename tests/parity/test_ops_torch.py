"""Convolution, batch norm, activations and pooling against PyTorch; `test_more_ops_torch.py` has the rest.

The oracle runs in float64 also where ours runs in float32: ours sums in float64, so it must be the exact result
rounded once, and PyTorch's own float32 error (twenty times that) would hide mistakes.
"""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect import ops
from tests.adversarial_shapes import conv_params, pool_params, signed
from tests.closeness import assert_one_rounding
from tests.parity.pytorch import F, all_maps, both_dtypes, pad, t64, torch
from tests.tolerances import (
    FLOAT32_EPSILON,
    FLOAT64_FUNCTION_UNITS,
    FLOAT64_SUM_UNITS,
    TORCH_FLOAT32_CONV_UNITS,
)

pytestmark = pytest.mark.parity

ACTIVATIONS = {
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "hard_sigmoid_tf": lambda x: F.relu6(x + 3) * 0.16667,
    "hard_swish": F.hardswish,
    "swish": F.silu,
    "mish": F.mish,
}


def torch_conv(case, x, weight, bias):
    return F.conv2d(pad(x, case.padding), weight, bias, case.stride, 0, case.dilation, case.groups)


@both_dtypes
@pytest.mark.parametrize("case", conv_params)
def test_conv2d_is_the_float64_result_rounded_once(case, dtype):
    shapes = (case.shape, case.weight_shape, (case.out_channels,))
    arrays = [signed(shape, seed, dtype) for seed, shape in enumerate(shapes)]
    exact = torch_conv(case, *map(t64, arrays)).numpy()
    magnitude = torch_conv(case, *(t64(np.abs(array)) for array in arrays)).numpy()
    ours = ops.conv2d(*arrays, **case.options)
    assert ours.dtype == dtype
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


@pytest.mark.parametrize("case", conv_params)
def test_conv2d_without_bias_is_within_torchs_own_float32_error(case):
    x, weight = signed(case.shape, 0), signed(case.weight_shape, 1)
    theirs = torch_conv(case, torch.from_numpy(x), torch.from_numpy(weight), None).numpy()
    magnitude = torch_conv(case, t64(np.abs(x)), t64(np.abs(weight)), None).numpy()
    error = np.abs(ops.conv2d(x, weight, **case.options).astype(np.float64) - theirs)
    assert (error <= TORCH_FLOAT32_CONV_UNITS * FLOAT32_EPSILON * magnitude).all()


@both_dtypes
@all_maps
@pytest.mark.parametrize("epsilon", [1e-6, 1e-5, 1e-3])
def test_batch_norm_with_epsilon_inside_is_torchs(shape, epsilon, dtype):
    x, scale, bias, mean, variance = batch_norm_arrays(shape, dtype)
    exact = F.batch_norm(*map(t64, (x, mean, variance, scale, bias)), training=False, eps=epsilon).numpy()
    deviation = torch.sqrt(t64(variance) + epsilon)
    ours = ops.batch_norm(x, scale, bias, mean, variance, epsilon=epsilon)
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, normalised(x, scale, bias, mean, deviation)[1])


@both_dtypes
@all_maps
@pytest.mark.parametrize("epsilon", [1e-6, 1e-3])
def test_batch_norm_with_epsilon_outside_adds_it_to_the_deviation(shape, epsilon, dtype):
    x, scale, bias, mean, variance = batch_norm_arrays(shape, dtype)
    exact, magnitude = normalised(x, scale, bias, mean, torch.sqrt(t64(variance)) + epsilon)
    ours = ops.batch_norm(x, scale, bias, mean, variance, epsilon=epsilon, epsilon_inside=False)
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


def test_batch_norms_default_epsilon_is_torchs():
    x, scale, bias, mean, variance = batch_norm_arrays((1, 5, 3, 4), np.float64)
    theirs = F.batch_norm(*map(t64, (x, mean, variance, scale, bias))).numpy()
    np.testing.assert_allclose(ops.batch_norm(x, scale, bias, mean, variance), theirs, rtol=1e-12)


def batch_norm_arrays(shape, dtype):
    """Return x, scale, bias, mean and variance; variances from 0 to about 1e5, many near the epsilons."""
    vectors = [signed((shape[1],), seed, dtype) for seed in range(4)]
    vectors[3] = np.abs(vectors[3]) ** 3
    vectors[3][0] = 0
    return signed(shape, 9, dtype), *vectors


def normalised(x, scale, bias, mean, deviation):
    """Return the batch norm's value and the magnitude of what it sums."""
    x, scale, bias, mean, deviation = (
        a if a.ndim == 4 else a.reshape(1, -1, 1, 1) for a in (*map(t64, (x, scale, bias, mean)), deviation)
    )
    magnitude = (x.abs() + mean.abs()) / deviation * scale.abs() + bias.abs()
    return ((x - mean) / deviation * scale + bias).numpy(), magnitude.numpy()


def test_the_activations_compared_are_all_there_are():
    assert set(ACTIVATIONS) == set(ops.ACTIVATIONS)


@both_dtypes
@pytest.mark.parametrize("function", ops.ACTIVATIONS)
def test_activation_is_torchs(function, dtype):
    random = np.random.default_rng(0)
    parts = (random.normal(0, 3, 500), random.normal(0, 60, 500), np.linspace(-25, 25, 501), SEAMS)
    x = np.concatenate(parts).reshape(1, 1, -1, 1).astype(dtype)
    ours = ops.activation(x, function=function)
    assert ours.dtype == dtype
    assert_one_rounding(ours, ACTIVATIONS[function](t64(x)).numpy(), FLOAT64_FUNCTION_UNITS)


# Where a formula changes: hard_swish at -3 and 3, relu6 at 6, mish past 20, the ends of float32's exp.
SEAMS = np.array([0, -3, 3, 6, 20, 20.000001, -20, 88.7, -88.7, -103.9, -104, 400, -400, 1e-30, -1e-30, 1e4, -1e4, 1])
EXTREMES = [np.nan, np.inf, -np.inf, 1e38, -1e38, -3000.0, 3000.0]


@both_dtypes
@pytest.mark.parametrize("function", ops.ACTIVATIONS)
def test_activation_of_nan_infinity_and_huge_values_is_torchs(function, dtype):
    x = np.array(EXTREMES, dtype).reshape(1, 1, 1, -1)
    exact = ACTIVATIONS[function](t64(x)).numpy()
    assert_one_rounding(ops.activation(x, function=function), exact, FLOAT64_FUNCTION_UNITS)


@both_dtypes
@pytest.mark.parametrize("case", pool_params)
def test_max_pool_is_torchs(case, dtype):
    x = signed(case.shape, 0, dtype)
    theirs = F.max_pool2d(pad(torch.from_numpy(x), case.padding, -np.inf), case.kernel, case.stride).numpy()
    ours = ops.max_pool(x, **case.options)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


def test_max_pool_spreads_nan_as_torch_does():
    x = signed((1, 2, 7, 8), 0)
    x[0, 0, 0, 0] = x[0, 0, 3, 4] = x[0, 1, 6, 7] = np.nan
    theirs = F.max_pool2d(torch.from_numpy(x), 3, 2, 1).numpy()
    ours = ops.max_pool(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    assert np.isnan(ours).any()
    np.testing.assert_array_equal(ours, theirs)


def test_max_pool_of_minus_infinity_alone_is_minus_infinity():
    x = np.full((1, 1, 3, 4), -np.inf, np.float32)
    assert (ops.max_pool(x, kernel=(2, 2), stride=(1, 1), padding=(0, 0, 1, 1)) == -np.inf).all()


@both_dtypes
@pytest.mark.parametrize("case", pool_params)
def test_average_pool_does_not_count_the_padding(case, dtype):
    x = signed(case.shape, 0, dtype)
    exact, magnitude = averages(case, x), averages(case, np.abs(x))
    ours = ops.average_pool(x, **case.options)
    assert ours.dtype == dtype
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


def averages(case, x):
    """Return the mean of each window's real cells: window sums over windows of ones."""
    sums = (
        F.avg_pool2d(pad(t64(a), case.padding), case.kernel, case.stride, divisor_override=1)
        for a in (x, np.ones(case.shape))
    )
    total, count = sums
    return (total / count).numpy()


@both_dtypes
def test_average_pool_is_torchs_with_count_include_pad_false(dtype):
    x = signed((2, 3, 8, 11), 0, dtype)
    pools = (F.avg_pool2d(t64(a), 3, 2, 1, count_include_pad=False).numpy() for a in (x, np.abs(x)))
    ours = ops.average_pool(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    exact, magnitude = pools
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


@both_dtypes
@all_maps
def test_global_average_pool_is_torchs(shape, dtype):
    x = signed(shape, 0, dtype)
    exact, magnitude = (F.adaptive_avg_pool2d(t64(a), 1).numpy() for a in (x, np.abs(x)))
    assert_one_rounding(ops.global_average_pool(x), exact, FLOAT64_SUM_UNITS, magnitude)
