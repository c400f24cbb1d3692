"""Operations on inputs small enough to check by eye, their errors, and the arrays that callers really pass."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect import ops

NAN, INF = np.nan, np.inf


def image(*rows):
    """Return one channel of one picture, float32."""
    return np.array(rows, np.float32)[None, None]


def channels(*values):
    """Return one picture of one pixel with these channels."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def vector(*values):
    return np.array(values, np.float32)


def kernel(*rows):
    """Return the weights of one output channel that sees one input channel."""
    return np.array(rows, np.float32)[None, None]


def show(result):
    """Return the only channel of the only picture as rows."""
    assert result.shape[:2] == (1, 1)
    return result[0, 0].tolist()


def test_conv2d_slides_the_window_without_flipping_it():
    x = image([1, 2, 3], [4, 5, 6])
    assert show(ops.conv2d(x, kernel([1, 10], [100, 1000]))) == [[1 + 20 + 400 + 5000, 2 + 30 + 500 + 6000]]


def test_conv2d_adds_the_bias_once():
    assert show(ops.conv2d(image([1, 2]), kernel([3]), vector(0.5))) == [[3.5, 6.5]]


def test_conv2d_pads_with_zeros_top_left_bottom_right():
    x, identity = image([1, 2], [3, 4]), kernel([1])
    assert show(ops.conv2d(x, identity, padding=(1, 2, 0, 1))) == [[0, 0, 0, 0, 0], [0, 0, 1, 2, 0], [0, 0, 3, 4, 0]]


def test_conv2d_strides_vertically_then_horizontally():
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    assert show(ops.conv2d(x, kernel([1]), stride=(2, 1))) == [[1, 2, 3], [7, 8, 9]]
    assert show(ops.conv2d(x, kernel([1]), stride=(1, 2))) == [[1, 3], [4, 6], [7, 9]]


def test_conv2d_dilates_vertically_then_horizontally():
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    assert show(ops.conv2d(x, kernel([1, 10], [100, 1000]), dilation=(2, 1))) == [[8721, 9832]]
    assert show(ops.conv2d(x, kernel([1, 10], [100, 1000]), dilation=(1, 2))) == [[6431], [9764]]


def test_conv2d_groups_see_only_their_own_channels():
    weight = vector(1, 10, 100, 1000).reshape(2, 2, 1, 1)
    assert ops.conv2d(channels(1, 2, 3, 4), weight, groups=2).ravel().tolist() == [21, 4300]


def test_conv2d_depthwise_multiplier_gives_each_channel_its_outputs_in_a_row():
    weight = vector(1, 10, 100, 1000).reshape(4, 1, 1, 1)
    assert ops.conv2d(channels(2, 3), weight, groups=2).ravel().tolist() == [2, 20, 300, 3000]


def test_conv2d_does_not_lose_a_small_term_between_large_ones():
    weight = vector(1, 1, 1).reshape(1, 3, 1, 1)
    assert ops.conv2d(channels(1e8, 1, -1e8), weight).item() == 1  # in float32 the sum would be 0


def test_batch_norm_scales_the_distance_from_the_mean():
    one = vector(1)
    assert show(ops.batch_norm(image([5]), 2 * one, 10 * one, 1 * one, 4 * one, epsilon=0)) == [[2 * (5 - 1) / 2 + 10]]


