"""Sections of a cfg as Darknet reads them: convolutions, pools, routes and shortcuts, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.cfg_layers import CONV, FOUR, TWO, counting, graph, identity, last, network, run


class TestConvolutional:
    @pytest.mark.parametrize(
        ("options", "size", "out", "padding", "stride", "dilation"),
        [
            ("size=3 pad=1", (8, 8), (8, 8), 1, (1, 1), 1),
            ("size=3", (8, 8), (6, 6), 0, (1, 1), 1),
            ("size=1 pad=1", (8, 8), (8, 8), 0, (1, 1), 1),  # 1 // 2
            ("size=2 pad=1", (8, 8), (9, 9), 1, (1, 1), 1),
            ("size=5 pad=1", (8, 8), (8, 8), 2, (1, 1), 1),
            ("size=3 padding=2", (8, 8), (10, 10), 2, (1, 1), 1),
            ("size=3 pad=0 padding=1", (8, 8), (8, 8), 1, (1, 1), 1),
            ("size=3 pad=1 padding=5", (8, 8), (8, 8), 1, (1, 1), 1),  # pad wins
            ("size=3 stride=2 pad=1", (7, 9), (4, 5), 1, (2, 2), 1),
            ("size=3 stride=2 pad=1", (8, 10), (4, 5), 1, (2, 2), 1),
            ("size=1 stride=2", (7, 8), (4, 4), 0, (2, 2), 1),
            ("size=3 stride_x=2 pad=1", (8, 8), (8, 4), 1, (1, 2), 1),
            ("size=3 stride=3 stride_y=1 pad=1", (9, 9), (9, 3), 1, (1, 3), 1),
            ("size=3 stride_x=3 stride_y=2 pad=1", (9, 9), (5, 3), 1, (2, 3), 1),
            ("size=3 dilation=2 pad=1", (8, 8), (8, 8), 2, (1, 1), 2),
            ("size=3 dilation=3 pad=1 stride=2", (9, 9), (5, 5), 3, (2, 2), 3),
            ("size=1 dilation=3 pad=1", (8, 8), (8, 8), 0, (1, 1), 1),  # nothing to dilate
        ],
    )
    def test_size_padding_stride_and_dilation(
        self, options: str, size: tuple[int, int], out: Any, padding: int, stride: Any, dilation: int
    ) -> None:
        node = last("[convolutional]\nfilters=5\nactivation=linear\n" + options.replace(" ", "\n"), 3, *size)
        assert node.shape == (5, *out)
        assert dict(node.attributes) == {
            "stride": stride, "padding": (padding,) * 4, "dilation": (dilation,) * 2, "groups": 1
        }  # fmt: skip

    def test_defaults_are_one_filter_of_size_1_and_logistic(self) -> None:
        conv, activation = graph("[convolutional]\n").nodes
        assert conv.shape == (1, 8, 8)
        assert {key: p.shape for key, p in conv.parameters.items()} == {"weight": (1, 3, 1, 1), "bias": (1,)}
        assert activation.attributes == {"function": "sigmoid"}

    @pytest.mark.parametrize(
        ("name", "function"),
        [
            ("leaky", "leaky_relu"), ("logistic", "sigmoid"), ("relu", "relu"), ("relu6", "relu6"), ("mish", "mish"),
            ("swish", "swish"),
        ],
    )  # fmt: skip
    def test_activations_go_by_darknets_names(self, name: str, function: str) -> None:
        assert last(f"[convolutional]\nactivation={name}\n").attributes == {"function": function}

    def test_linear_makes_no_node(self) -> None:
        assert [node.op for node in graph(FOUR).nodes] == ["conv2d"]

    def test_batch_normalize_takes_the_bias_place(self) -> None:
        built = graph("[convolutional]\nbatch_normalize=1\nfilters=5\nsize=3\npad=1\nactivation=mish\n")
        assert [(node.name, node.op) for node in built.nodes] == [
            ("layer000.conv", "conv2d"), ("layer000.batch_norm", "batch_norm"), ("layer000.activation", "activation")
        ]  # fmt: skip
        assert {name: p.shape for name, p in built.parameters.items()} == {
            "layer000.conv.weight": (5, 3, 3, 3),
            **{f"layer000.batch_norm.{key}": (5,) for key in ("scale", "bias", "mean", "variance")},
        }
        assert (built.learnable_count, built.statistics_count) == (5 * 27 + 10, 10)
        assert built.multiply_adds == 5 * 27 * 64

    def test_batch_norms_epsilon_is_1e_5_inside_the_root(self) -> None:
        attributes = graph("[convolutional]\nbatch_normalize=1\n").nodes[1].attributes
        assert attributes == {"epsilon": 1e-5, "epsilon_inside": True}

    @pytest.mark.parametrize(("groups", "weight"), [(2, (8, 2, 3, 3)), (4, (8, 1, 3, 3))])
    def test_groups_divide_the_weights(self, groups: int, weight: tuple[int, ...]) -> None:
        node = last(f"{FOUR}[convolutional]\nfilters=8\nsize=3\npad=1\ngroups={groups}\nactivation=linear\n")
        assert node.parameters["weight"].shape == weight
        assert node.attributes["groups"] == groups
        assert node.multiply_adds == np.prod(weight) * 64


class TestPools:
    @pytest.mark.parametrize(
        ("options", "size", "out", "kernel", "stride", "padding"),
        [
            ("size=2 stride=2", (8, 12), (4, 6), 2, (2, 2), (0, 0, 1, 1)),
            ("size=2 stride=2", (13, 13), (7, 7), 2, (2, 2), (0, 0, 1, 1)),
            ("size=2 stride=1", (13, 12), (13, 12), 2, (1, 1), (0, 0, 1, 1)),
            ("size=3 stride=1", (8, 8), (8, 8), 3, (1, 1), (1, 1, 1, 1)),
            ("size=5 stride=1", (13, 13), (13, 13), 5, (1, 1), (2, 2, 2, 2)),
            ("size=4 stride=1", (8, 8), (8, 8), 4, (1, 1), (1, 1, 2, 2)),
            ("size=3 stride=2", (8, 9), (4, 5), 3, (2, 2), (1, 1, 1, 1)),
            ("stride=3", (8, 9), (3, 3), 3, (3, 3), (1, 1, 1, 1)),  # size = stride: (8 + 2 - 3) // 3 + 1
            ("", (8, 8), (8, 8), 1, (1, 1), (0, 0, 0, 0)),
            ("size=2 stride=2 padding=0", (13, 12), (6, 6), 2, (2, 2), (0, 0, 0, 0)),
            ("size=3 stride=2 padding=1", (9, 8), (4, 4), 3, (2, 2), (0, 0, 1, 1)),
            ("size=2 stride=1 stride_x=2", (8, 8), (8, 4), 2, (1, 2), (0, 0, 1, 1)),
            ("size=2 stride_y=2", (8, 8), (4, 8), 2, (2, 1), (0, 0, 1, 1)),
        ],
    )
    @pytest.mark.parametrize(("section", "op"), [("maxpool", "max_pool"), ("local_avgpool", "average_pool")])
    def test_padding_is_the_total_of_both_sides_by_default_size_less_1(
        self, section: str, op: str, options: str, size: Any, out: Any, kernel: int, stride: Any, padding: Any
    ) -> None:
        node = last(f"[{section}]\n" + options.replace(" ", "\n"), 3, *size)
        assert (node.op, node.shape) == (op, (3, *out))
        assert node.attributes == {"kernel": (kernel, kernel), "stride": stride, "padding": padding}

    def test_stride_1_size_2_takes_the_maximum_with_the_right_and_lower_neighbours(self) -> None:
        x = np.array([[[1, -5, 2], [-4, -3, -9], [0, -8, -7]]], np.float64)
        expected = [[1, 2, 2], [0, -3, -7], [0, -7, -7]]
        np.testing.assert_array_equal(run("[maxpool]\nsize=2\nstride=1\n", x)[0], expected)

    def test_a_local_average_does_not_count_what_lies_outside(self) -> None:
        x = np.array([[[2, 4], [6, 12]]], np.float64)
        np.testing.assert_array_equal(run("[local_avgpool]\nsize=2\nstride=1\n", x)[0], [[6, 8], [9, 12]])

    def test_avgpool_is_the_mean_of_the_whole_map(self) -> None:
        out = run("[avgpool]\n", counting(2, 3, 5))
        np.testing.assert_allclose(out, np.array([7, 22]).reshape(2, 1, 1))


class TestRoute:
    def test_one_layer_makes_no_node(self) -> None:
        built = graph(f"{FOUR}[maxpool]\n[route]\nlayers=-2\n{TWO}")
        assert [(n.name, n.inputs) for n in built.nodes[1:]] == [("layer003.conv", ("layer000.conv",))]

    def test_layers_are_stacked_in_the_order_listed(self) -> None:
        node = last(f"{FOUR}{TWO}{CONV.format(1)}[route]\nlayers=-1, 0, -2\n")
        assert node.inputs == ("layer002.conv", "layer000.conv", "layer001.conv")
        assert node.shape == (7, 8, 8)

    def test_negative_indices_count_back_from_here_and_others_from_the_first_layer(self) -> None:
        for layers in ("-3,-1", "0,2", "-3,2"):
            node = last(f"{FOUR}{TWO}{CONV.format(1)}[route]\nlayers={layers}\n")
            assert node.inputs == ("layer000.conv", "layer002.conv")

    def test_every_layer_counts_even_those_without_a_node(self) -> None:
        body = f"{FOUR}[dropout]\n[route]\nlayers=0\n[cost]\n{TWO}[route]\nlayers=-2,1,0,4\n"
        assert last(body).inputs == ("layer000.conv", "layer000.conv", "layer000.conv", "layer004.conv")

    @pytest.mark.parametrize(("group", "channels"), [(0, [0, 1]), (1, [2, 3])])
    def test_a_group_is_a_run_of_channels(self, group: int, channels: list[int]) -> None:
        x = counting(4, 2, 2)
        out = run(f"{FOUR}[route]\nlayers=-1\ngroups=2\ngroup_id={group}\n", x, **identity(0, 4))
        np.testing.assert_array_equal(out, x[channels])

    def test_with_groups_each_layer_gives_its_own_share(self) -> None:
        built = graph(f"{FOUR}{TWO}[route]\nlayers=0,1\ngroups=2\ngroup_id=1\n")
        slices = [
            (n.inputs, n.attributes["start"], n.attributes["stop"]) for n in built.nodes if n.op == "channel_slice"
        ]
        assert slices == [(("layer000.conv",), 2, 4), (("layer001.conv",), 1, 2)]
        assert built.output_shapes == [(3, 8, 8)]


class TestShortcut:
    def test_the_layer_before_comes_first_then_those_named(self) -> None:
        node = last(f"{FOUR}{FOUR}{FOUR}[shortcut]\nfrom=-3,1\n")
        assert (node.op, node.inputs) == ("add", ("layer002.conv", "layer000.conv", "layer001.conv"))

    def test_activation_is_linear_unless_named(self) -> None:
        assert last(f"{FOUR}{FOUR}[shortcut]\nfrom=-2\n").op == "add"
        assert last(f"{FOUR}{FOUR}[shortcut]\nfrom=-2\nactivation=leaky\n").attributes == {"function": "leaky_relu"}

    @pytest.mark.parametrize(("first", "second", "expected"), [(2, 4, [0, 22]), (4, 2, [0, 22, 20, 30])])
    def test_only_the_channels_that_both_have_are_added(self, first: int, second: int, expected: list[int]) -> None:
        """Of channels 0, 10, 20, 30 the copy with weight 1.2 is added; the layer before decides how many there are."""
        x = np.array([0, 10, 20, 30.0]).reshape(4, 1, 1)
        copy = np.eye(4)[:, :, None, None]
        before, named = copy[:first], 1.2 * copy[:second]
        body = f"{FOUR}{CONV.format(second)}[route]\nlayers=0\n{CONV.format(first)}[shortcut]\nfrom=1\n"
        parameters = {
            **identity(0, 4),
            "layer001__conv__weight": named, "layer001__conv__bias": np.zeros(second),
            "layer003__conv__weight": before, "layer003__conv__bias": np.zeros(first),
        }  # fmt: skip
        np.testing.assert_allclose(run(body, x, **parameters).ravel(), expected, rtol=1e-6)

    @pytest.mark.parametrize(
        ("normalization", "weights", "expected"),
        [
            ("none", [2, -1, 0.5], [2, -1, 0.5]),
            ("relu", [2, -1, 0.5], [2 / 2.5001, 0, 0.5 / 2.5001]),
            ("avg_relu", [1, 1, 2], [1 / 4.0001, 1 / 4.0001, 2 / 4.0001]),
            ("softmax", [0, 0, np.log(2)], [0.5 / 2.0001, 0.5 / 2.0001, 1 / 2.0001]),
        ],
    )
    @pytest.mark.parametrize("kind", ["per_feature", "per_layer"])
    def test_trained_weights_one_a_layer(self, kind: str, normalization: str, weights: Any, expected: Any) -> None:
        """The layers hold 1, 10 and 100, so the sum spells out the three factors; that of the layer before is first."""
        body = (
            f"{CONV.format(1) * 3}[shortcut]\nfrom=-2,-3\nweights_type={kind}\nweights_normalization={normalization}\n"
        )
        parameters = {f"layer{i:03d}__conv__weight": np.zeros((1, 1, 1, 1)) for i in range(3)}
        parameters |= {f"layer{i:03d}__conv__bias": [100 / 10**i] for i in range(3)}
        parameters["layer003__shortcut__weight"] = np.reshape(weights, (3, 1))
        out = run(body, np.zeros((1, 1, 1)), **parameters)
        np.testing.assert_allclose(out.item(), np.dot(expected, [1, 10, 100]), rtol=1e-6)

    def test_trained_weights_one_a_layer_and_channel(self) -> None:
        node = last(f"{FOUR}{FOUR}[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=relu\n")
        assert node.parameters["weight"].shape == (2, 4)
        assert node.attributes == {"normalization": "relu"}

    @pytest.mark.parametrize("step", [2, 3])
    def test_of_a_larger_map_every_second_or_third_cell_is_taken(self, step: int) -> None:
        """As in the cfgs of ResNets: the shortcut takes a map twice as large, without a convolution."""
        x = counting(1, 4 * step, 2 * step)
        halve = f"[maxpool]\nsize=1\nstride={step}\npadding=0\n"
        body = f"{CONV.format(1)}{halve}[shortcut]\nfrom=-2\n"
        np.testing.assert_array_equal(run(body, x, **identity(0, 1)), 2 * x[:, ::step, ::step])

    def test_a_larger_map_of_no_whole_multiple_is_refused(self) -> None:
        """Darknet would add the upper left part of it."""
        with pytest.raises(InputError, match=r"^x\.cfg, line 13: \[shortcut\] from: .*\(4, 3\).*\(7, 5\)"):
            network(f"{FOUR}[maxpool]\nsize=1\nstride=2\n[shortcut]\nfrom=-2\n", 3, 7, 5)
