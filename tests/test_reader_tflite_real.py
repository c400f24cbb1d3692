"""The reader on TensorFlow's SSDLite MobileNetV3-Small of 8 bits, as it is published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.mutations import assert_survives, mutations
from weights_convert.readers import tflite
from weights_convert.readers.tflite import Convolution

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def real_path(data: Path) -> Path:
    return data / "weights" / "ssdlite_mobilenetv3_small" / "ssd_mobilenet_v3_int8.tflite"


@pytest.fixture(scope="module")
def real(real_path: Path) -> tflite.TfliteModel:
    return tflite.read(real_path)


def test_the_real_model_has_the_operators_of_ssdlite_mobilenetv3_small(real: tflite.TfliteModel) -> None:
    assert (len(real.tensors), len(real.operators)) == (356, 174)
    assert Counter(operator.name for operator in real.operators) == {
        "CONV_2D": 61,
        "DEPTHWISE_CONV_2D": 27,
        "HARD_SWISH": 18,
        "MUL": 18,
        "ADD": 15,
        "RESHAPE": 13,
        "QUANTIZE": 10,
        "AVERAGE_POOL_2D": 9,
        "CONCATENATION": 2,
        "LOGISTIC": 1,
    }
    assert [real.tensors[i].shape for i in real.inputs] == [(1, 320, 320, 3)]
    assert {real.tensors[i].name: real.tensors[i].shape for i in real.outputs} == {
        "raw_outputs/class_predictions": (1, 2034, 91),
        "raw_outputs/box_encodings": (1, 2034, 4),
    }


def test_the_real_models_weights_are_of_8_bits_with_a_scale_a_channel(real: tflite.TfliteModel) -> None:
    numbers = 0
    for operator in real.operators:
        if operator.options is None:
            continue
        _, weight, bias = (real.tensors[i] for i in operator.inputs)
        assert (weight.element, bias.element) == ("int8", "int32")
        axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
        for tensor, dimension in ((weight, axis), (bias, 0)):
            assert tensor.values is not None
            assert tensor.quantization is not None
            assert tensor.quantization.dimension == dimension
            assert tensor.quantization.scale.shape == (tensor.shape[dimension],)
            assert tensor.values.dtype == np.float32
            numbers += tensor.values.size
        assert bias.shape == (weight.shape[axis],)
    # 1,806,207 numbers when trained; folding leaves one number of four for each of 10,232 normalised channels.
    assert numbers == 1_806_207 - 3 * 10_232


def test_the_real_models_scales_are_consistent(real: tflite.TfliteModel) -> None:
    """A bias's scale is the input's times the weight's, and a live channel's largest weight is stored as 127."""
    largest: list[float] = []
    for operator in real.operators:
        if operator.options is None:
            continue
        image, weight, bias = (real.tensors[i] for i in operator.inputs)
        assert image.quantization is not None
        assert weight.quantization is not None
        assert bias.quantization is not None
        product = image.quantization.scale * weight.quantization.scale
        np.testing.assert_allclose(bias.quantization.scale, product, rtol=2e-6)
        assert weight.values is not None
        others = tuple(axis for axis in range(4) if axis != weight.quantization.dimension)
        largest += (np.abs(weight.values).max(axis=others) / weight.quantization.scale).round(3).tolist()
    assert Counter(largest) == {127: 15_199, 0: 335, 1: 1}


def test_the_real_models_first_layers_are_as_published(real: tflite.TfliteModel) -> None:
    """Facts that hold only if buffers, scales and axes are told apart: shapes, ranges, and the literal 0.16667."""
    stem, swish, depthwise = real.operators[:3]
    assert (stem.name, swish.name, depthwise.name) == ("CONV_2D", "HARD_SWISH", "DEPTHWISE_CONV_2D")
    assert stem.options == Convolution("SAME", (2, 2), (1, 1), "NONE", 0)
    assert depthwise.options == Convolution("SAME", (2, 2), (1, 1), "RELU", 1)
    weight, bias = (real.tensors[i] for i in stem.inputs[1:])
    assert weight.values is not None
    assert bias.values is not None
    assert (weight.shape, bias.shape, real.tensors[depthwise.inputs[1]].shape) == ((16, 3, 3, 3), (16,), (1, 3, 3, 16))
    assert (weight.values.min(), weight.values.max()) == pytest.approx((-11.241104, 12.978366), rel=1e-6)
    assert (bias.values.min(), bias.values.max()) == pytest.approx((-4.7787256, 20.794447), rel=1e-6)
    gates = {float(values) for values in real.constants().values() if values.shape == () and 0.1 < values < 0.2}
    assert gates == {float(np.float32(0.16667))}


def test_the_real_model_cut_or_damaged_is_read_or_refused(real_path: Path, tmp_path: Path) -> None:
    content = real_path.read_bytes()
    damaged = [damaged for i, damaged in enumerate(mutations(content, 18, seed=2)) if i % 6]
    assert assert_survives(tflite.read, iter(damaged), tmp_path / "model.tflite", peak_bytes=256 << 20) > 2
    tail = [content[:-1000] + piece for piece in mutations(content[-1000:], 24, seed=3)]
    assert_survives(tflite.read, iter(tail), tmp_path / "model.tflite", peak_bytes=256 << 20)