def test_batch_norm_epsilon_stands_inside_or_outside_the_root():
    one, zero = vector(1), vector(0)
    arguments = (image([1]), one, zero, zero, 9 * one)
    assert show(ops.batch_norm(*arguments, epsilon=7.0)) == [[0.25]]
    assert show(ops.batch_norm(*arguments, epsilon=7.0, epsilon_inside=False)) == [[pytest.approx(0.1)]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("leaky_relu", [-0.4, -0.1, 0, 1, 7]),
        ("relu", [0, 0, 0, 1, 7]),
        ("relu6", [0, 0, 0, 1, 6]),
        ("sigmoid", [0.01798621, 0.26894142, 0.5, 0.73105858, 0.99908895]),
        ("hard_sigmoid", [0, 1 / 3, 0.5, 2 / 3, 1]),
        ("hard_sigmoid_tf", [0, 0.33334, 0.50001, 0.66668, 1.00002]),
        ("hard_swish", [0, -1 / 3, 0, 2 / 3, 7]),
        ("swish", [-0.07194484, -0.26894142, 0, 0.73105858, 6.99362264]),
        ("mish", [-0.07259174, -0.30340146, 0, 0.86509839, 6.99998837]),
    ],
)
def test_activation_at_minus_4_minus_1_0_1_and_7(function, expected):
    result = ops.activation(image([-4, -1, 0, 1, 7]), function=function)
    np.testing.assert_allclose(result.ravel(), np.array(expected, np.float32), rtol=2e-7)


@pytest.mark.parametrize("function", ops.ACTIVATIONS)
def test_activation_of_nan_is_nan(function):
    assert np.isnan(ops.activation(image([NAN, 1]), function=function)).tolist() == [[[[True, False]]]]


def test_max_pool_takes_the_largest_of_each_window():
    x = image([1, 5, 2], [3, 4, 0], [7, -1, 6])
    assert show(ops.max_pool(x, kernel=(2, 2), stride=(1, 1))) == [[5, 5], [7, 6]]


def test_max_pool_ignores_the_padding_even_where_all_is_negative():
    x = image([-5, -2], [-3, -4])
    pooled = ops.max_pool(x, kernel=(2, 2), stride=(1, 1), padding=(0, 0, 1, 1))  # Darknet's size 2 at stride 1
    assert show(pooled) == [[-2, -2], [-3, -4]]


@pytest.mark.parametrize("row", [[NAN, 1], [1, NAN], [NAN, INF], [INF, NAN], [-INF, NAN]], ids=str)
def test_max_pool_gives_nan_wherever_it_stands_in_the_window(row):
    assert np.isnan(ops.max_pool(image(row), kernel=(1, 2), stride=(1, 1))).all()


def test_max_pool_keeps_a_nan_within_its_own_windows():
    pooled = ops.max_pool(image([1, 2, NAN, 3, 4]), kernel=(1, 2), stride=(1, 1))
    np.testing.assert_array_equal(pooled.ravel(), [2, NAN, NAN, 4])


def test_average_pool_divides_by_the_cells_inside_the_picture():
    x = image([1, 3], [5, 7])
    pooled = ops.average_pool(x, kernel=(2, 2), stride=(1, 1), padding=(0, 0, 1, 1))
    assert show(pooled) == [[4, 5], [6, 7]]


def test_average_pool_does_not_lose_a_small_term_between_large_ones():
    assert ops.average_pool(image([1e8, 1, -1e8, 0]), kernel=(1, 4), stride=(1, 1)).item() == 0.25


def test_global_average_pool_gives_one_number_a_channel():
    x = np.concatenate([image([1, 2], [3, 6]), image([0, 0], [0, -1])], axis=1)
    assert ops.global_average_pool(x).tolist() == [[[[3.0]], [[-0.25]]]]


def test_upsample_nearest_repeats_each_cell():
    assert show(ops.upsample_nearest(image([1, 2]), size=(2, 4))) == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_upsample_nearest_to_an_odd_size_repeats_the_last_cell_once_less():
    assert show(ops.upsample_nearest(image([1, 2, 3]), size=(1, 5))) == [[1, 1, 2, 2, 3]]


def test_concat_stacks_channels_in_the_order_given():
    assert ops.concat(channels(1, 2), channels(3), channels(4, 5)).ravel().tolist() == [1, 2, 3, 4, 5]


def test_channel_slice_takes_start_and_leaves_stop():
    assert ops.channel_slice(channels(0, 1, 2, 3, 4), start=1, stop=3).ravel().tolist() == [1, 2]


