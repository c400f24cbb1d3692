"""What a graph knows before any weight is loaded: shapes, counts and names."""

from __future__ import annotations

import pytest

from pure_detect.graph import BatchNormRule, Builder, Parameter, Tensor
from pure_detect.ops import OPS
from tests.small_networks import counted_network, network_of_every_op

# Node: (channels, height, width), parameters that training moves, multiply-adds.
COUNTED = {
    "stem.conv": ((8, 4, 3), 8 * 3 * 3 * 3, 8 * 3 * 3 * 3 * 12),
    "stem.batch_norm": ((8, 4, 3), 8 + 8, 0),
    "stem.activation": ((8, 4, 3), 0, 0),
    "depthwise": ((8, 4, 3), 8 * 1 * 3 * 3 + 8, 8 * 1 * 3 * 3 * 12),
    "fusion": ((8, 4, 3), 2 * 8, 0),
    "head": ((5, 4, 3), 5 * 8 + 5, 5 * 8 * 12),
    "classes": ((4, 1, 1), 4 * 5 * 12 + 4, 4 * 5 * 12),
}


def test_every_node_has_the_shape_parameters_and_multiply_adds_counted_by_hand():
    found = {
        node.name: (node.shape, sum(p.size for p in node.parameters.values() if p.learnable), node.multiply_adds)
        for node in counted_network().nodes
    }
    assert found == COUNTED


def test_the_totals_are_those_counted_by_hand():
    graph = counted_network()
    assert graph.learnable_count == 216 + 16 + 80 + 16 + 45 + 244 == 617
    assert graph.statistics_count == 8 + 8
    assert graph.multiply_adds == 2592 + 864 + 480 + 240 == 4176
    assert graph.output_shapes == [(4, 1, 1)]


def test_parameters_are_named_after_their_nodes_and_stand_in_their_order():
    assert {name: p.shape for name, p in counted_network().parameters.items()} == {
        "stem.conv.weight": (8, 3, 3, 3),
        "stem.batch_norm.scale": (8,),
        "stem.batch_norm.bias": (8,),
        "stem.batch_norm.mean": (8,),
        "stem.batch_norm.variance": (8,),
        "depthwise.weight": (8, 1, 3, 3),
        "depthwise.bias": (8,),
        "fusion.weight": (2, 8),
        "head.weight": (5, 8, 1, 1),
        "head.bias": (5,),
        "classes.weight": (4, 60),
        "classes.bias": (4,),
    }


def test_the_network_of_every_op_has_every_op():
    assert {node.op for node in network_of_every_op().nodes} == set(OPS)


def test_outputs_keep_the_order_in_which_they_were_asked_for():
    graph = network_of_every_op()
    assert graph.outputs == ("probabilities", "averaged")
    assert graph.output_shapes == [(10, 1, 1), (8, 5, 6)]


def test_a_parameter_that_two_nodes_share_counts_once_and_its_multiply_adds_twice():
    net = Builder((2, 4, 4))
    weight = Parameter("shared.weight", (2, 2, 1, 1))
    options = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    x = net.add_node("conv2d", "first", [net.image], {"weight": weight}, **options)
    graph = net.graph([net.add_node("conv2d", "second", [x], {"weight": weight}, **options)])
    assert (graph.learnable_count, graph.multiply_adds) == (4, 2 * 4 * 16)


def test_conv_pads_by_half_the_kernel_unless_told_otherwise():
    net = Builder((3, 8, 8))
    net.conv(net.image, 1, kernel=5, name="half")
    net.conv(net.image, 1, kernel=5, padding=1, name="number")
    net.conv(net.image, 1, kernel=5, padding=(0, 1, 2, 3), name="four")
    net.conv(net.image, 1, kernel=5, padding=0, name="none")
    padding = {name: node.attributes["padding"] for name, node in net.nodes.items()}
    assert padding == {"half": (2, 2, 2, 2), "number": (1, 1, 1, 1), "four": (0, 1, 2, 3), "none": (0, 0, 0, 0)}


def test_conv_bn_makes_three_nodes_or_two_and_no_bias():
    net = Builder((3, 8, 8))
    x = net.conv_bn(net.image, 4, kernel=1, activation="relu", name="a")
    x = net.conv_bn(x, 4, kernel=1, activation=None, name="b")
    graph = net.graph([x])
    assert [n.name for n in graph.nodes] == ["a.conv", "a.batch_norm", "a.activation", "b.conv", "b.batch_norm"]
    assert "a.conv.bias" not in graph.parameters
    assert [n.inputs for n in graph.nodes] == [
        ("image",),
        ("a.conv",),
        ("a.batch_norm",),
        ("a.activation",),
        ("b.conv",),
    ]


