"""Drawing: colours, fonts, places of labels, and the pixels of pictures of every size."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pure_detect.detections import Detections
from pure_detect.draw import check_picture_path, class_color, draw, fonts, save_picture, text_color
from pure_detect.draw.colors import contrast, oklab, palette
from pure_detect.draw.fonts import PILLOWS_OWN, has, legible
from pure_detect.draw.picture import Sizes
from pure_detect.draw.places import place_plates
from pure_detect.errors import InputError
from pure_detect.labels import COCO_80

GREY = 127


def detections(height: int, width: int, boxes: Any, labels: tuple[str, ...] = (), class_ids: Any = None) -> Detections:
    """Return boxes with falling scores from 0.99 down, of classes 0, 1, 2, ... unless said."""
    count = len(boxes)
    class_ids = np.arange(count) if class_ids is None else class_ids
    labels = labels or tuple(COCO_80[i] for i in class_ids)
    return Detections(np.array(boxes), 0.99 - np.arange(count) / 1000, class_ids, labels, height, width)


def drawn(height: int, width: int, boxes: Any, **options: Any) -> np.ndarray:
    blank = np.full((height, width, 3), GREY, np.uint8)
    return np.asarray(draw(blank, detections(height, width, boxes, **options)))


def scene(height: int, width: int, count: int, seed: int = 0) -> Any:
    """Return boxes of a tenth to a third of the picture's sides, some of them partly outside."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.1, 0.33, (count, 2)) * (width, height)
    corner = rng.uniform(-0.05, 0.85, (count, 2)) * (width, height)
    return np.concatenate([corner, corner + size], axis=1)


class TestColors:
    def test_a_class_keeps_its_color(self) -> None:
        first = [class_color(i) for i in range(4)]
        assert first == [(255, 60, 45), (30, 255, 120), (0, 120, 255), (0, 150, 75)]
        assert class_color(80) == class_color(0)

    @pytest.mark.parametrize(("count", "distance"), [(8, 0.2), (20, 0.11), (80, 0.06)])
    def test_the_first_colors_are_far_apart_to_the_eye(self, count: int, distance: float) -> None:
        lab = oklab(np.array(palette()[:count]))
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > distance

    def test_text_on_every_color_has_the_contrast_that_small_text_needs(self) -> None:
        assert len(palette()) == 80
        assert min(contrast(text_color(color), color) for color in palette()) > 4.5

    def test_the_contrast_is_wcags(self) -> None:
        assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
        assert contrast((255, 255, 255), (119, 119, 119)) == pytest.approx(4.48, abs=0.005)  # WebAIM's table
        assert (text_color((255, 255, 0)), text_color((0, 0, 128))) == ((0, 0, 0), (255, 255, 255))

    def test_oklab_is_ottossons(self) -> None:
        np.testing.assert_allclose(oklab((255, 255, 255)), [1, 0, 0], atol=1e-4)
        np.testing.assert_allclose(oklab((255, 0, 0)), [0.6280, 0.2249, 0.1258], atol=1e-4)
        np.testing.assert_allclose(oklab((0, 0, 255)), [0.4520, -0.0325, -0.3115], atol=1e-4)


class TestFonts:
    def test_pillows_own_font_is_enough_for_coco(self) -> None:
        assert all(has(PILLOWS_OWN, character) for label in COCO_80 for character in f"{label} 0123456789.…")

    def test_a_missing_character_is_noticed(self) -> None:
        assert not any(has(PILLOWS_OWN, character) for character in "éЖ猫\u0301")

    def test_a_font_that_has_everything_is_taken_before_anything_is_replaced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own, opened = legible("cat", 20)[1], []
        has_too = {"greek.ttf": "Ж", "more.ttf": "猫"}
        monkeypatch.setattr(fonts, "FONT_FILES", (PILLOWS_OWN, "absent.ttf", *has_too))
        monkeypatch.setattr(fonts, "has", lambda name, character: character.isascii() or character == has_too.get(name))
        monkeypatch.setattr(
            fonts, "_open", lambda name, size: opened.append(name) or (own if name != "absent.ttf" else None)
        )
        assert legible("cat", 20)[0] == "cat"
        assert set(opened) == {PILLOWS_OWN}
        for text, readable, name in (("Ж", "Ж", "greek.ttf"), ("猫", "猫", "more.ttf"), ("Ж猫猫", "?猫猫", "more.ttf")):
            assert legible(text, 20)[0] == readable
            assert opened[-1] == name

    def test_without_any_such_font_accents_go_and_the_rest_becomes_question_marks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fonts, "FONT_FILES", (PILLOWS_OWN,))
        assert legible("Café e\u0301té Ångström", 20)[0] == "Cafe ete Angstrom"
        assert legible("кот 猫", 20)[0] == "??? ?"
        assert legible("a\u200db\u0007c\ufe0f", 20)[0] == "abc"

    def test_a_label_is_one_line(self) -> None:
        assert legible("  traffic\n\tlight ", 20)[0] == "traffic light"

    def test_a_damaged_font_file_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        damaged = tmp_path / "damaged.ttf"
        damaged.write_bytes(b"\0\1\0\0 no font")
        monkeypatch.setattr(fonts, "FONT_FILES", (PILLOWS_OWN, str(damaged), "no such font.ttf"))
        assert legible("猫", 20)[0] == "?"


