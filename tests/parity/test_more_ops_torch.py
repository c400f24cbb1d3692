"""Rearrangements, sums and products of maps, softmax and matrix products against PyTorch.

Whatever only moves, selects or multiplies values is equal to the bit; sums are within their own roundings.
"""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect import ops
from tests.adversarial_shapes import signed
from tests.closeness import assert_one_rounding
from tests.parity import test_ops_torch
from tests.parity.pytorch import F, all_maps, both_dtypes, t64, torch
from tests.tolerances import FLOAT64_FUNCTION_UNITS, FLOAT64_SUM_UNITS

pytestmark = pytest.mark.parity


@both_dtypes
@all_maps
@pytest.mark.parametrize(("factor", "less"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2)])
def test_upsample_nearest_is_torchs_also_at_sizes_that_are_no_multiple(shape, factor, less, dtype):
    x = signed(shape, 0, dtype)
    size = (max(factor * shape[2] - less, shape[2]), max(factor * shape[3] - less, shape[3]))
    theirs = F.interpolate(torch.from_numpy(x), size=size, mode="nearest").numpy()
    np.testing.assert_array_equal(ops.upsample_nearest(x, size=size), theirs)


@both_dtypes
@all_maps
def test_concat_is_torchs_cat_in_the_order_given(shape, dtype):
    n, c, h, w = shape
    maps = [signed((n, channels, h, w), channels, dtype) for channels in (c, 1, c + 5)]
    np.testing.assert_array_equal(ops.concat(*maps), torch.cat([torch.from_numpy(m) for m in maps], 1).numpy())


@both_dtypes
@all_maps
def test_channel_slice_is_torchs_narrow(shape, dtype):
    x = signed(shape, 0, dtype)
    start, stop = shape[1] // 2, shape[1]
    theirs = torch.from_numpy(x).narrow(1, start, stop - start).numpy()
    np.testing.assert_array_equal(ops.channel_slice(x, start=start, stop=stop), theirs)


@both_dtypes
@pytest.mark.parametrize("channels", [(7, 7), (7, 3), (3, 7), (5, 5, 5), (7, 3, 17)], ids=str)
def test_add_takes_as_many_channels_as_the_first_map_has(channels, dtype):
    maps = [signed((2, c, 5, 4), i, dtype) for i, c in enumerate(channels)]
    fitted = [F.pad(t64(m[:, : channels[0]]), (0, 0, 0, 0, 0, max(0, channels[0] - m.shape[1]))) for m in maps]
    exact, magnitude = (torch.stack(m).sum(0).numpy() for m in (fitted, [m.abs() for m in fitted]))
    ours = ops.add(*maps)
    assert ours.dtype == dtype
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


def fusion_weights(weight, normalization):
    """Return the weights of a fusion by torch's functions, float64."""
    weight = t64(weight)
    if normalization == "relu":
        weight = F.relu(weight)
    elif normalization == "softmax":
        weight = torch.exp(weight - weight.amax(dim=0))
    return weight if normalization == "none" else weight / (1e-4 + weight.sum(0))


