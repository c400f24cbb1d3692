"""EfficientDet's parts against TensorFlow and Keras: checkpoints, suppression, pixels, the backbone's classifiers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pure_detect.boxes.soft_nms import soft_nms
from pure_detect.errors import InputError
from pure_detect.image import prepare
from pure_detect.models.efficientdet import EFFICIENTDETS, IMAGENET
from pure_detect.random_weights import random_parameters
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import find_network
from tests.comparisons import assert_outputs_agree
from tests.subprocesses import run
from weights_convert.names.matching import from_hwci, from_hwio, from_vector
from weights_convert.sources import NAMES, convert

if importlib.util.find_spec("tensorflow") is None:  # the import itself, of seconds, is the other process's
    pytest.skip("needs the extra parity", allow_module_level=True)

pytestmark = pytest.mark.parity

D0 = EFFICIENTDETS[0]
SEEDS = range(6)
# 41 x 30 and 82 x 47 lose a row: float32 of 512 / 41, times 41, is less than 512.
PICTURES = [(41, 30), (82, 47), (480, 640), (640, 480), (333, 500), (1000, 31), (512, 512)]


def parameters() -> dict[str, np.ndarray]:
    return random_parameters(D0)


def as_variables() -> dict[str, np.ndarray]:
    """Return the parameters under automl's names and in its layouts, a scalar for each of a fusion's weights."""
    turned = {from_hwio: (2, 3, 1, 0), from_hwci: (2, 3, 0, 1)}
    values = parameters()
    variables: dict[str, np.ndarray] = {}
    for pair in NAMES[D0.name]["tensorflow"].pairs():
        value = values[pair.ours]
        if pair.layout is from_vector:
            variables |= {pair.theirs + (f"_{i}" if i else ""): weight for i, weight in enumerate(value[:, 0])}
        else:
            variables[pair.theirs] = value.transpose(turned[pair.layout]) if pair.layout in turned else value
    return variables


def boxes_with_ties(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (80, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (80, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0.05, 1, 80).astype(np.float32)
    boxes[40:55], scores[40:55] = boxes[:15], scores[:15]  # the same again
    scores[55:60] = scores[60:65]  # the same score elsewhere
    return boxes, scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of what TensorFlow wrote."""
    folder = tmp_path_factory.mktemp("tensorflow")
    np.savez(folder / "variables.npz", **as_variables())
    cases = {seed: boxes_with_ties(seed) for seed in SEEDS}
    boxes = {f"{key}{seed}": case[i] for seed, case in cases.items() for i, key in enumerate(("boxes", "scores"))}
    np.savez(folder / "boxes.npz", **boxes)
    rng = np.random.default_rng(0)
    np.savez(folder / "pictures.npz", **{f"{h}x{w}": rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in PICTURES})
    run(["-m", "tests.parity.run_tensorflow_efficientdet", str(folder)], timeout=300)
    return folder


@pytest.mark.parametrize("prefix", ["plain", "averaged"])
def test_a_checkpoint_gives_back_the_weights_and_moving_averages_take_their_variables_place(
    prefix: str, folder: Path
) -> None:
    converted, source = convert(folder / prefix, D0, D0.batch_norm_rule)
    assert source.format == "tensorflow_checkpoint"
    expected = parameters()
    assert set(converted) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(converted[name], values, name)


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_suppression_is_tensorflows_with_ties(seed: int, folder: Path) -> None:
    with np.load(folder / "suppressed.npz") as arrays:
        indices, scores = arrays[f"indices{seed}"], arrays[f"scores{seed}"]
    boxes, given = boxes_with_ties(seed)
    kept, decayed = soft_nms(boxes, given, np.zeros(len(boxes), np.int64), limit=100)
    np.testing.assert_array_equal(kept, indices)
    np.testing.assert_allclose(decayed, scores, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), PICTURES)
def test_top_left_makes_the_input_of_automl(height: int, width: int, folder: Path) -> None:
    key = f"{height}x{width}"
    with np.load(folder / "pictures.npz") as pictures, np.load(folder / "prepared.npz") as prepared:
        ours, placement = prepare(pictures[key], 512, 512, IMAGENET)
        np.testing.assert_allclose(ours, prepared[key], rtol=0, atol=5e-6)
        assert placement.scale == prepared[f"scale{key}"]
    if (height, width) in PICTURES[:2]:
        assert placement.resized_height == 511


@pytest.mark.parametrize(
    ("name", "size"), [("b0", (224, 224)), ("b0", (199, 230)), ("b3", (128, 96)), ("b3", (97, 131))]
)
def test_kerass_classifiers_agree(name: str, size: tuple[int, int], folder: Path) -> None:
    network = find_network(f"efficientnet-{name}")
    with np.load(folder / f"{network.name}.npz") as arrays:
        theirs = {key.partition("/")[2]: arrays[key] for key in arrays if key.startswith(f"{size[0]}/")}
    x = theirs.pop("image")
    assert set(theirs) == {"head.activation", "probabilities"}
    converted, _ = convert(folder / f"{network.name}.h5", network, network.batch_norm_rule)
    assert_outputs_agree(ReferenceExecutor(network.build(*size), converted)(x, keep=list(theirs)), theirs)
    for key, value in theirs.items():
        assert np.abs(value[0] - value[1]).max() > 0.1 * np.abs(value).max(), key


# What rounding the weights to 8 bits costs, as a share of the largest output.
@pytest.mark.parametrize(("kind", "limit"), [("float", 1e-5), ("dynamic", 0.05), ("int8", 0.05)])
def test_a_lite_comes_back_from_tensorflow_lite(kind: str, limit: float, folder: Path) -> None:
    network = find_network("efficientdet-lite0")
    converted, source = convert(folder / f"lite0-{kind}.tflite", network, network.batch_norm_rule)
    assert source.format == "tflite"
    with np.load(folder / "lite0.npz") as arrays:
        x = arrays["image"]
        graph = network.build(*x.shape[2:])
        ours = ReferenceExecutor(graph, converted)(x)
        for i, name in enumerate(graph.outputs):
            theirs = arrays[f"arr_{i}"]
            assert np.abs(ours[name] - theirs).max() <= limit * np.abs(theirs).max(), name


def test_a_lite_of_another_size_is_refused_by_the_convolutions_that_are_not_there(folder: Path) -> None:
    network = find_network("efficientdet-lite1")
    with pytest.raises(
        InputError, match=r"lite0-float\.tflite: expected the network's convolutions, found none in the"
    ):
        convert(folder / "lite0-float.tflite", network, network.batch_norm_rule)
