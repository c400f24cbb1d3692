"""From a name or a file to a model: every way to load one, random weights, options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pure_detect
from pure_detect.boxes.decode_yolo import YoloHead
from pure_detect.errors import InputError
from tests import tiny_networks as tiny
from tests.tiny_networks import same_detections as same


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two weight files, and the cfg of another network."""
    return tiny.models_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def detector(folder: Path) -> Any:
    return pure_detect.load(folder / "tiny.h5")


class TestLoading:
    def test_a_weight_file_says_everything_itself(self, detector: Any) -> None:
        assert isinstance(detector, pure_detect.Detector)
        assert (detector.network.name, detector.labels) == ("tiny", ("red", "green"))
        assert detector.graph.input.shape == (3, 32, 32)
        assert detector.graph.heads == (YoloHead("layer001.conv", ((8, 8),), 2),)

    def test_a_cfg_with_its_weight_file_is_the_same_model(self, folder: Path, detector: Any) -> None:
        other = pure_detect.load(folder / "tiny.cfg", weights=folder / "tiny.h5")
        assert same(other(tiny.quadrants()), detector(tiny.quadrants()))
        assert other.labels == detector.labels

    def test_a_classifier_is_told_from_a_detector(self, folder: Path) -> None:
        assert isinstance(pure_detect.load(folder / "tiny-classifier.h5"), pure_detect.Classifier)

    def test_paths_may_be_text(self, folder: Path) -> None:
        assert pure_detect.load(str(folder / "tiny.cfg"), weights=str(folder / "tiny.h5")).network.name == "tiny"

    @pytest.mark.parametrize("name", ["small.cfg", "tiny.h5"])
    def test_random_weights_are_reproducible_and_differ_by_seed(self, name: str, folder: Path) -> None:
        x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)

        def output(**options: Any) -> np.ndarray:
            outputs = pure_detect.load(folder / name, weights="random", **options).forward(x)
            return np.concatenate([values.ravel() for values in outputs.values()])

        np.testing.assert_array_equal(output(seed=1), output(seed=1))
        np.testing.assert_array_equal(output(), output(seed=0))
        assert np.abs(output(seed=1) - output(seed=2)).max() > 0.1

    def test_random_weights_do_not_depend_on_the_size_asked_for(self, folder: Path) -> None:
        x = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
        outputs = [
            pure_detect.load(folder / "small.cfg", weights="random", size=size).forward(x)["layer002.conv"]
            for size in (32, 64)
        ]
        np.testing.assert_array_equal(*outputs)

    @pytest.mark.parametrize(
        ("size", "shape"), [(64, (3, 64, 64)), ((32, 64), (3, 32, 64)), (np.int64(64), (3, 64, 64))]
    )
    def test_size_is_one_number_or_height_and_width(self, size: Any, shape: Any, folder: Path) -> None:
        assert pure_detect.load(folder / "tiny.h5", size=size).graph.input.shape == shape

    @pytest.mark.parametrize("size", [0, -16, 20, (32, 0), (20, 32)])
    def test_a_size_that_the_stride_does_not_divide_is_refused(self, size: Any, folder: Path) -> None:
        with pytest.raises(ValueError, match="must be a multiple of 16"):
            pure_detect.load(folder / "tiny.h5", size=size)

    @pytest.mark.parametrize(
        "options", [{"engine": "warp"}, {"dtype": "int32"}, {"dtype": "float16"}, {"colour": 1}], ids=str
    )
    def test_other_options_are_refused(self, options: dict[str, Any], folder: Path) -> None:
        with pytest.raises((ValueError, TypeError), match=next(iter(options))):
            pure_detect.load(folder / "tiny.h5", **options)

    def test_labels_can_be_replaced(self, folder: Path) -> None:
        assert pure_detect.load(folder / "tiny.h5", labels=["a", "b", "c"]).labels == ("a", "b")
        with pytest.raises(InputError, match="expected 2 labels, found 1"):
            pure_detect.load(folder / "tiny.h5", labels=["a"])

    def test_without_labels_there_are_numbers(self, folder: Path) -> None:
        assert pure_detect.load(folder / "small.cfg", weights="random").labels == ("class 0", "class 1")

    def test_an_unknown_name_suggests_one(self) -> None:
        with pytest.raises(InputError, match="did you mean yolov3"):
            pure_detect.load("yolo-v3", weights="random")

    def test_a_darknet_file_is_no_weight_file(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"tiny\.weights: .*weights-convert"):
            pure_detect.load(folder / "tiny.cfg", weights=folder / "tiny.weights")