@both_dtypes
@pytest.mark.parametrize("normalization", ["none", "relu", "softmax"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["per_map", "per_channel"])
@all_maps
def test_weighted_add_multiplies_by_normalised_weights(shape, per_channel, normalization, dtype):
    maps = [signed(shape, seed, dtype) for seed in range(3)]
    weight = signed((3, shape[1] if per_channel else 1), 5, dtype) / 10
    weights = fusion_weights(weight, normalization)[:, None, :, None, None]
    terms = weights * torch.stack([t64(m) for m in maps])
    ours = ops.weighted_add(*maps, weight=weight, normalization=normalization)
    assert ours.dtype == dtype
    assert_one_rounding(ours, terms.sum(0).numpy(), FLOAT64_SUM_UNITS, terms.abs().sum(0).numpy())


@both_dtypes
@all_maps
@pytest.mark.parametrize("form", ["a_factor_a_channel", "a_factor_a_position", "a_whole_map"])
def test_multiply_is_torchs_broadcast_product(shape, form, dtype):
    n, c, h, w = shape
    factors = {"a_factor_a_channel": (n, c, 1, 1), "a_factor_a_position": (n, 1, h, w), "a_whole_map": shape}
    x, factor = signed(shape, 0, dtype), signed(factors[form], 1, dtype)
    np.testing.assert_array_equal(ops.multiply(x, factor), (torch.from_numpy(x) * torch.from_numpy(factor)).numpy())


@both_dtypes
@pytest.mark.parametrize(
    ("shape", "stride"),
    [((1, 4, 2, 2), 2), ((2, 12, 4, 6), 2), ((1, 64, 26, 26), 2), ((1, 9, 6, 3), 3), ((1, 18, 3, 9), 3)],
    ids=str,
)
def test_reorg_is_darknets_rearrangement(shape, stride, dtype):
    n, c, h, w = shape
    x, s = signed(shape, 0, dtype), stride
    seen = torch.from_numpy(x).reshape(n, c // s**2, h, s, w, s)  # s^2 fewer channels, s x s larger maps
    theirs = seen.permute(0, 3, 5, 1, 2, 4).reshape(n, c * s**2, h // s, w // s).numpy()
    np.testing.assert_array_equal(ops.reorg(x, stride=stride), theirs)


def test_reorg_is_not_space_to_depth():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2)
    theirs = F.pixel_unshuffle(torch.from_numpy(x), 2).numpy()
    assert not np.array_equal(ops.reorg(x, stride=2), theirs)


@both_dtypes
@all_maps
@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_softmax_is_torchs_over_the_whole_picture(shape, temperature, dtype):
    x = signed(shape, 0, dtype) / 10
    exact = torch.softmax(t64(x).reshape(shape[0], -1) / temperature, 1).numpy().reshape(shape)
    ours = ops.softmax(x, temperature=temperature)
    assert ours.dtype == dtype
    assert_one_rounding(ours, exact, FLOAT64_FUNCTION_UNITS)


@both_dtypes
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_softmax_groups_are_equal_runs_of_values(groups, dtype):
    x = signed((2, 6, 1, 5), 0, dtype) / 10
    exact = torch.softmax(t64(x).reshape(2, groups, -1), 2).numpy().reshape(x.shape)
    assert_one_rounding(ops.softmax(x, groups=groups), exact, FLOAT64_FUNCTION_UNITS)


@both_dtypes
def test_softmax_of_huge_values_does_not_overflow(dtype):
    x = np.array([3e4, 3e4 - 1, -3e4, 0], dtype).reshape(1, 4, 1, 1)
    exact = torch.softmax(t64(x).reshape(1, -1), 1).numpy().reshape(x.shape)
    assert_one_rounding(ops.softmax(x), exact, FLOAT64_FUNCTION_UNITS)


@both_dtypes
@all_maps
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no_bias"])
def test_connected_is_torchs_linear_of_the_flattened_map(shape, with_bias, dtype):
    x, weight = signed(shape, 0, dtype), signed((7, int(np.prod(shape[1:]))), 1, dtype)
    bias = signed((7,), 2, dtype) if with_bias else None
    linear = (
        F.linear(
            *(t64(change(a)) for a in (x.reshape(shape[0], -1), weight)), None if bias is None else t64(change(bias))
        )
        for change in (np.asarray, np.abs)
    )
    exact, magnitude = (result.numpy()[:, :, None, None] for result in linear)
    ours = ops.connected(x, weight, bias)
    assert ours.dtype == dtype
    assert_one_rounding(ours, exact, FLOAT64_SUM_UNITS, magnitude)


@both_dtypes
def test_constant_is_torchs_expand(dtype):
    x, value = signed((2, 3, 4, 5), 0, dtype), signed((7, 2, 1), 1)
    theirs = torch.from_numpy(value.astype(dtype)).expand(2, 7, 2, 1).numpy()
    ours = ops.constant(x, value)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("op", sorted(ops.OPS))
def test_every_operation_is_compared(op):
    tests = {*globals(), *vars(test_ops_torch)}
    assert any(name.startswith(f"test_{op}_") for name in tests), f"no test of {op} against PyTorch"