def test_batch_norm_takes_the_networks_rule_unless_the_call_has_its_own():
    net = Builder((3, 2, 2), BatchNormRule(1e-3, inside=False))
    net.batch_norm(net.image, name="networks")
    net.batch_norm(net.image, name="own", rule=BatchNormRule(1e-6))
    rules = {name: tuple(node.attributes.values()) for name, node in net.nodes.items()}
    assert rules == {"networks": (1e-3, False), "own": (1e-6, True)}


def test_nodes_that_no_output_needs_are_dropped_with_their_parameters():
    net = Builder((3, 4, 4))
    x = net.conv(net.image, 2, kernel=1, name="kept")
    unused = net.conv(x, 7, kernel=3, name="unused")
    net.activation(unused, "relu", name="unused.activation")
    y = net.activation(x, "relu", name="output")
    graph = net.graph([y])
    assert [node.name for node in graph.nodes] == ["kept", "output"]
    assert list(graph.parameters) == ["kept.weight", "kept.bias"]


def test_nodes_stand_in_an_order_in_which_they_can_run():
    graph = network_of_every_op()
    ready = {graph.input.name}
    for node in graph.nodes:
        assert ready.issuperset(node.inputs)
        ready.add(node.name)


def test_a_second_node_of_one_name_is_an_error_that_names_it():
    net = Builder((3, 4, 4))
    net.activation(net.image, "relu", name="twice")
    with pytest.raises(ValueError, match=r"^twice: there is a node of this name already$"):
        net.activation(net.image, "relu", name="twice")


def test_a_node_cannot_take_the_inputs_name():
    net = Builder((3, 4, 4))
    with pytest.raises(ValueError, match=r"^image: there is a node of this name already$"):
        net.activation(net.image, "relu", name="image")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda net, x: net.conv(x, 4, kernel=7, padding=0, name="n"), r"^n \(conv2d\): a window of 7 does not fit"),
        (lambda net, x: net.conv(x, 4, kernel=1, groups=2, name="n"), r"^n \(conv2d\): weight \(4, 1, 1, 1\) and gr"),
        (lambda net, x: net.concat([x, net.upsample(x, factor=2, name="u")], name="n"), r"^n \(concat\): maps of one "),
        (lambda net, x: net.add([x], name="n"), r"^n \(add\): two or more maps of one size expected, got \(3, 4, 5\)"),
        (lambda net, x: net.reorg(x, stride=2, name="n"), r"^n \(reorg\): stride 2 does not divide \(3, 4, 5\)"),
        (lambda net, x: net.softmax(x, groups=7, name="n"), r"^n \(softmax\): groups 7 does not divide the 60 values"),
        (lambda net, x: net.upsample(x, factor=0, name="n"), r"^n \(upsample_nearest\): size must be at least the"),
        (lambda net, x: net.max_pool(x, kernel=5, stride=1, name="n"), r"^n \(max_pool\): a window of 5 does not fit"),
        (lambda net, x: net.channel_slice(x, start=1, stop=4, name="n"), r"^n \(channel_slice\): channels 1..4 do not"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_an_error_that_names_the_node(build, message):
    net = Builder((3, 4, 5))
    with pytest.raises(ValueError, match=message):
        build(net, net.image)


def test_a_node_that_failed_is_not_recorded():
    net = Builder((3, 4, 5))
    with pytest.raises(ValueError, match="reorg"):
        net.reorg(net.image, stride=2, name="n")
    net.activation(net.image, "relu", name="n")


def test_an_unknown_activation_is_an_error_that_names_the_node():
    net = Builder((3, 4, 5))
    with pytest.raises(ValueError, match=r"^n \(activation\): unknown activation 'gelu'"):
        net.activation(net.image, "gelu", name="n")


def test_an_input_that_no_node_makes_is_an_error_that_names_the_node():
    net = Builder((3, 4, 5))
    with pytest.raises(ValueError, match=r"^n \(activation\): input of another network \(3, 4, 5\)"):
        net.activation(Tensor("of another network", (3, 4, 5)), "relu", name="n")


def test_one_parameter_name_with_two_shapes_is_an_error():
    net = Builder((3, 4, 5))
    net.add_node("constant", "a", [net.image], {"value": Parameter("same", (3, 4, 5))})
    with pytest.raises(ValueError, match=r"^b \(constant\): parameter same is stored with another shape already$"):
        net.add_node("constant", "b", [net.image], {"value": Parameter("same", (3, 5, 4))})
