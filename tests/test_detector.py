"""Detectors and classifiers from Python: networks worked out by hand, and those that were trained on drawn scenes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pure_detect
from pure_detect.boxes.decode_yolo import decode_yolo
from pure_detect.demo.scenes import draw_scene
from pure_detect.errors import InputError
from pure_detect.image import Preprocessing, prepare
from pure_detect.models.darknet import darknet_network
from pure_detect.random_weights import random_parameters
from tests import demo
from tests import tiny_networks as tiny
from tests.tiny_networks import same_detections as same

SCENES = [draw_scene(seed, 256 - 12 * (seed % 4), 256 - 9 * (seed % 5)) for seed in demo.SEEDS]
BOXES = [[8, 8, 24, 24], [40, 8, 56, 24]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny detector and classifier, and a small random detector's cfg."""
    return tiny.models_folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def detector(folder: Path) -> Any:
    return pure_detect.load(folder / "tiny.h5")


@pytest.fixture(scope="module")
def small(folder: Path) -> Any:
    return pure_detect.load(folder / "small.cfg", weights="random", seed=4)


@pytest.fixture(scope="module")
def shapes() -> Any:
    return pure_detect.load("demo-yolo")


def pictures(count: int) -> list[np.ndarray]:
    """Return pictures of different sizes, none square."""
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (20 + 7 * i, 45 - 4 * i, 3), np.uint8) for i in range(count)]


class TestDetecting:
    def test_boxes_scores_and_labels_are_those_worked_out_by_hand(self, detector: Any) -> None:
        found = detector(tiny.quadrants())
        np.testing.assert_allclose(found.boxes_xyxy, BOXES, atol=1e-4)
        np.testing.assert_allclose(found.scores, [tiny.RED_SCORE, tiny.GREEN_SCORE], rtol=1e-6)
        assert found.class_ids.tolist() == [0, 1]
        assert found.labels == ("red", "green")
        assert (found.height, found.width, len(found)) == (64, 64, 2)
        assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int64)

    def test_a_picture_that_is_not_square_has_its_own_pixels(self, detector: Any) -> None:
        """96 wide and 64 high: the same quadrants, so boxes are 24 wide and 16 high."""
        wide = np.repeat(tiny.quadrants()[:, ::2], 3, axis=1)
        found = detector(wide)
        np.testing.assert_allclose(found.boxes_xyxy, [[12, 8, 36, 24], [60, 8, 84, 24]], atol=1e-3)
        assert (found.height, found.width) == (64, 96)

    def test_a_path_a_pillow_image_and_an_array_are_the_same_picture(self, detector: Any, tmp_path: Path) -> None:
        path = tiny.picture_file(tmp_path / "a.png")
        expected = detector(tiny.quadrants())
        for picture in (path, str(path), Image.open(path), Image.fromarray(tiny.quadrants())):
            assert same(detector(picture), expected)

    def test_the_picture_given_is_not_changed(self, detector: Any) -> None:
        pixels = tiny.quadrants()
        detector(pixels)
        np.testing.assert_array_equal(pixels, tiny.quadrants())

    @pytest.mark.parametrize("name", demo.NAMES)
    def test_the_objects_of_a_scene_are_found_in_their_places(self, name: str) -> None:
        detector = pure_detect.load(name)
        answers = zip(SCENES, detector([scene.pixels for scene in SCENES], score=demo.SCORE))
        demo.assert_finds_the_truth(answers)

    @pytest.mark.parametrize("kind", [list, tuple])
    def test_a_list_is_a_batch_equal_to_single_runs(self, kind: Any, shapes: Any) -> None:
        batch = shapes(kind(scene.pixels for scene in SCENES), score=0.3)
        assert isinstance(batch, list)
        assert [(found.height, found.width) for found in batch] == [scene.pixels.shape[:2] for scene in SCENES]
        for found, scene in zip(batch, SCENES):
            assert same(found, shapes(scene.pixels, score=0.3))

    def test_an_empty_list_has_no_answers(self, shapes: Any) -> None:
        assert shapes([]) == []

    def test_a_broken_picture_in_a_list_is_an_error_that_names_it(self, shapes: Any) -> None:
        with pytest.raises(InputError, match=r"missing\.png"):
            shapes([SCENES[0].pixels, "missing.png"])

    def test_scores_fall_and_lie_over_the_threshold_strictly(self, shapes: Any) -> None:
        found = shapes(SCENES[0].pixels, score=0.05)
        assert len(found) > 3
        assert (np.diff(found.scores) <= 0).all()
        middle = found.scores[len(found) // 2]
        kept = shapes(SCENES[0].pixels, score=float(middle))
        np.testing.assert_array_equal(kept.scores, found.scores[found.scores > middle])
        assert middle not in kept.scores

    def test_the_best_scores_are_the_objects(self, shapes: Any) -> None:
        best = [
            (scene, shapes(scene.pixels, score=0.01, limit=len(scene.class_ids)))
            for scene in SCENES
            if len(scene.class_ids)
        ]
        demo.assert_finds_the_truth(best)

    def test_limit_keeps_the_best(self, shapes: Any) -> None:
        every = shapes(SCENES[0].pixels, score=0.01)
        for limit in (0, 1, 3):
            found = shapes(SCENES[0].pixels, score=0.01, limit=limit)
            np.testing.assert_array_equal(found.boxes_xyxy, every.boxes_xyxy[:limit])
            assert len(found.labels) == limit
        assert same(shapes(SCENES[0].pixels, score=0.01, limit=10_000), every)

    def test_clip_moves_corners_onto_the_border_and_changes_nothing_else(self, shapes: Any) -> None:
        reaching = 0
        for scene in SCENES:
            clipped, whole = (shapes(scene.pixels, score=0.1, clip=clip) for clip in (True, False))
            height, width = scene.pixels.shape[:2]
            size = np.array([width, height, width, height])
            reaching += int(((whole.boxes_xyxy < 0) | (whole.boxes_xyxy > size)).sum())
            np.testing.assert_array_equal(clipped.boxes_xyxy, np.clip(whole.boxes_xyxy, 0, size))
            np.testing.assert_array_equal(clipped.scores, whole.scores)
        assert reaching > 0

    def test_suppression_goes_by_iou_and_class(self, shapes: Any) -> None:
        def count(**options: Any) -> int:
            return sum(map(len, shapes([scene.pixels for scene in SCENES], score=0.05, **options)))

        counts = [count(iou=iou) for iou in (0, 0.3, 1)]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]
        assert count(iou=0.3, class_agnostic=True) < counts[1]
        assert count(iou=0.3, rule="diou", beta=0.2) > counts[1]

    @pytest.mark.parametrize(
        "options", [{"iou": 2.0}, {"iou": -1}, {"score": np.nan}, {"limit": -1}, {"rule": "soft"}], ids=str
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, Any], detector: Any) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            detector(tiny.quadrants(), **options)

    def test_with_resize_is_another_model_of_the_same_weights(self, detector: Any) -> None:
        tall = tiny.quadrants()[:, 16:48]
        other = detector.with_resize("letterbox")
        assert detector.preprocessing.resize == "stretch"
        assert not np.allclose(other(tall).boxes_xyxy, detector(tall).boxes_xyxy)
        with pytest.raises(ValueError, match="resize"):
            detector.with_resize("squash")

    def test_nan_in_the_network_finds_nothing_and_does_not_fail(self, folder: Path) -> None:
        network = darknet_network(tiny.DETECTOR, "x.cfg")
        parameters = random_parameters(network)
        parameters["layer001.conv.weight"][:] = np.nan
        assert len(pure_detect.Detector(network, parameters)(tiny.quadrants(), score=0)) == 0


