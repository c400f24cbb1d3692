"""The readers against files written by TensorFlow itself: every value, type, shape, name and operator equal."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.mutations import assert_independent, assert_survives, mutations
from tests.subprocesses import run
from weights_convert.readers import tensorflow_checkpoint, tensorflow_graph, tflite, tflite_schema

if importlib.util.find_spec("tensorflow") is None:  # the import itself, of seconds, is the other process's
    pytest.skip("needs the extra parity", allow_module_level=True)

pytestmark = pytest.mark.parity

TFLITE = ["float", "dynamic", "float16", "int8", "per_tensor"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of files that TensorFlow has written."""
    folder = tmp_path_factory.mktemp("tensorflow")
    run(["-m", "tests.parity.write_tensorflow_files", str(folder)], timeout=300)
    return folder


def kept(path: Path) -> dict[str, np.ndarray]:
    """Return what TensorFlow reads."""
    names = json.loads(path.with_suffix(".json").read_text())["names"]
    with np.load(path.with_suffix(".npz")) as arrays:
        return {name: arrays[f"arr_{i}"] for i, name in enumerate(names)}


def facts(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".json").read_text())


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        wanted = values.astype(np.float32) if values.dtype.kind == "f" else values
        np.testing.assert_array_equal(found[name], wanted, name, strict=True)
    assert_independent(found)


# Frozen graphs


def test_constants_of_every_type_are_equal(files: Path) -> None:
    graph = tensorflow_graph.read(files / "constants.pb")
    expected = kept(files / "constants")
    assert {values.dtype.name for values in expected.values()} > {"bool", "int8", "uint64", "float64", "float16"}
    assert_same(graph.constants, expected)
    for name, (op, inputs) in facts(files / "constants")["nodes"].items():
        assert graph.nodes[name] == (name, op, tuple(inputs)), name


def test_a_frozen_graphs_weights_are_equal_and_found_through_identity_nodes(files: Path) -> None:
    graph = tensorflow_graph.read(files / "frozen.pb")
    expected = kept(files / "frozen")
    assert_same({name: graph.constants[name] for name in expected}, expected)
    convolution = next(node for node in graph.nodes.values() if node.op == "Conv2D")
    assert convolution.inputs[1] != "Conv/weights"
    assert graph.constant(convolution.inputs[1]) is graph.constants["Conv/weights"]


def test_a_frozen_graph_of_version_2_holds_the_same_weights(files: Path) -> None:
    graph = tensorflow_graph.read(files / "frozen_2.pb")
    for values in kept(files / "frozen_2").values():
        assert any(np.array_equal(values, found) for found in graph.constants.values())


def test_a_graph_that_is_not_frozen_is_refused(files: Path) -> None:
    with pytest.raises(InputError, match=r"not_frozen\.pb: .* found 2 variables, such as 'Conv/weights'"):
        tensorflow_graph.read(files / "not_frozen.pb")


# Checkpoints


def test_an_object_graphs_variables_of_every_type_are_equal(files: Path) -> None:
    found = tensorflow_checkpoint.read(files / "objects-1").tensors
    assert "model/layer/kernel/.ATTRIBUTES/VARIABLE_VALUE" in found
    assert_same(found, kept(files / "objects"))


def test_a_training_of_several_data_files_is_equal(files: Path) -> None:
    assert len(list(files.glob("trained.ckpt-3.data-*"))) > 2
    found = tensorflow_checkpoint.read(files / "trained.ckpt-3.index").tensors
    assert_same(found, kept(files / "trained"))
    assert len(found) == 40 * 4 + 1


def test_published_variables_are_the_moving_averages(files: Path) -> None:
    found = tensorflow_checkpoint.read(files / "trained.ckpt-3.index").tensors
    published = tensorflow_checkpoint.published_variables(found)
    assert_same(published, kept(files / "published"))
    assert not any(np.array_equal(published[name], found[name]) for name in published)


@pytest.mark.parametrize("name", ["saved_model", "saved_model_1"])
def test_a_saved_models_variables_are_equal(name: str, files: Path) -> None:
    assert tensorflow_checkpoint.matches(files / name, b"")
    assert_same(tensorflow_checkpoint.read(files / name).tensors, kept(files / name))


def test_a_partitioned_variable_is_refused_by_name(files: Path) -> None:
    with pytest.raises(InputError, match="expected whole variables, found a part of b'divided'"):
        tensorflow_checkpoint.read(files / "partitioned.ckpt")


def test_a_checkpoint_of_version_1_is_refused_by_name(files: Path) -> None:
    with pytest.raises(InputError, match=r"version_1\.ckpt: expected a checkpoint of version 2, found version 1"):
        tensorflow_checkpoint.read(files / "version_1.ckpt")


