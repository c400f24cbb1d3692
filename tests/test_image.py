"""Fitting pictures to a network's input and leading boxes back."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pure_detect.errors import InputError
from pure_detect.image import RESIZE_MODES, Preprocessing, prepare
from tests.golden.record_darknet_images import BOXES, CROP, LETTERBOX, picture

Case = tuple[int, int, int, int]

GOLDEN = Path(__file__).parent / "golden"
FORKS = {"pjreddie": "pjreddie/darknet f6afaab", "alexeyab": "AlexeyAB/darknet 59596d7 (AVX=0)"}


class TestPreprocessing:
    def test_numbers_of_a_weight_file_become_plain_ones(self) -> None:
        stored = Preprocessing("crop", np.float64(1.0), np.array([1, 2, 3]), np.array([4.0, 5, 6]))  # type: ignore[arg-type]
        assert stored == Preprocessing("crop", 1.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
        assert type(stored.scale) is type(stored.mean[0]) is float

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"resize": "Stretch"}, "resize: expected one of stretch, .*, letterbox, .*, found 'Stretch'"),
            ({"scale": 0.0}, "scale: expected 1 positive finite number, found"),
            ({"scale": None}, "scale: expected 1 positive finite number, found"),
            ({"mean": (0.5, 0.5)}, "mean: expected 3 finite numbers, found"),
            ({"mean": (0.5, 0.5, float("nan"))}, "mean: expected 3 finite numbers, found"),
            ({"mean": 0.5}, "mean: expected 3 finite numbers, found 0.5"),
            ({"std": (1, 1, 0)}, "std: expected 3 positive finite numbers, found"),
        ],
    )
    def test_bad_values_are_named(self, change: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Preprocessing(**change)

    @pytest.mark.parametrize("mode", RESIZE_MODES)
    def test_scale_mean_and_std_come_in_this_order_by_channel(self, mode: str) -> None:
        pixels = np.empty((8, 8, 3), np.uint8)
        pixels[:] = (51, 102, 255)
        tensor, _ = prepare(pixels, 8, 8, Preprocessing(mode, 1 / 51, (1.0, 3.0, 1.0), (0.5, 0.25, 2.0)))
        expected = np.array([0.0, -4.0, 2.0], np.float32)[:, None, None]
        np.testing.assert_allclose(tensor, np.broadcast_to(expected, (3, 8, 8)), atol=1e-6)
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous

    def test_grey_margins_are_scaled_like_pixels(self) -> None:
        preprocessing = Preprocessing("letterbox", 1 / 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
        tensor, _ = prepare(picture(4, 8), 8, 8, preprocessing)
        np.testing.assert_array_equal(tensor[:, :2], np.zeros((3, 2, 8)))


@pytest.fixture(scope="module", params=FORKS)
def darknet(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"darknet_images_{request.param}.npz") as file:
        return dict(file)


def expect_equal(ours: np.ndarray, theirs: np.ndarray, darknet: dict[str, np.ndarray]) -> None:
    __tracebackhide__ = True
    np.testing.assert_array_equal(ours, theirs, err_msg=f"recorded by: {darknet['generator']}", strict=True)


class TestAgainstDarknet:
    """Bit for bit what the two forks' C code made of the same pictures."""

    @pytest.mark.parametrize("case", LETTERBOX, ids=str)
    def test_letterbox_darknet_equals_darknet(self, case: Case, darknet: dict[str, np.ndarray]) -> None:
        tensor, _ = prepare(picture(case[0], case[1]), case[2], case[3], Preprocessing("letterbox-darknet"))
        expect_equal(tensor, darknet["letterbox {} {} {} {}".format(*case)], darknet)

    @pytest.mark.parametrize("case", LETTERBOX, ids=str)
    def test_letterbox_differs_in_the_last_row_only_which_is_right(
        self, case: Case, darknet: dict[str, np.ndarray]
    ) -> None:
        tensor, placement = prepare(picture(case[0], case[1]), case[2], case[3], Preprocessing("letterbox"))
        key = "letterbox {} {} {} {}".format(*case)
        expected = darknet[key].copy()
        last = int(placement.top) + placement.resized_height - 1
        expected[:, last] = darknet[f"{key} last row"]
        expect_equal(tensor, expected, darknet)

    @pytest.mark.parametrize("case", CROP, ids=str)
    def test_darknets_crop_differs_in_the_last_row_only_which_is_right(
        self, case: Case, darknet: dict[str, np.ndarray]
    ) -> None:
        tensor, _ = prepare(picture(case[0], case[1]), case[2], case[3], Preprocessing("crop-darknet"))
        key = "crop {} {} {} {}".format(*case)
        expected = darknet[key].copy()
        if f"{key} last row" in darknet:
            expected[:, -1] = darknet[f"{key} last row"]
        expect_equal(tensor, expected, darknet)

    def test_the_recordings_hold_the_defect(self, darknet: dict[str, np.ndarray]) -> None:
        for key in ("letterbox 480 2 240 1", "letterbox 427 2 405 2", "letterbox 14 10 12 12", "crop 14 20 12 12"):
            picture_columns = darknet[key][:, -1] != 0.5
            assert darknet[key][:, -1][picture_columns].max() < 1e-3
            assert darknet[f"{key} last row"].max() > 0.1

    def test_boxes_go_back_as_in_darknet(self, darknet: dict[str, np.ndarray]) -> None:
        centres, halves = BOXES[:, :2], BOXES[:, 2:] / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float64)
        for case, theirs in zip(LETTERBOX, darknet["boxes"]):
            _, placement = prepare(picture(case[0], case[1]), case[2], case[3], Preprocessing("letterbox"))
            x1, y1, x2, y2 = placement.to_picture(boxes).T
            ours = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
            # Darknet computes in float32: its rounding of numbers up to the picture's longer side.
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7 * max(case[:2]) + 1e-6)

    @pytest.mark.parametrize("fork", FORKS)
    def test_the_recordings_say_where_they_come_from(self, fork: str) -> None:
        file = GOLDEN / f"darknet_images_{fork}.npz"
        assert FORKS[fork] in str(np.load(file)["generator"])
        assert file.stat().st_size < 50_000