class TestPlaces:
    """Pictures are 200 wide and 100 high, plates 40 x 10."""

    @staticmethod
    def places(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (40, 10)) -> list[list[int]]:
        plates = place_plates(np.array(boxes), np.array([size] * len(boxes)), 100, 200)
        return [plate[:2] for plate in plates.tolist()]

    def test_the_first_choice_is_above_at_the_left(self) -> None:
        assert self.places((50, 30, 120, 80)) == [[50, 20]]

    def test_at_the_upper_border_it_is_inside(self) -> None:
        assert self.places((50, 3, 120, 80)) == [[50, 0]]

    def test_at_the_right_border_it_is_pushed_in(self) -> None:
        assert self.places((180, 30, 200, 80)) == [[160, 20]]

    def test_where_the_first_choice_is_taken_a_large_box_has_it_inside(self) -> None:
        assert self.places((50, 30, 120, 80), (50, 30, 121, 80)) == [[50, 20], [50, 30]]

    def test_where_the_first_choice_is_taken_a_small_box_is_not_covered(self) -> None:
        assert self.places((50, 30, 60, 40), (50, 30, 60, 40)) == [[50, 20], [50, 40]]

    def test_ten_equal_boxes_get_ten_places_that_hide_nothing(self) -> None:
        corners = self.places(*[(60, 20, 160, 80)] * 10)
        plates = [np.array([*corner, corner[0] + 40, corner[1] + 10]) for corner in corners]
        assert max(overlap(a, b) for a, b in combinations(plates, 2)) == 0

    def test_with_no_place_left_the_least_is_hidden(self) -> None:
        """Plates half as high as the picture: two rows are all there is, so the fifth box hides something."""
        plates = place_plates(np.array([[0, 0, 200, 100]] * 5), np.full((5, 2), (100, 50)), 100, 200)
        assert len({tuple(plate) for plate in plates[:4].tolist()}) == 4
        assert plates[:, :2].min() >= 0
        assert (plates[:, 2] <= 200).all()
        assert (plates[:, 3] <= 100).all()

    @pytest.mark.parametrize("seed", range(5))
    def test_they_stay_inside_whatever_the_boxes(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        corner = rng.integers(0, (200, 100), (300, 2))
        boxes = np.concatenate([corner, np.minimum(corner + rng.integers(0, 90, (300, 2)), (200, 100))], axis=1)
        sizes = rng.integers(0, (200, 100), (300, 2), endpoint=True)
        plates = place_plates(boxes, sizes, 100, 200)
        np.testing.assert_array_equal(plates[:, 2:] - plates[:, :2], sizes)
        assert (plates >= 0).all()
        assert (plates <= [200, 100, 200, 100]).all()

    def test_no_box_needs_no_place(self) -> None:
        assert place_plates(np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int64), 9, 9).shape == (0, 4)


def overlap(a: np.ndarray, b: np.ndarray) -> int:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return int(np.maximum(sides, 0).prod())