# TFLite


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_constants_are_dequantised_as_their_parameters_say(name: str, files: Path) -> None:
    model, quantised = tflite.read(files / f"{name}.tflite"), facts(files / name)["quantised"]
    expected = {}
    for index, stored in kept(files / name).items():
        scale, zero_point, axis = quantised[index]
        if scale:
            shape = [len(scale) if i == axis and len(scale) > 1 else 1 for i in range(stored.ndim)]
            stored = (np.reshape(scale, shape) * (stored - np.reshape(zero_point, shape))).astype(np.float32)
        expected[index] = stored
    constants = {str(i): t.values for i, t in enumerate(model.tensors) if t.values is not None and str(i) in expected}
    assert_same(constants, expected)


def test_per_channel_and_per_tensor_files_differ(files: Path) -> None:
    """Or the test above would not tell them apart."""
    counts = {name: max(len(scale) for scale, *_ in facts(files / name)["quantised"].values()) for name in TFLITE}
    assert counts == {"float": 0, "dynamic": 80, "float16": 0, "int8": 80, "per_tensor": 1}


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_operators_and_tensors_are_the_interpreters(name: str, files: Path) -> None:
    model, expected = tflite.read(files / f"{name}.tflite"), facts(files / name)
    found = []
    for operator in model.operators:
        o = operator.options
        codes = o and [
            tflite_schema.PADDINGS.index(o.padding),
            list(o.strides),
            list(o.dilations),
            tflite_schema.ACTIVATIONS.index(o.activation),
            o.depth_multiplier,
        ]
        found.append([operator.name, list(operator.inputs), list(operator.outputs), codes])
    constants = {int(index) for index in expected["names"]}
    assert found == [op for op in expected["operators"] if not (op[0] == "DEQUANTIZE" and op[1][0] in constants)]
    assert [[t.name, list(t.shape), t.element] for t in model.tensors] == expected["tensors"]
    assert (list(model.inputs), list(model.outputs)) == (expected["inputs"], expected["outputs"])
    kinds = [op.name for op in model.operators if op.options]
    assert kinds == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "CONV_2D"]


@pytest.mark.parametrize("name", TFLITE[1:])
def test_every_conversion_of_a_network_has_its_weights(name: str, files: Path) -> None:
    """By operator order, within half a step of what each file stores: its scale, or float16's precision."""
    exact, model = tflite.read(files / "float.tflite"), tflite.read(files / f"{name}.tflite")
    pairs = zip([op for op in exact.operators if op.options], [op for op in model.operators if op.options])
    for wanted, found in pairs:
        assert found.options == wanted.options
        for i, j in zip(wanted.inputs[1:], found.inputs[1:]):
            values, tensor = exact.tensors[i].values, model.tensors[j]
            assert values is not None
            assert tensor.values is not None
            step = 2**-10 * np.abs(values)
            if tensor.quantization is not None:
                axis = tensor.quantization.dimension
                step = tensor.quantization.scale.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
            assert (np.abs(tensor.values - values) <= 0.5001 * step).all()


def test_the_tables_of_codes_are_the_schemas(files: Path) -> None:
    schema = json.loads((files / "schema.json").read_text())
    assert {str(code): name for code, name in tflite_schema.OPERATORS.items()}.items() <= schema["operators"].items()
    assert {str(code): name.upper() for code, name in tflite_schema.ELEMENTS.items()}.items() <= schema["types"].items()


# Damage


@pytest.mark.parametrize("name", ["constants.pb", "frozen.pb", *(f"{name}.tflite" for name in TFLITE)])
def test_damaged_files_are_read_or_refused(name: str, files: Path, tmp_path: Path) -> None:
    read = tensorflow_graph.read if name.endswith(".pb") else tflite.read
    contents = mutations((files / name).read_bytes(), 300, seed=5)
    assert_survives(read, contents, tmp_path / name)


def test_each_format_is_told_from_every_other(files: Path) -> None:
    paths = {
        tensorflow_graph: [files / name for name in ("constants.pb", "frozen.pb", "frozen_2.pb")],
        tensorflow_checkpoint: [files / "objects-1.index", files / "trained.ckpt-3.index"],
        tflite: [files / f"{name}.tflite" for name in TFLITE],
    }
    for kind, own in paths.items():
        for path in own:
            head = path.read_bytes()[:32]
            assert [reader for reader in paths if reader.matches(path, head)] == [kind], path
    saved_model = files / "saved_model" / "saved_model.pb"
    assert not any(reader.matches(saved_model, saved_model.read_bytes()[:32]) for reader in paths)