class TestPlacement:
    """Where a drawn box is found in the network input, it is led back to where it was drawn."""

    @pytest.mark.parametrize("mode", RESIZE_MODES)
    @pytest.mark.parametrize("size", [(120, 200), (201, 119), (64, 64)], ids=str)
    @pytest.mark.parametrize("network", [(96, 96), (64, 128), (131, 90)], ids=str)
    def test_a_drawn_box_is_led_back(self, mode: str, size: tuple[int, int], network: tuple[int, int]) -> None:
        H, W = size
        drawn = np.array([W * 2 // 5, H * 3 // 8, W * 4 // 7, H * 3 // 5])  # off centre, inside every crop
        pixels = np.zeros((H, W, 3), np.uint8)
        pixels[drawn[1] : drawn[3], drawn[0] : drawn[2]] = 255
        tensor, placement = prepare(pixels, *network, Preprocessing(mode))
        rows, columns = np.nonzero(tensor[1] > 0.5 + 1e-6)  # above the grey of the margins
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / (network[::-1] * 2)
        pixel = max(W / placement.resized_width, H / placement.resized_height, 1.0)  # one of the network input
        np.testing.assert_allclose(placement.to_picture(found), drawn, atol=1.51 * pixel)

    @pytest.mark.parametrize("mode", ["stretch", "letterbox"])
    def test_the_whole_picture_is_the_box_of_its_corners(self, mode: str) -> None:
        _, placement = prepare(picture(120, 200), 64, 80, Preprocessing(mode))
        # 120 x 200 to 48 x 80, margins of 8 above and below
        whole = [[0, 0, 1, 1]] if mode == "stretch" else [[0, 8 / 64, 1, 56 / 64]]
        np.testing.assert_allclose(placement.to_picture(whole), [[0, 0, 200, 120]], atol=1e-9)

    def test_darknets_crop_leads_back_to_the_centre(self) -> None:
        _, placement = prepare(picture(100, 200), 50, 50, Preprocessing("crop-darknet"))
        np.testing.assert_allclose(placement.to_picture([[0.0, 0, 1, 1]]), [[50, 0, 150, 100]])

    def test_crop_of_a_long_thin_picture_computes_only_what_the_network_sees(self) -> None:
        pixels = np.zeros((1, 60_000, 3), np.uint8)
        tracemalloc.start()
        prepare(pixels, 224, 224, Preprocessing("crop"))
        assert tracemalloc.get_traced_memory()[1] < 10e6
        tracemalloc.stop()

    def test_boxes_keep_their_dtype_are_not_clipped_and_may_be_none(self) -> None:
        _, placement = prepare(picture(10, 20), 8, 8, Preprocessing())
        boxes = placement.to_picture(np.array([[-0.5, 0, 2, 1.5]], np.float32))
        np.testing.assert_array_equal(boxes, [[-10, 0, 40, 15]])
        assert boxes.dtype == np.float32
        assert placement.to_picture(np.empty((0, 4))).shape == (0, 4)

    @pytest.mark.parametrize("size", [(1, 1000), (1000, 1)], ids=str)
    @pytest.mark.parametrize("mode", RESIZE_MODES)
    def test_the_thinnest_picture_stays_visible_and_invertible(self, mode: str, size: tuple[int, int]) -> None:
        tensor, placement = prepare(np.full((*size, 3), 255, np.uint8), 32, 32, Preprocessing(mode))
        assert (tensor == 1).any()
        assert np.isfinite(placement.to_picture(np.array([[0.0, 0, 1, 1]]))).all()

    def test_placement_is_plain_data(self) -> None:
        _, placement = prepare(picture(10, 20), 8, 8, Preprocessing("letterbox"))
        assert (placement.picture_height, placement.picture_width) == (10, 20)
        assert replace(placement) == placement


def test_a_large_picture_is_not_copied_as_floats() -> None:
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    for mode in RESIZE_MODES:
        prepare(pixels, 64, 64, Preprocessing(mode))  # compiled before memory is watched
        tracemalloc.start()
        prepare(pixels, 64, 64, Preprocessing(mode))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < pixels.nbytes / 20


def test_pixels_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected an array of RGB pixels, .*, found float32 of shape \(4, 6, 3\)"):
        prepare(np.zeros((4, 6, 3), np.float32), 8, 8, Preprocessing())


@pytest.mark.parametrize("size", [(0, 8), (8, -1)])
def test_an_input_size_that_is_not_positive(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"network input: expected a positive height and width, found"):
        prepare(picture(4, 4), *size, Preprocessing())
