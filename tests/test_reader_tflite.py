"""TFLite files of hand-made bytes: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pure_detect.errors import InputError
from tests.mutations import assert_independent, assert_refused, assert_survives, mutations, one_line_error
from tests.tflite_files import Tflite, flatbuffer
from weights_convert.readers import tflite
from weights_convert.readers.tflite import Convolution

RNG = np.random.default_rng(0)
CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, CUSTOM, HARD_SWISH = 3, 4, 6, 32, 117

CONV_WEIGHT = RNG.integers(-127, 128, (4, 3, 2, 3), dtype=np.int8)  # out, height, width, in
CONV_BIAS = RNG.integers(-(2**30), 2**30, 4, dtype=np.int32)
DEPTHWISE_WEIGHT = RNG.integers(0, 256, (1, 2, 3, 4), dtype=np.uint8)
CONV_SCALE = np.array([0.5, 0.25, 0.1, 3e-4], np.float32)
CONV_OPTIONS = {0: ("b", 1), 1: ("i", 2), 2: ("i", 1), 3: ("b", 3)}  # VALID, width 2, height 1, RELU6
DEPTHWISE_OPTIONS = {0: ("b", 0), 1: ("i", 1), 2: ("i", 2), 3: ("i", 1), 4: ("b", 1), 5: ("i", 3), 6: ("i", 2)}


def network() -> Tflite:
    """Return a convolution per channel, h-swish, and a depthwise convolution per tensor."""
    model = Tflite()
    image = model.tensor("image", (1, 8, 9, 3), "int8", scale=[0.5], zero_point=[-1])
    weight = model.constant("conv/w", CONV_WEIGHT, scale=CONV_SCALE, zero_point=[0] * 4)
    bias = model.constant("conv/b", CONV_BIAS, scale=CONV_SCALE / 2, zero_point=[0] * 4)
    hidden, swished = (model.tensor(name, (1, 6, 4, 4)) for name in ("hidden", "swished"))
    model.operator(CONV_2D, [image, weight, bias], [hidden], (1, CONV_OPTIONS))
    model.operator(HARD_SWISH, [hidden], [swished])
    depthwise = model.constant("depthwise/w", DEPTHWISE_WEIGHT, scale=[0.25], zero_point=[128])
    out = model.tensor("out", (1, 3, 4, 4))
    model.operator(DEPTHWISE_CONV_2D, [swished, depthwise, -1], [out], (2, DEPTHWISE_OPTIONS))
    return model


def read_bytes(content: bytes, folder: Path) -> tflite.TfliteModel:
    (folder / "model").write_bytes(content)
    return tflite.read(folder / "model")


def test_operators_come_in_order_with_their_options(tmp_path: Path) -> None:
    model = read_bytes(network().encoded([0], [6]), tmp_path)
    assert [(op.name, op.inputs, op.outputs) for op in model.operators] == [
        ("CONV_2D", (0, 1, 2), (3,)),
        ("HARD_SWISH", (3,), (4,)),
        ("DEPTHWISE_CONV_2D", (4, 5, -1), (6,)),
    ]
    assert [op.options for op in model.operators] == [
        Convolution("VALID", (1, 2), (1, 1), "RELU6", 0),  # dilations are absent: 1
        None,
        Convolution("SAME", (2, 1), (2, 3), "RELU", 1),
    ]
    assert (model.inputs, model.outputs) == ((0,), (6,))
    assert (model.tensors[0].name, model.tensors[0].shape, model.tensors[0].element) == ("image", (1, 8, 9, 3), "int8")
    assert model.tensors[0].values is None


def test_weights_are_dequantised_per_channel_and_per_tensor(tmp_path: Path) -> None:
    constants = read_bytes(network().encoded(), tmp_path).constants()
    assert list(constants) == ["conv/w", "conv/b", "depthwise/w"]
    scale = CONV_SCALE.astype(np.float64)
    expected = {
        "conv/w": CONV_WEIGHT * scale[:, None, None, None],
        "conv/b": CONV_BIAS * scale / 2,
        "depthwise/w": (DEPTHWISE_WEIGHT.astype(np.float64) - 128) / 4,
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(constants[name], values.astype(np.float32), strict=True)
    assert_independent(constants)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_scales_lie_along_the_axis_that_the_file_says(axis: int, tmp_path: Path) -> None:
    stored = RNG.integers(-128, 128, (2, 3, 4, 5), dtype=np.int8)
    count = stored.shape[axis]
    scale, zero_point = np.arange(1, count + 1) / 8, np.arange(count) - 1
    model = Tflite()
    model.constant("w", stored, scale=scale, zero_point=zero_point, dimension=axis)
    (tensor,) = read_bytes(model.encoded(), tmp_path).tensors
    assert tensor.values is not None
    assert tensor.quantization is not None
    assert tensor.quantization.dimension == axis
    for i in range(count):
        found = tensor.values.take(i, axis)
        np.testing.assert_array_equal(found, scale[i] * (stored.take(i, axis).astype(np.float32) - zero_point[i]))


def test_integers_without_a_scale_stay_integers(tmp_path: Path) -> None:
    model = Tflite()
    model.constant("shape", np.array([1, 2034, 91], np.int32))
    (tensor,) = read_bytes(model.encoded(), tmp_path).tensors
    assert tensor.values is not None
    assert (tensor.values.dtype, tensor.values.tolist()) == (np.int32, [1, 2034, 91])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(dtype: type, tmp_path: Path) -> None:
    stored = RNG.normal(size=(3, 2)).astype(dtype)
    model = Tflite()
    model.constant("w", stored)
    (tensor,) = read_bytes(model.encoded(), tmp_path).tensors
    np.testing.assert_array_equal(tensor.values, stored.astype(np.float32), strict=True)


def test_a_dequantize_of_a_constant_is_carried_out(tmp_path: Path) -> None:
    half = RNG.normal(size=(4, 1, 1, 3)).astype(np.float16)
    model = Tflite()
    image, stored = model.tensor("image", (1, 2, 2, 3)), model.constant("w;float16", half)
    weight, out = model.tensor("w", half.shape), model.tensor("out", (1, 2, 2, 4))
    model.operator(DEQUANTIZE, [stored], [weight])
    model.operator(CONV_2D, [image, weight], [out], (1, CONV_OPTIONS))
    model.operator(DEQUANTIZE, [out], [model.tensor("result", (1, 2, 2, 4))])
    found = read_bytes(model.encoded(), tmp_path)
    assert [operator.name for operator in found.operators] == ["CONV_2D", "DEQUANTIZE"]
    assert list(found.constants()) == ["w"]
    np.testing.assert_array_equal(found.constants()["w"], half.astype(np.float32), strict=True)


def test_operators_have_the_names_of_new_codes_old_codes_and_their_own(tmp_path: Path) -> None:
    model = Tflite()
    for code in (CONV_2D, 206, CUSTOM):
        model.operator(code, [], [], (1, CONV_OPTIONS))
    model.codes[0] = {0: ("b", CONV_2D)}  # before there were more than 127
    model.codes[2] = {0: ("b", CUSTOM), 1: "TFLite_Detection_PostProcess", 3: ("i", CUSTOM)}
    found = read_bytes(model.encoded(), tmp_path)
    assert [op.name for op in found.operators] == ["CONV_2D", "BUILTIN_206", "TFLite_Detection_PostProcess"]


def changed(**changes: Any) -> bytes:
    """Encode the network with fields changed: `tensor1={...}`, `buffer1`, `operator0`, `code0`, `version`."""
    model = network()
    for key, fields in changes.items():
        if key == "version":
            model.version = fields
        else:
            rows = {"tensor": model.tensors, "buffer": model.buffers, "operator": model.operators, "code": model.codes}
            row = rows[key.rstrip("0123456789")][int(key[-1])]
            row.update(fields)
            for field in [field for field, value in row.items() if value is None]:
                del row[field]
    return model.encoded()


def scales(scale: list[float], zero_point: list[int], dimension: int = 0) -> dict[int, Any]:
    return {4: {2: np.array(scale, "<f4"), 3: np.array(zero_point, "<i8"), 6: ("i", dimension)}}


TWICE = network()
TWICE.tensors[2][3] = "conv/w"

REFUSED = {
    "another format": (b"\x20\0\0\0TFL2" + bytes(100), "found no TFL3 at byte 4"),
    "an empty file": (b"", "found an empty file"),
    "a root beyond the file": (b"\xff\xff\xff\x7fTFL3" + bytes(8), "a damaged file"),
    "a vtable before the file": (b"\x08\0\0\0TFL3\x7f\0\0\0" + bytes(8), "found bytes -119 to"),
    "an old version": (changed(version=2), "found 1 of version 2"),
    "no subgraph": (flatbuffer({0: ("I", 3)}), "found 0 of version 3"),
    "two subgraphs": (flatbuffer({0: ("I", 3), 2: [{}, {}]}), "found 2 of version 3"),
    "a buffer that is not there": (changed(tensor1={2: ("I", 9)}), "tensor 'conv/w': expected a buffer from 0 to 3"),
    "fewer bytes than the shape": (changed(buffer1={0: np.zeros(71, "u1")}), "expected 72 bytes for int8 [4, 3, 2, 3]"),
    "a negative size": (changed(tensor1={0: np.array([-1], "<i4")}), "tensor 'conv/w': expected a shape"),
    "three scales for four channels": (changed(tensor1=scales([1] * 3, [0] * 3)), "found 3 scales and 3 zero points"),
    "scales along no axis": (changed(tensor1=scales([1] * 4, [0] * 4, 7)), "for axis 7 of [4, 3, 2, 3]"),
    "one zero point for four": (changed(tensor1=scales([1] * 4, [0])), "found 4 scales and 1 zero points"),
    "a scale that is NaN": (changed(tensor1=scales([np.nan], [0])), "expected finite scales"),
    "a negative scale": (changed(tensor1=scales([-1], [0])), "expected finite scales"),
    "four bits": (changed(tensor1={1: ("b", 17)}), "tensor 'conv/w': expected a dense constant of a type"),
    "a sparse tensor": (changed(tensor1={6: {}}), "found a sparse one"),
    "values behind the flatbuffer": (changed(buffer1={1: ("Q", 4096)}), "as in files over 2 GB"),
    "values in another file": (changed(tensor1={10: ("I", 1)}), "found them elsewhere"),
    "a name that is no text": (changed(tensor1={3: np.array([255], "u1")}), "expected text in UTF-8"),
    "an operator code that is not there": (changed(operator0={0: ("I", 3)}), "operator 0: expected an operator code"),
    "an input that is not there": (changed(operator0={1: np.array([7], "<i4")}), "expected a tensor from -1 to 6"),
    "an output that is not there": (changed(operator1={2: np.array([-1], "<i4")}), "operator 1: expected a tensor"),
    "a network's output that is not there": (network().encoded([0], [7]), "expected a tensor from 0 to 6, found 7"),
    "no options": (changed(operator0={4: None}), "expected the options of CONV_2D"),
    "another operator's options": (changed(operator0={3: ("B", 2)}), "expected the options of CONV_2D"),
    "a padding of tomorrow": (changed(operator0={4: {**CONV_OPTIONS, 0: ("b", 2)}}), "found codes 2 and 3"),
    "an activation of tomorrow": (changed(operator0={4: {**CONV_OPTIONS, 3: ("b", -1)}}), "found codes 1 and -1"),
    "no stride": (changed(operator0={4: {}}), "expected strides and dilations from 1 up, found (0, 0)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_cannot_be_read_are_refused(case: str, tmp_path: Path) -> None:
    assert_refused(tflite.read, REFUSED[case][0], tmp_path / "model.tflite", REFUSED[case][1])


def test_two_constants_of_one_name_cannot_be_told_by_name(tmp_path: Path) -> None:
    model = read_bytes(TWICE.encoded(), tmp_path)
    with pytest.raises(InputError, match="found 'conv/w' twice"):
        model.constants()


def test_a_small_file_cannot_take_much_memory_or_time(tmp_path: Path) -> None:
    """Flatbuffers may refer to the same bytes from many places."""
    many = Tflite()
    many.constant("w", np.zeros((512, 512), np.uint8), scale=[1], zero_point=[0])
    many.tensors *= 1000
    tables = Tflite()
    tables.operator(HARD_SWISH, [], [])
    tables.operators *= 60_000
    for model in (many, tables):
        content = model.encoded()
        assert len(content) < 1 << 20
        assert assert_survives(tflite.read, iter([content]), tmp_path / "model.tflite") == 1
        assert "at most 16 times the file" in str(one_line_error(tflite.read, tmp_path / "model.tflite"))


def test_damaged_models_are_read_or_refused(tmp_path: Path) -> None:
    content = network().encoded([0], [6])
    assert 100 < assert_survives(tflite.read, mutations(content, 300, seed=1), tmp_path / "model.tflite") < 300


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    content = network().encoded([0], [6])
    for length in range(0, len(content) - 1, 3):  # the last byte closes a text that its length already ends
        (tmp_path / "cut").write_bytes(content[:length])
        assert one_line_error(tflite.read, tmp_path / "cut") is not None, length


def test_a_model_is_told_from_its_identifier() -> None:
    assert tflite.matches("weights.bin", network().encoded()[:32])
    assert not tflite.matches("model.tflite", b"TFL3" + bytes(28))
    assert not tflite.matches("model.tflite", b"")
