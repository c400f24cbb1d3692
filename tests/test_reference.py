"""The reference executor: what it returns, keeps, forgets and refuses."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from pure_detect import ops
from pure_detect.graph import Builder
from pure_detect.reference import ReferenceExecutor
from tests.adversarial_shapes import signed
from tests.small_networks import counted_network, network_of_every_op, random_values

GRAPH = network_of_every_op()
VALUES = random_values(GRAPH)
X = signed((2, *GRAPH.input.shape), 7)


@pytest.fixture(scope="module")
def executor():
    return ReferenceExecutor(GRAPH, VALUES)


def chain():
    """Return a graph of three nodes in a row and its parameters."""
    net = Builder((3, 5, 4))
    x = net.conv(net.image, 4, kernel=3, stride=2, name="a.conv")
    x = net.activation(x, "leaky_relu", name="a.activation")
    graph = net.graph([net.max_pool(x, kernel=2, stride=1, name="b.pool")])
    return graph, random_values(graph)


def test_a_network_is_its_operations_one_after_another():
    graph, values = chain()
    x = signed((2, 3, 5, 4), 0)
    conv = ops.conv2d(x, values["a.conv.weight"], values["a.conv.bias"], stride=(2, 2), padding=(1, 1, 1, 1))
    active = ops.activation(conv, function="leaky_relu")
    expected = {"a.conv": conv, "a.activation": active, "b.pool": ops.max_pool(active, kernel=(2, 2), stride=(1, 1))}
    found = ReferenceExecutor(graph, values)(x, keep=["*"])
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_parameters_reach_the_argument_they_are_named_for():
    net = Builder((2, 1, 1))
    graph = net.graph([net.batch_norm(net.image, name="n")])
    vectors = {"scale": (2, 3), "bias": (10, 20), "mean": (1, 2), "variance": (4, 9)}
    values = {f"n.{key}": np.array(value, np.float64) for key, value in vectors.items()}
    y = ReferenceExecutor(graph, values, np.float64)(np.array([3.0, 8.0]).reshape(1, 2, 1, 1))["n"]
    np.testing.assert_allclose(y.ravel(), [2 * (3 - 1) / 2 + 10, 3 * (8 - 2) / 3 + 20], rtol=1e-5)


def test_every_value_has_the_shape_that_the_graph_foretold(executor):
    shapes = {name: value.shape for name, value in executor(X, keep=["*"]).items()}
    assert shapes == {node.name: (2, *node.shape) for node in GRAPH.nodes}


def test_without_keep_only_the_outputs_come(executor):
    assert set(executor(X)) == {"probabilities", "averaged"}


def test_keep_takes_names_and_patterns_and_leaves_the_outputs_as_they_are(executor):
    found = executor(X, keep=["gate", "stem.*", "?oined"])
    assert list(found) == [
        "stem.conv",
        "stem.batch_norm",
        "stem.activation",
        "averaged",
        "joined",
        "gate",
        "probabilities",
    ]
    for name, value in executor(X).items():
        np.testing.assert_array_equal(found[name], value)


def test_keep_takes_one_pattern_as_a_string(executor):
    assert set(executor(X, keep="stem.conv")) == {"stem.conv", "probabilities", "averaged"}


@pytest.mark.parametrize("pattern", ["stem", "Gate", "nothing*", "image"])
def test_a_pattern_that_names_nothing_is_an_error_that_says_so(executor, pattern):
    with pytest.raises(ValueError, match=rf"keep: no node is named '{pattern.replace('*', '[*]')}'; .* all 17 names"):
        executor(X, keep=["gate", pattern])


def test_a_value_is_forgotten_after_its_last_use():
    graph, values = chain()
    alive = {}
    for name, value in ReferenceExecutor(graph, values).steps(signed((1, 3, 5, 4), 0)):
        alive[name] = weakref.ref(value)
        del value
        if name == "b.pool":
            assert alive["a.conv"]() is None
    assert alive["a.conv"]() is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_every_value_has_the_executors_dtype_whatever_the_inputs(dtype):
    other = np.float64 if dtype == np.float32 else np.float32
    found = ReferenceExecutor(GRAPH, random_values(GRAPH, dtype=other), dtype)(X.astype(other), keep=["*"])
    assert {value.dtype for value in found.values()} == {np.dtype(dtype)}


def test_float32_and_float64_differ_by_the_roundings_between_layers_alone(executor):
    single = executor(X)["probabilities"]
    double = ReferenceExecutor(GRAPH, VALUES, np.float64)(X)["probabilities"]
    assert 0 < np.abs(single - double).max() < 1e-5


def test_a_batch_of_two_equals_two_single_runs_exactly(executor):
    both = executor(X, keep=["*"])
    first, second = (executor(X[n : n + 1], keep=["*"]) for n in range(2))
    for name, value in both.items():
        np.testing.assert_array_equal(value, np.concatenate([first[name], second[name]]))


def test_a_second_run_gives_the_same(executor):
    np.testing.assert_array_equal(executor(X)["probabilities"], executor(X)["probabilities"])


def test_the_input_may_be_read_only_and_no_contiguous_array(executor):
    x = np.asfortranarray(X)
    x.flags.writeable = False
    np.testing.assert_array_equal(executor(x)["probabilities"], executor(X)["probabilities"])


def test_the_input_stays_as_it_was(executor):
    x = X.copy()
    executor(x, keep=["*"])
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("shape", [(3, 9, 6), (1, 3, 6, 9), (1, 9, 6, 3), (1, 3, 9, 7)], ids=str)
def test_an_input_of_another_shape_is_an_error_that_names_both(executor, shape):
    with pytest.raises(ValueError, match=r"^input: expected \(N, 3, 9, 6\), got \(" + ", ".join(map(str, shape))):
        executor(np.zeros(shape, np.float32))


def test_a_missing_parameter_is_an_error_that_names_it():
    values = {name: value for name, value in VALUES.items() if name != "fused.weight"}
    with pytest.raises(ValueError, match=r"^parameter fused.weight: expected \(3, 1\), got nothing$"):
        ReferenceExecutor(GRAPH, values)


@pytest.mark.parametrize("shape", [(1, 3), (3,), (3, 64)], ids=str)
def test_a_parameter_of_another_shape_is_an_error_that_names_it(shape):
    with pytest.raises(ValueError, match=r"^parameter fused.weight: expected \(3, 1\), got \(" + str(shape[0])):
        ReferenceExecutor(GRAPH, {**VALUES, "fused.weight": np.zeros(shape, np.float32)})


def test_a_scalar_parameter_is_not_called_missing():
    with pytest.raises(ValueError, match=r"got \(\)$"):
        ReferenceExecutor(GRAPH, {**VALUES, "fused.weight": np.float32(1)})


def test_parameters_are_rounded_to_the_executors_dtype():
    precise = random_values(GRAPH, dtype=np.float64)
    rounded = {name: value.astype(np.float32) for name, value in precise.items()}
    expected = ReferenceExecutor(GRAPH, rounded)(X, keep=["*"])
    for name, value in ReferenceExecutor(GRAPH, precise)(X, keep=["*"]).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_parameters_may_be_read_only_or_in_another_order():
    graph = counted_network()
    values = random_values(graph)
    x = signed((1, *graph.input.shape), 0)
    expected = ReferenceExecutor(graph, values)(x)["classes"]
    frozen = {name: np.asfortranarray(value) for name, value in reversed(values.items())}
    for value in frozen.values():
        value.flags.writeable = False
    np.testing.assert_array_equal(ReferenceExecutor(graph, frozen)(x)["classes"], expected)
