"""The less common sections of a cfg, worked out by hand: products, implicit, upsample, reorg, softmax, connected."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cfg_layers import CONV, FOUR, TWO, counting, graph, identity, last, run


class TestOtherLayers:
    def test_scale_channels_multiplies_each_channel_of_the_named_layer(self) -> None:
        x = counting(2, 2, 2)
        out = run(f"{TWO}[avgpool]\n[scale_channels]\nfrom=-2\n", x, **identity(0, 2))
        np.testing.assert_allclose(out, x * np.array([1.5, 5.5])[:, None, None])

    def test_scale_channels_multiplies_each_position_with_scale_wh(self) -> None:
        x = counting(2, 2, 2)
        one = {"layer001__conv__weight": np.array([1, 0.5]).reshape(1, 2, 1, 1), "layer001__conv__bias": [0]}
        out = run(f"{TWO}{CONV.format(1)}[scale_channels]\nfrom=0\nscale_wh=1\n", x, **identity(0, 2), **one)
        np.testing.assert_allclose(out, x * (x[0] + x[1] / 2))

    def test_sam_multiplies_value_by_value_and_activates(self) -> None:
        x = counting(2, 2, 2) - 4
        double = {"layer001__conv__weight": -2 * np.eye(2)[:, :, None, None], "layer001__conv__bias": [0, 0]}
        out = run(f"{TWO}{TWO}[sam]\nfrom=-2\nactivation=leaky\n", x, **identity(0, 2), **double)
        np.testing.assert_allclose(out, -0.2 * x * x, rtol=1e-6)

    def test_implicit_is_a_trained_tensor(self) -> None:
        built = graph(f"{TWO}[implicit]\nfilters=2\natoms=1\n[scale_channels]\nfrom=0\n", 2, 1, 1)
        assert built.parameters["layer001.implicit.value"].shape == (2, 1, 1)
        assert last("[implicit]\n").shape == (128, 1, 1)
        assert last("[implicit]\nfilters=3\natoms=4\n").shape == (3, 4, 1)
        value = {"layer001__implicit__value": np.array([2, 3]).reshape(2, 1, 1)}
        out = run(
            f"{TWO}[implicit]\nfilters=2\n[scale_channels]\nfrom=0\n", np.ones((2, 1, 2)), **identity(0, 2), **value
        )
        np.testing.assert_array_equal(out, [[[2, 2]], [[3, 3]]])

    @pytest.mark.parametrize(("option", "factor"), [("", 2), ("stride=3", 3), ("stride=1", 1)])
    def test_upsample_repeats_every_cell_by_default_twice(self, option: str, factor: int) -> None:
        x = counting(1, 2, 3)
        expected = np.kron(x[0], np.ones((factor, factor)))[None]
        np.testing.assert_array_equal(run(f"[upsample]\n{option}\n", x), expected)

    def test_reorg_is_darknets_own_not_space_to_depth(self) -> None:
        """The loop of `reorg_cpu` (`blas.c`) with forward = 0."""
        C, H, W, stride = 8, 4, 6, 2
        x = counting(C, H, W)
        expected, few = np.empty(x.size), C // stride**2
        for k in range(C):
            for j in range(H):
                for i in range(W):
                    c, offset = k % few, k // few
                    column, row = i * stride + offset % stride, j * stride + offset // stride
                    source = column + W * stride * (row + H * stride * c)
                    expected[i + W * (j + H * k)] = x.ravel()[source]
        out = run("[reorg]\nstride=2\n", x)
        assert out.shape == (32, 2, 3)
        np.testing.assert_array_equal(out.ravel(), expected)
        assert last("[reorg]\n").shape == (3, 8, 8)  # stride 1

    def test_softmax_runs_over_the_whole_vector_or_over_groups(self) -> None:
        x = np.log([1.0, 2, 3, 4]).reshape(4, 1, 1)
        np.testing.assert_allclose(run("[softmax]\n", x).ravel(), [0.1, 0.2, 0.3, 0.4])
        np.testing.assert_allclose(run("[softmax]\ngroups=2\n", x).ravel(), [1 / 3, 2 / 3, 3 / 7, 4 / 7])
        halved = run("[softmax]\ntemperature=0.5\n", x).ravel()
        np.testing.assert_allclose(halved, np.array([1, 4, 9, 16]) / 30)

    def test_connected_flattens_channels_then_rows(self) -> None:
        node = last("[connected]\noutput=2\nactivation=linear\n", 2, 2, 3)
        assert node.shape == (2, 1, 1)
        assert {key: p.shape for key, p in node.parameters.items()} == {"weight": (2, 12), "bias": (2,)}
        weight = np.stack([np.eye(12)[7], np.arange(12)])
        parameters = {"layer000__connected__weight": weight, "layer000__connected__bias": [0.5, 0]}
        out = run("[connected]\noutput=2\nactivation=linear\n", counting(2, 2, 3), **parameters)
        np.testing.assert_allclose(out.ravel(), [7.5, 506])

    def test_connected_is_logistic_by_default_and_takes_batch_norm(self) -> None:
        assert [n.op for n in graph("[connected]\n").nodes] == ["connected", "activation"]
        assert last("[connected]\n").attributes == {"function": "sigmoid"}
        built = graph("[connected]\noutput=5\nbatch_normalize=1\nactivation=relu\n")
        assert [n.op for n in built.nodes] == ["connected", "batch_norm", "activation"]
        assert set(built.nodes[0].parameters) == {"weight"}

    def test_batchnorm_stands_alone(self) -> None:
        built = graph("[batchnorm]\n", 5)
        assert [(n.op, n.shape) for n in built.nodes] == [("batch_norm", (5, 8, 8))]
        assert len(built.parameters) == 4

    @pytest.mark.parametrize("kind", ["dropout", "cost", "empty", "silence"])
    def test_what_only_training_needs_makes_no_node(self, kind: str) -> None:
        assert graph(f"{FOUR}[{kind}]\n{TWO}") == graph(f"{FOUR}[route]\nlayers=-1\n{TWO}")
