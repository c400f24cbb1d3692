"""Names of google/automl's variables, against a recording of the names that its own code gives them."""

from __future__ import annotations

from ast import literal_eval
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from pure_detect.errors import InputError
from pure_detect.registry import find_network
from weights_convert.names.efficientdet import join_fusion_weights
from weights_convert.names.matching import match
from weights_convert.sources import NAMES, convert

GOLDEN = Path(__file__).parent / "golden" / "automl_variables.npz"
NETWORKS = ["efficientdet-d0", "efficientdet-lite0"]


def recorded(name: str) -> dict[str, np.ndarray]:
    """Return zeros under every name of automl's, in its shape."""
    with np.load(GOLDEN) as arrays:
        rows = [str(row).partition(" ") for row in arrays[name]]
    return {variable: np.zeros(literal_eval(shape), np.float32) for variable, _, shape in rows}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_variable_of_automls_has_its_place_and_shape(name: str) -> None:
    graph = find_network(name).build()
    tensors = join_fusion_weights(recorded(name))
    parameters = match("checkpoint", graph, tensors, NAMES[name]["tensorflow"].pairs())
    assert set(parameters) == set(graph.parameters)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_variable_less_or_more_is_told_by_name(name: str) -> None:
    graph, tensors = find_network(name).build(), join_fusion_weights(recorded(name))
    convert = partial(match, "checkpoint", graph, pairs=list(NAMES[name]["tensorflow"].pairs()))
    values = tensors.pop("class_net/class-1-bn-6/gamma")
    with pytest.raises(InputError, match=r"class_net\.p6\.conv1\.batch_norm\.scale: expected class_net/class-1-bn-6"):
        convert(tensors=tensors)
    with pytest.raises(InputError, match=r"extra \(64,\): unknown|extra \(\d+,\): unknown"):
        convert(tensors={**tensors, "class_net/class-1-bn-6/gamma": values, "extra": values})


def test_fusion_weights_come_in_the_order_of_the_inputs() -> None:
    tensors = {f"a/WSM{suffix}": np.float32(i) for i, suffix in enumerate(("", "_1", "_2"))}
    joined = join_fusion_weights({"b/WSM_1": np.float32(9), **dict(reversed(tensors.items()))})
    assert joined["a/WSM"].tolist() == [0, 1, 2]
    assert set(joined) == {"a/WSM", "b/WSM_1"}


def test_a_keras_file_in_automls_layout_gives_back_the_weights(tmp_path: Path) -> None:
    """As `save_weights` lays it out: a group a top layer, in it the variables' full names, which end in `:0`."""
    network, rng = find_network("efficientdet-d0"), np.random.default_rng(0)
    variables = {name: rng.random(value.shape, np.float32) for name, value in recorded(network.name).items()}
    layers: dict[str, list[str]] = {}
    for name in variables:
        layers.setdefault(name.partition("/")[0], []).append(f"{name}:0")
    with h5py.File(tmp_path / "efficientdet-d0.h5", "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name in names:
                group[name] = variables[name.removesuffix(":0")]
    converted, source = convert(tmp_path / "efficientdet-d0.h5", network, network.batch_norm_rule)
    assert source.format == "keras"
    np.testing.assert_array_equal(
        converted["class_net.conv1.pointwise.bias"], variables["class_net/class-1/bias"], strict=True
    )
    fusion = "fpn_cells/cell_2/fnode5/WSM"
    expected = [variables[f"{fusion}{suffix}"] for suffix in ("", "_1", "_2")]
    np.testing.assert_array_equal(converted["fpn.cell2.p5_out.fuse.weight"][:, 0], expected)