class TestForward:
    def test_outputs_are_the_raw_heads_by_name(self, small: Any) -> None:
        x = np.zeros((2, 3, 32, 32), np.float32)
        outputs = small.forward(x)
        assert {name: values.shape for name, values in outputs.items()} == {
            "layer002.conv": (2, 14, 4, 4), "layer007.conv": (2, 7, 8, 8)
        }  # fmt: skip

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 32), (24, 40)])
    def test_any_size_that_the_stride_divides_will_do(self, height: int, width: int, small: Any) -> None:
        outputs = small.forward(np.ones((1, 3, height, width), np.float32))
        assert outputs["layer002.conv"].shape == (1, 14, height // 8, width // 8)

    @pytest.mark.parametrize("shape", [(1, 3, 20, 32), (3, 32, 32), (1, 4, 32, 32), (1, 3, 0, 32)])
    def test_other_inputs_are_refused(self, shape: tuple[int, ...], small: Any) -> None:
        with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\)|multiple of 8"):
            small.forward(np.ones(shape, np.float32))

    @pytest.mark.parametrize("keep", [["layer000.*"], ["layer000.conv", "*.upsample"], "layer000.batch_norm"])
    def test_keep_returns_the_activations_it_names(self, keep: Any, small: Any) -> None:
        x = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
        plain, kept = small.forward(x), small.forward(x, keep=keep)
        assert set(plain) < set(kept)
        assert all(
            kept[name].shape[1:] == node.shape for node in small.graph.nodes for name in [node.name] if name in kept
        )
        for name, values in plain.items():  # a kept activation is computed on its own, which rounds otherwise
            np.testing.assert_allclose(kept[name], values, rtol=0, atol=1e-5)

    def test_keep_star_returns_every_node(self, small: Any) -> None:
        kept = small.forward(np.zeros((1, 3, 32, 32), np.float32), keep=["*"])
        assert list(kept) == [node.name for node in small.graph.nodes]

    def test_a_pattern_that_names_no_node_is_refused(self, small: Any) -> None:
        with pytest.raises(ValueError, match=r"'layer999\.\*'"):
            small.forward(np.zeros((1, 3, 32, 32), np.float32), keep=["layer999.*"])

    def test_what_a_detector_sees_is_what_prepare_gives(self, small: Any) -> None:
        x, _ = prepare(pictures(1)[0], 32, 32, Preprocessing("stretch"))
        outputs = small.forward(x[None])
        heads = [decode_yolo(outputs[head.tensor][0], head, 32, 32) for head in small.graph.heads]
        scores = np.concatenate([head.scores.ravel() for head in heads])
        found = small(pictures(1)[0], score=0.3, iou=1.0)
        np.testing.assert_array_equal(found.scores, -np.sort(-scores[scores > 0.3]))

    def test_float64_computes_in_float64_and_agrees(self, folder: Path, small: Any) -> None:
        double = pure_detect.load(folder / "small.cfg", weights="random", seed=4, dtype="float64")
        x = np.random.default_rng(1).random((1, 3, 32, 32))
        for name, values in double.forward(x).items():
            assert values.dtype == np.float64
            single = small.forward(x)[name]
            assert single.dtype == np.float32
            difference = np.abs(single - values).max()
            assert 0 < difference < 1e-5 * np.abs(values).max()
        assert double(pictures(1)[0], score=0.3).boxes_xyxy.dtype == np.float32

    def test_threads_share_a_detector(self, small: Any) -> None:
        """Eight threads at once, each with its own sizes, so that executors are made while others run."""
        inputs = [np.random.default_rng(i).random((1, 3, 16 + 8 * (i % 3), 32), np.float32) for i in range(8)]
        expected = [small.forward(x)["layer002.conv"] for x in inputs]
        fresh = pure_detect.Detector(small.network, random_parameters(small.network, 4))
        found: dict[int, np.ndarray] = {}
        barrier = threading.Barrier(8)

        def work(i: int) -> None:
            barrier.wait()
            for _ in range(3):
                found[i] = fresh.forward(inputs[i])["layer002.conv"]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(8):
            np.testing.assert_array_equal(found[i], expected[i])


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Any:
    return pure_detect.load(folder / "tiny-classifier.h5")