class TestPicture:
    def test_lines_and_letters_grow_with_the_picture(self) -> None:
        assert Sizes.of(200, 300) == Sizes(line=2, rim=1, font=11, padding=3)
        assert Sizes.of(480, 640) == Sizes(line=3, rim=1, font=15, padding=4)
        assert Sizes.of(3000, 4000) == Sizes(line=9, rim=2, font=54, padding=15)

    def test_the_given_pixels_stay_as_they_are(self) -> None:
        pixels = np.full((90, 120, 3), GREY, np.uint8)
        picture = draw(pixels, detections(90, 120, [[20, 30, 80, 70]]))
        assert (pixels == GREY).all()
        assert picture.size == (120, 90)
        assert picture.mode == "RGB"

    def test_a_box_from_20_to_80_has_its_line_on_the_pixels_20_to_79(self) -> None:
        row = drawn(200, 300, [[20, 100, 80, 150]])[130]
        of_line = np.flatnonzero((row == class_color(0)).all(axis=1))
        np.testing.assert_array_equal(of_line, [20, 21, 78, 79])
        touched = np.flatnonzero((row != GREY).any(axis=1))
        np.testing.assert_array_equal(touched, [19, 20, 21, 78, 79, 80])  # with a dark rim around it

    def test_a_better_box_lies_on_a_worse_one(self) -> None:
        pixels = drawn(200, 300, [[20, 100, 80, 150], [20, 100, 80, 150], [60, 60, 90, 170]])
        assert tuple(pixels[130, 20]) == class_color(0)
        assert tuple(pixels[130, 79]) == class_color(0)
        assert tuple(pixels[100, 60]) == class_color(0)  # where the first and the third cross

    def test_the_plate_has_the_color_of_the_class_and_text_that_reads_on_it(self) -> None:
        pixels = drawn(200, 300, [[20, 100, 80, 150]])
        plate = pixels[84:97, 20:80].reshape(-1, 3)
        assert (plate == class_color(0)).all(axis=1).sum() > 300
        assert text_color(class_color(0)) == (0, 0, 0)
        assert (plate.sum(axis=1) < sum(class_color(0)) / 3).sum() > 50

    def test_nothing_is_drawn_for_no_box(self) -> None:
        assert (drawn(50, 60, np.zeros((0, 4))) == GREY).all()

    @pytest.mark.parametrize(
        "box", [[-50, 10, -1, 40], [61, 10, 99, 40], [10, -9, 20, 0], [60, 10, 60, 40], [10, 50, 20, 1e30]], ids=str
    )
    def test_a_box_wholly_outside_is_not_drawn(self, box: list[float]) -> None:
        assert (drawn(50, 60, [box]) == GREY).all()

    @pytest.mark.parametrize(
        "box",
        [
            [20, 20, 20, 20],
            [20, 20, 20, 40],
            [20.2, 20.2, 20.3, 20.3],
            [59.9, 49.9, 60, 50],
            [0, 0, 0.1, 0.1],
            [-30, -30, 30, 30],
            [-1e30, -1e30, 1e30, 1e30],
            [5, 5, 1e38, 6],
            [0, 0, 60, 50],
        ],
        ids=str,
    )
    def test_any_box_that_can_be_seen_is_drawn(self, box: list[float]) -> None:
        assert (drawn(50, 60, [box]) != GREY).any()

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (8, 8), (500, 10), (10, 500), (11, 40)])
    def test_the_smallest_and_narrowest_pictures_are_drawn(self, height: int, width: int) -> None:
        assert drawn(height, width, scene(height, width, 5)).shape == (height, width, 3)

    def test_a_picture_too_small_for_any_label_has_boxes_alone(self) -> None:
        touched = (drawn(9, 9, [[2, 2, 5, 5]]) != GREY).any(axis=2)
        assert touched[1:6, 1:6].sum() == touched.sum() == 24  # the middle pixel is the object

    @pytest.mark.parametrize(
        "label", ["", "word " * 3000, "\n", "猫", "\U0010ffff", "العربية", "a\u0301" * 50, "\ud800"]
    )
    def test_any_label_is_drawn(self, label: str) -> None:
        assert (drawn(120, 160, [[20, 50, 90, 90]], labels=(label,)) != GREY).any()

    def test_a_long_label_is_cut_to_the_picture_and_keeps_its_score(self) -> None:
        pixels = drawn(120, 160, [[60, 50, 90, 90]], labels=("a very long name for a class that goes on and on",))
        plate = (pixels == class_color(0)).all(axis=2)[:48]
        assert plate.any(axis=0).sum() > 120
        assert (pixels[:48] != GREY).any(axis=2).any(axis=0).sum() <= 160

    def test_detections_of_another_size_are_refused(self) -> None:
        with pytest.raises(ValueError, match="expected those of a picture of 60 x 50, got of 61 x 50"):
            draw(np.zeros((50, 60, 3), np.uint8), detections(50, 61, [[1, 1, 9, 9]]))

    @pytest.mark.parametrize(("height", "width"), [(200, 300), (3000, 4000)])
    def test_labels_of_a_scene_do_not_hide_each_other(
        self, height: int, width: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        placed: list[np.ndarray] = []

        def spy(*arguments: Any) -> Any:
            placed.append(place_plates(*arguments))
            return placed[-1]

        monkeypatch.setattr("pure_detect.draw.picture.place_plates", spy)
        drawn(height, width, scene(height, width, 10, seed=4))
        assert len(placed[0]) == 10
        assert (placed[0][:, 2:] > placed[0][:, :2]).all()
        assert max(overlap(a, b) for a, b in combinations(placed[0], 2)) == 0


class TestFiles:
    @pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "PNG"])
    def test_every_documented_ending_holds_the_picture(self, tmp_path: Path, ending: str) -> None:
        picture = draw(np.full((90, 120, 3), GREY, np.uint8), detections(90, 120, [[20, 30, 80, 70]]))
        path = tmp_path / f"boxes.{ending}"
        save_picture(picture, path)
        with Image.open(path) as read:
            difference = np.abs(np.asarray(read.convert("RGB")).astype(int) - np.asarray(picture))
        exact = ending not in ("jpg", "jpeg", "webp", "gif")
        assert difference.mean() == 0 if exact else difference.mean() < 3  # measured: at most 2.84, of WebP
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize("name", ["boxes", "boxes.txt", "boxes.psd", "boxes.h5", "boxes.ico", ".png"])
    def test_any_other_is_refused_by_name_and_nothing_is_written(self, tmp_path: Path, name: str) -> None:
        picture = Image.new("RGB", (4, 4))
        for refusing in (check_picture_path, lambda path: save_picture(picture, path)):
            with pytest.raises(InputError, match=r"expected a file name ending in \.png, \.jpg"):
                refusing(tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_a_picture_too_large_for_its_format_is_one_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"wide\.webp: cannot be written"):
            save_picture(Image.new("RGB", (16384, 1)), tmp_path / "wide.webp")
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_folder_is_one_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be written"):
            save_picture(Image.new("RGB", (4, 4)), tmp_path / "absent" / "a.png")