def test_reorg_is_darknets_and_not_space_to_depth():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2)
    # Read as one channel of 4 x 4; its four cells of each parity lie side by side in channels 0 to 3, 4 to 7, ...
    expected = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]
    assert ops.reorg(x, stride=2).shape == (1, 16, 1, 1)
    assert ops.reorg(x, stride=2).ravel().tolist() == expected


def test_add_of_unequal_channels_takes_those_of_the_first():
    long, short = channels(1, 2, 3), channels(10, 20)
    assert ops.add(long, short).ravel().tolist() == [11, 22, 3]
    assert ops.add(short, long).ravel().tolist() == [11, 22]


def test_weighted_add_weighs_each_map_or_each_maps_channels():
    maps = channels(1, 2), channels(10, 20)
    per_map, per_channel = vector(3, 0.5).reshape(2, 1), vector(1, 2, 3, 4).reshape(2, 2)
    assert ops.weighted_add(*maps, weight=per_map).ravel().tolist() == [8, 16]
    assert ops.weighted_add(*maps, weight=per_channel).ravel().tolist() == [31, 84]


def test_weighted_add_with_relu_drops_a_map_of_negative_weight():
    maps, weight = (channels(7), channels(99), channels(1)), vector(3, -5, 1).reshape(3, 1)
    total = ops.weighted_add(*maps, weight=weight, normalization="relu", epsilon=1.0)
    assert total.item() == pytest.approx((3 * 7 + 1 * 1) / (1 + 3 + 1))


def test_weighted_add_with_softmax_takes_the_largest_weight_from_all():
    maps, weight = (channels(7), channels(1)), vector(np.log(3), 0).reshape(2, 1)
    total = ops.weighted_add(*maps, weight=weight, normalization="softmax", epsilon=0.0)
    assert total.item() == pytest.approx((3 * 7 + 1) / 4)
    huge = ops.weighted_add(*maps, weight=vector(1000, 1000).reshape(2, 1), normalization="softmax", epsilon=0.0)
    assert huge.item() == 4


def test_weighted_add_epsilon_is_one_ten_thousandth():
    maps, weight = (channels(1), channels(1)), vector(1e-4, 0).reshape(2, 1)
    assert ops.weighted_add(*maps, weight=weight, normalization="relu").item() == pytest.approx(0.5)


def test_multiply_by_a_factor_a_channel_a_position_or_a_value():
    x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert ops.multiply(x, channels(1, 10)).ravel().tolist() == [0, 1, 2, 3, 40, 50, 60, 70]
    assert ops.multiply(x, image([1, 10], [0, -1])).ravel().tolist() == [0, 10, 0, -3, 4, 50, 0, -7]
    assert ops.multiply(x, x).ravel().tolist() == [0, 1, 4, 9, 16, 25, 36, 49]


def test_softmax_runs_over_all_values_or_over_each_group():
    x = channels(0, np.log(3), 5, 5)
    np.testing.assert_allclose(ops.softmax(x, groups=2).ravel(), [0.25, 0.75, 0.5, 0.5], rtol=1e-7)
    np.testing.assert_allclose(ops.softmax(x).sum(), 1, rtol=1e-7)


def test_softmax_temperature_divides_the_values_first():
    np.testing.assert_allclose(ops.softmax(channels(0, np.log(9)), temperature=2.0).ravel(), [0.25, 0.75], rtol=1e-7)


def test_connected_multiplies_the_picture_flattened_by_channel_row_column():
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 2, 1, 2)
    weight = vector(1, 10, 100, 1000, 0, 0, 0, 1).reshape(2, 4)
    result = ops.connected(x, weight, vector(0.5, -1))
    assert result.shape == (1, 2, 1, 1)
    assert result.ravel().tolist() == [4321.5, 3]


def test_constant_is_the_same_for_every_picture():
    value = vector(1, 2).reshape(2, 1, 1)
    assert ops.constant(np.zeros((3, 5, 4, 4), np.float32), value).reshape(3, 2).tolist() == [[1, 2]] * 3
