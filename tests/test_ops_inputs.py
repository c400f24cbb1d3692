"""What operations do with the arrays that callers really pass, and how they refuse those that do not fit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pure_detect import ops
from pure_detect.ops import OPS
from tests.adversarial_shapes import conv_params, pool_params, signed

SHAPE = (2, 4, 6, 4)
HALF = {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 1, 0, 1)}


def parameters(dtype):
    """Return conv and connected weights, and a vector a channel."""
    return signed((6, 2, 3, 2), 1, dtype), signed((3, 96), 2, dtype), np.abs(signed((4,), 3, dtype))


def call(name, x):
    """Run an operation on a map of 4 x 6 x 4, with parameters of its dtype."""
    weight, matrix, v = parameters(x.dtype)
    calls = {
        "conv2d": lambda: ops.conv2d(x, weight, stride=(1, 2), padding=(0, 1, 2, 0), groups=2),
        "batch_norm": lambda: ops.batch_norm(x, v, -v, v[::-1], v),
        "activation": lambda: ops.activation(x, function="mish"),
        "max_pool": lambda: ops.max_pool(x, **HALF),
        "average_pool": lambda: ops.average_pool(x, **HALF),
        "global_average_pool": lambda: ops.global_average_pool(x),
        "upsample_nearest": lambda: ops.upsample_nearest(x, size=(x.shape[2] + 1, 2 * x.shape[3])),
        "concat": lambda: ops.concat(x, -x),
        "channel_slice": lambda: ops.channel_slice(x, start=1, stop=3),
        "reorg": lambda: ops.reorg(x, stride=2),
        "add": lambda: ops.add(x, x[:, :2], x),
        "weighted_add": lambda: ops.weighted_add(x, -x, weight=np.stack([v, v[::-1]]), normalization="softmax"),
        "multiply": lambda: ops.multiply(x, x[:, :, :1, :1]),
        "softmax": lambda: ops.softmax(x, groups=3, temperature=100.0),
        "connected": lambda: ops.connected(x, matrix, v[:3]),
        "constant": lambda: ops.constant(x, v.reshape(2, 2, 1)),
    }
    return calls[name]()


every_op = pytest.mark.parametrize("name", sorted(OPS))


@every_op
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_result_has_the_inputs_dtype_and_is_contiguous(name, dtype):
    result = call(name, signed(SHAPE, 0, dtype))
    assert result.dtype == dtype
    assert result.flags.c_contiguous


@every_op
@pytest.mark.parametrize(
    "arrange",
    [
        pytest.param(np.asfortranarray, id="fortran_order"),
        pytest.param(lambda x: np.flip(np.flip(x, 3).copy(), 3), id="negative_strides"),
        pytest.param(lambda x: np.repeat(x, 2, axis=3)[..., ::2], id="every_second_column"),
        pytest.param(lambda x: np.moveaxis(np.moveaxis(x, 1, 3).copy(), 3, 1), id="channels_last_in_memory"),
    ],
)
def test_a_view_that_is_not_contiguous_gives_the_same(name, arrange):
    x = signed(SHAPE, 0)
    view = arrange(x)
    assert not view.flags.c_contiguous
    np.testing.assert_array_equal(call(name, view), call(name, x))


@every_op
def test_a_read_only_input_gives_the_same_and_the_input_stays_as_it_was(name):
    x = signed(SHAPE, 0)
    before = x.copy()
    expected = call(name, x)
    x.flags.writeable = False
    np.testing.assert_array_equal(call(name, x), expected)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("op", "shape"), [(ops.conv2d, (3, 4, 5, 2)), (ops.connected, (3, 96))], ids=["conv2d", "connected"]
)
def test_weights_may_be_read_only_transposed_or_of_another_float_type(op, shape):
    x, weight, bias = signed(SHAPE, 0), signed(shape, 1), signed((3,), 2)
    expected = op(x, weight, bias)
    transposed = np.asfortranarray(weight)
    transposed.flags.writeable = bias.flags.writeable = False
    np.testing.assert_array_equal(op(x, transposed, bias), expected)
    np.testing.assert_array_equal(op(x, weight.astype(np.float64), bias.astype(np.float64)), expected)


@every_op
def test_a_batch_gives_what_its_pictures_give_alone(name):
    x = signed(SHAPE, 0)
    alone = [call(name, x[n : n + 1]) for n in range(SHAPE[0])]
    np.testing.assert_array_equal(call(name, x), np.concatenate(alone))


@every_op
def test_an_empty_batch_gives_an_empty_batch_of_the_right_shape(name):
    x = signed(SHAPE, 0)
    result = call(name, x[:0])
    assert result.shape == (0, *call(name, x).shape[1:])
    assert result.dtype == np.float32


MAP_OPS = sorted(set(OPS) - {"concat", "constant", "add", "weighted_add", "global_average_pool", "connected"})


@pytest.mark.parametrize("name", [*MAP_OPS, "connected", "add", "weighted_add"])
def test_integers_are_refused(name):
    with pytest.raises(ValueError, match=r"expected float32 or float64 \(N, C, H, W\), got int64 \(2, 4, 6, 4\)"):
        call(name, np.ones(SHAPE, np.int64))


@pytest.mark.parametrize("name", [*MAP_OPS, "connected"])
def test_a_map_without_batch_is_refused(name):
    x = signed(SHAPE, 0)
    with pytest.raises(ValueError, match=r"expected float32 or float64 \(N, C, H, W\), got float32 \(4, 6, 4\)"):
        call_without_batch(name, x)


def call_without_batch(name, x):
    """Run an operation on the first picture of `x`, 3-dimensional, where only the first argument is wrong."""
    weight, matrix, v = parameters(x.dtype)
    arguments = {
        "conv2d": (weight,),
        "batch_norm": (v, v, v, v),
        "multiply": (x,),
        "connected": (matrix,),
    }
    attributes = {
        "activation": {"function": "relu"},
        "max_pool": HALF,
        "average_pool": HALF,
        "upsample_nearest": {"size": (8, 10)},
        "channel_slice": {"start": 1, "stop": 3},
        "reorg": {"stride": 2},
    }
    return OPS[name].run(x[0], *arguments.get(name, ()), **attributes.get(name, {}))


X = np.zeros((1, 6, 5, 4), np.float32)


def weight(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: ops.conv2d(X, weight(2, 5, 3, 3)), "weight (2, 5, 3, 3) and groups 1 do not fit 6 input channels"),
        (lambda: ops.conv2d(X, weight(4, 1, 3, 3), groups=4), "groups 4 do not fit 6 input channels"),
        (lambda: ops.conv2d(X, weight(4, 2, 3, 3), groups=3), "groups 3 do not fit 6 input channels"),
        (lambda: ops.conv2d(X, weight(2, 6, 3, 3), weight(3)), "expected bias (2,), got (3,)"),
        (lambda: ops.conv2d(X, weight(2, 6, 6, 3)), "a window of 6 does not fit into 5 cells with padding 0 + 0"),
        (lambda: ops.batch_norm(X, *[weight(5)] * 4), "expected four vectors of 6 channels"),
        (lambda: ops.activation(X, function="gelu"), "unknown activation 'gelu'; known: leaky_relu, relu, relu6,"),
        (lambda: ops.max_pool(X, kernel=(2, 5), stride=(1, 1)), "a window of 5 does not fit into 4 cells"),
        (
            lambda: ops.average_pool(X, kernel=(2, 3), stride=(1, 1), padding=(0, 0, 2, 0)),
            "padding (0, 0, 2, 0) must be smaller than the window (2, 3)",
        ),
        (lambda: ops.reorg(X, stride=2), "stride 2 does not divide (6, 5, 4)"),
        (lambda: ops.add(X), "two or more maps of one size expected, got (6, 5, 4)"),
        (lambda: ops.add(X, X[..., :1]), "two or more maps of one size expected, got (6, 5, 4), (6, 5, 1)"),
        (lambda: ops.weighted_add(X, X, weight=weight(2, 5)), "expected weight (2, 1) or (2, 6), got (2, 5)"),
        (
            lambda: ops.weighted_add(X, X, weight=weight(2, 1), normalization="sum"),
            "normalization must be one of none, relu, softmax, got 'sum'",
        ),
        (lambda: ops.multiply(X, X[:, :1, :1]), "a factor for (6, 5, 4) must be one of"),
        (lambda: ops.softmax(X, groups=7), "groups 7 does not divide the 120 values of (6, 5, 4)"),
        (lambda: ops.softmax(X, temperature=0.0), "temperature must be positive, got 0.0"),
        (lambda: ops.connected(X, weight(3, 119)), "expected weight (3, 120) for (6, 5, 4), got (3, 119)"),
        (lambda: ops.connected(X, weight(3, 120), weight(2)), "expected bias (3,), got (2,)"),
    ],
)
def test_an_error_says_what_was_expected_and_what_was_given(run, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run()


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "message"),
    [
        ("upsample_nearest", [(3, 4, 5)], {"size": (4, 4)}, "size must be at least the input's 4 x 5, got 4 x 4"),
        ("concat", [(3, 4, 5), (2, 4, 6)], {}, "maps of one size expected, got (3, 4, 5), (2, 4, 6)"),
        ("channel_slice", [(3, 4, 5)], {"start": 2, "stop": 2}, "channels 2..2 do not lie within 3"),
        ("channel_slice", [(3, 4, 5)], {"start": 0, "stop": 4}, "channels 0..4 do not lie within 3"),
        ("channel_slice", [(3, 4, 5)], {"start": -1, "stop": 2}, "channels -1..2 do not lie within 3"),
    ],
)
def test_a_shape_rule_refuses_what_the_operation_could_not_do(name, shapes, attributes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        OPS[name].shape(shapes, {}, **attributes)


@pytest.mark.parametrize("op", [ops.add, ops.multiply], ids=["add", "multiply"])
def test_maps_of_unequal_batch_are_refused(op):
    with pytest.raises(ValueError, match="batch"):
        op(np.zeros((2, 3, 2, 2), np.float32), np.zeros((1, 3, 2, 2), np.float32))


@pytest.mark.parametrize("case", conv_params)
def test_conv2d_has_the_shape_and_the_cost_that_its_rules_say(case):
    y = ops.conv2d(signed(case.shape, 0), signed(case.weight_shape, 1), **case.options)
    stored = {"weight": case.weight_shape}
    assert OPS["conv2d"].shape([case.shape[1:]], stored, **case.options) == y.shape[1:]
    per_output = case.weight_shape[1] * case.kernel[0] * case.kernel[1]
    assert OPS["conv2d"].multiply_adds([case.shape[1:]], stored, y.shape[1:]) == per_output * y[0].size


@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
@pytest.mark.parametrize("case", pool_params)
def test_pools_have_the_shape_that_their_rule_says(case, name):
    y = OPS[name].run(signed(case.shape, 0), **case.options)
    assert OPS[name].shape([case.shape[1:]], {}, **case.options) == y.shape[1:]