class TestClassifying:
    @pytest.mark.parametrize(
        ("color", "order"),
        [
            ((51, 255, 0), ["green", "red", "blue"]),
            ((0, 51, 255), ["blue", "green", "red"]),
            ((9, 0, 9), ["red", "blue", "green"]),
        ],
    )
    def test_the_best_class_comes_first_and_ties_go_by_id(self, color: Any, order: list[str], classifier: Any) -> None:
        found = classifier(np.full((40, 30, 3), color, np.uint8))
        assert [c.label for c in found] == order
        powers = np.exp(4 * np.array(color) / 255)
        expected = sorted(powers / powers.sum(), reverse=True)
        np.testing.assert_allclose([c.score for c in found], expected, rtol=1e-5)
        assert [c.class_id for c in found] == [["red", "green", "blue"].index(label) for label in order]

    @pytest.mark.parametrize("top", [1, 2, 3, 50])
    def test_top_is_how_many(self, top: int, classifier: Any) -> None:
        assert len(classifier(tiny.quadrants(), top=top)) == min(top, 3)

    def test_the_centre_is_cropped_and_nothing_stretched(self, classifier: Any) -> None:
        """The middle square of a wide picture is green, what lies beside it red."""
        pixels = np.zeros((40, 120, 3), np.uint8)
        pixels[:, :, 0], pixels[:, 38:82] = 255, (0, 255, 0)
        assert classifier(pixels)[0].label == "green"
        assert classifier.with_resize("stretch")(pixels)[0].label == "red"

    def test_a_network_that_ends_in_a_map_classifies_nothing(self) -> None:
        network = darknet_network("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\n", "x.cfg")
        model = pure_detect.Classifier(network, random_parameters(network))
        assert model.forward(np.zeros((1, 3, 8, 8), np.float32))["layer000.activation"].shape == (1, 4, 8, 8)
        with pytest.raises(InputError, match="one value a class, found a map 4x8x8"):
            model(tiny.quadrants())
