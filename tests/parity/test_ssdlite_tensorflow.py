"""SSDLite of TensorFlow's line against TensorFlow running the published graph's own nodes, on random weights."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pure_detect.image import prepare
from pure_detect.loading import read_file
from pure_detect.models.mobilenetv3 import KERAS, LARGE, reduced_tail
from pure_detect.models.ssdlite import SSDLITE_LARGE, TENSORFLOW_LINE, ssdlite
from pure_detect.reference import ReferenceExecutor
from tests.comparisons import assert_outputs_agree
from tests.subprocesses import run
from weights_convert.cli import main

if importlib.util.find_spec("tensorflow") is None:  # the import itself, of seconds, is the other process's
    pytest.skip("needs the extra parity", allow_module_level=True)

pytestmark = [pytest.mark.parity, pytest.mark.shared_data]

Array = NDArray[Any]
GRAPH = "graphs/ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt"
SIZES = ["320x320", "224x352"]
NUMBERS = {"BoxEncodingPredictor": 4, "ClassPredictor": 91}  # an anchor


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return a folder of what TensorFlow has written and computed."""
    folder = tmp_path_factory.mktemp("tensorflow")
    run(["-m", "tests.parity.run_tensorflow_graph", str(data / GRAPH), str(folder)], timeout=300)
    return folder


def converted(files: Path, source: str) -> dict[str, Array]:
    """Return the parameters of the HDF5 file that weights-convert makes of a source."""
    out = files / f"{source}.h5"
    assert main([str(files / source), "--model", "ssdlite-mobilenetv3-large", "--out", str(out)]) == 0
    return read_file(out)[2]


@pytest.fixture(scope="module")
def parameters(files: Path) -> dict[str, Array]:
    return converted(files, "model.ckpt.index")


def raw_heads(files: Path, size: str) -> tuple[Array, dict[str, Array]]:
    """Return the image and TensorFlow's raw outputs under our names, channels first."""
    names = SSDLITE_LARGE.build().heads[0]
    with np.load(files / f"{size}.npz") as arrays:
        turned = {name: np.ascontiguousarray(arrays[name].transpose(0, 3, 1, 2)) for name in arrays.files}
    heads: dict[str, Array] = {}
    for kind, ours in (("BoxEncodingPredictor", names.box_tensors), ("ClassPredictor", names.class_tensors)):
        heads |= {name: turned[f"BoxPredictor_{i}/{kind}/BiasAdd"] for i, name in enumerate(ours)}
    return turned["image"], heads


@pytest.mark.parametrize("size", SIZES)
def test_raw_heads_of_all_six_maps_agree(size: str, files: Path, parameters: dict[str, Array]) -> None:
    image, theirs = raw_heads(files, size)
    assert len(theirs) == 12
    graph = SSDLITE_LARGE.build(*image.shape[2:])
    assert_outputs_agree(ReferenceExecutor(graph, parameters)(image), theirs)


def test_the_comparison_tells_tensorflows_gate_from_the_papers(files: Path, parameters: dict[str, Array]) -> None:
    """Their gates multiply by 0.16667 instead of 1/6: the smallest of the differences between the lines."""
    image, theirs = raw_heads(files, "320x320")
    line = TENSORFLOW_LINE._replace(convention=KERAS)
    other = replace(SSDLITE_LARGE, define=partial(ssdlite, rows=reduced_tail(LARGE), line=line, columns=91))
    with pytest.raises(AssertionError, match="heads"):
        assert_outputs_agree(ReferenceExecutor(other.build(), parameters)(image), theirs)


def test_the_network_has_as_many_variables_as_the_published_checkpoint(parameters: dict[str, Array]) -> None:
    assert len(parameters) == 406
    assert sum(values.size for values in parameters.values()) == 3_281_199


@pytest.mark.parametrize("source", ["frozen.pb", "saved_model"])
def test_every_format_of_the_same_weights_converts_alike(
    source: str, files: Path, parameters: dict[str, Array]
) -> None:
    found = converted(files, source)
    assert found.keys() == parameters.keys()
    for name, values in parameters.items():
        np.testing.assert_array_equal(found[name], values, name, strict=True)


def test_opencv_agrees_on_the_first_five_maps(data: Path, files: Path, parameters: dict[str, Array]) -> None:
    """Not on the last: OpenCV 4.14's depthwise 3x3 of stride 1 is wrong on a 1x1 map."""
    cv2 = pytest.importorskip("cv2", reason="needs the extra parity")
    net = cv2.dnn.readNetFromTensorflow(str(files / "frozen.pb"), str(data / GRAPH))
    net.enableFusion(False)
    net.enableWinograd(False)
    image, _ = raw_heads(files, "320x320")
    net.setInput(image)
    graph = SSDLITE_LARGE.build()
    ours, head = ReferenceExecutor(graph, parameters)(image), graph.heads[0]
    for kind, tensors in (("BoxEncodingPredictor", head.box_tensors), ("ClassPredictor", head.class_tensors)):
        rows = [by_anchor(ours[name][0], NUMBERS[kind]) for name in tensors]
        theirs = np.split(
            net.forward(f"{kind}/concat").reshape(-1, NUMBERS[kind]), np.cumsum([len(row) for row in rows])
        )
        if kind == "BoxEncodingPredictor":  # OpenCV has turned y, x, h, w into x, y, w, h
            theirs = [row[:, [1, 0, 3, 2]] for row in theirs]
        assert_outputs_agree(dict(zip(tensors[:5], rows)), dict(zip(tensors[:5], theirs)))


def by_anchor(raw: Array, numbers: int) -> Array:
    """Return (A * numbers, h, w) as rows in the order of map, y, x, anchor."""
    return raw.reshape(-1, numbers, *raw.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, numbers)


@pytest.mark.parametrize(("height", "width"), [(31, 40), (120, 96)])
def test_the_input_tensor_follows_tensorflow_1s_resize(height: int, width: int, files: Path) -> None:
    with np.load(files / "resized.npz") as arrays:
        pixels, resized = arrays["pixels"], arrays[f"{height}x{width}"]
    ours, _ = prepare(pixels, height, width, SSDLITE_LARGE.preprocessing)
    np.testing.assert_allclose(ours, resized.transpose(2, 0, 1) * np.float32(2 / 255) - 1, rtol=0, atol=2e-6)
