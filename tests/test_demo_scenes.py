"""The generator of scenes: the same everywhere, exact in its boxes, at home in every size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import pytest

from pure_detect.boxes.coordinates import pairwise_iou
from pure_detect.demo.scenes import LABELS, VISIBLE_SHARE, Scene, _compose, draw_scene
from pure_detect.demo.shapes import DISTANCES
from tests.subprocesses import run_python

# Recorded with NumPy 2.4 on x86-64, and met by NumPy 1.26 with AVX2 and without. The demo networks were trained on
# these very scenes: a change of a checksum is a change of the data set.
RECORDED = {
    (256, 256, 20): "c82b4e76fb7516c164cc548347831c808ac1f7a15602525d9d3de4bc1ae2adf4",
    (97, 61, 5): "a4a59d371278ffa9396d01bf46c3f6ef6e67ccedd59ab3a8e62fd4b9af107026",
    (640, 480, 2): "7517cfa9fdf850047ea344eb86c3fc7dc4044bdf672c284a52f162a77c941685",
}
SIZES = [(256, 256), (97, 61), (33, 400), (12, 12), (500, 300)]


def checksum(scenes: Iterable[Scene]) -> str:
    digest = hashlib.sha256()
    for scene in scenes:
        digest.update(scene.pixels.tobytes())
        digest.update(scene.boxes_xyxy.astype("<f8").tobytes())
        digest.update(scene.class_ids.astype("<i8").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("width", "height", "count"), RECORDED)
def test_scenes_are_the_recorded_ones(width: int, height: int, count: int) -> None:
    scenes = (draw_scene(seed, width, height) for seed in range(count))
    assert checksum(scenes) == RECORDED[width, height, count]


def test_a_scene_depends_neither_on_the_process_nor_on_what_was_drawn_before() -> None:
    code = (
        "from pure_detect.demo.scenes import draw_scene\n"
        "from tests.test_demo_scenes import checksum\n"
        "print(checksum([draw_scene(8), draw_scene(3)]))"
    )
    draw_scene(5, 40, 60)
    np.random.seed(1)  # a program's own use of the global generator
    assert run_python(code, timeout=120) == checksum([draw_scene(8), draw_scene(3)])


def test_seeds_make_different_scenes() -> None:
    assert len({checksum([draw_scene(seed)]) for seed in [*range(30), 2**63, 10**30]}) == 32


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_box_of_an_object_that_nothing_covers_is_that_of_its_pixels(width: int, height: int) -> None:
    whole = 0
    for seed in range(40):
        canvas = _compose(seed, width, height)
        boxes = draw_scene(seed, width, height).boxes_xyxy
        for i, patch in enumerate(canvas.patches):
            if canvas.seen[i] == np.count_nonzero(patch.mask):
                rows, columns = np.nonzero(canvas.owners == i)
                assert boxes[i].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                whole += 1
    assert whole > 20


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_covered_object_has_the_box_of_all_of_it_within_the_picture(width: int, height: int) -> None:
    for seed in range(20):
        canvas = _compose(seed, width, height)
        for patch, box in zip(canvas.patches, draw_scene(seed, width, height).boxes_xyxy.astype(int).tolist()):
            mask = np.zeros((height, width), bool)
            mask[patch.rows, patch.columns] = patch.mask
            x1, y1, x2, y2 = box
            assert mask.sum() == mask[y1:y2, x1:x2].sum()
            edges = (mask[y1, x1:x2], mask[y2 - 1, x1:x2], mask[y1:y2, x1], mask[y1:y2, x2 - 1])
            assert all(edge.any() for edge in edges)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_of_every_object_the_promised_share_can_be_seen(width: int, height: int) -> None:
    smallest = 1.0
    for seed in range(60):
        canvas = _compose(seed, width, height)
        for i, area in enumerate(canvas.areas):
            seen = np.count_nonzero(canvas.owners == i)
            assert seen == canvas.seen[i]
            smallest = min(smallest, seen / area)
    assert VISIBLE_SHARE <= smallest < 0.7


def test_no_two_boxes_are_so_alike_that_suppression_would_take_one() -> None:
    for seed in range(60):
        boxes = draw_scene(seed).boxes_xyxy
        overlaps = pairwise_iou(boxes, boxes) - np.eye(len(boxes))
        assert (overlaps <= 0.3).all()


@pytest.mark.parametrize(("width", "height"), [*SIZES, (1, 1), (2, 1), (1, 300), (300, 3), (11, 40)])
def test_any_size_gives_a_picture_with_boxes_inside_it(width: int, height: int) -> None:
    for seed in range(8):
        pixels, boxes, class_ids = draw_scene(seed, width, height)
        assert (pixels.shape, pixels.dtype) == ((height, width, 3), np.uint8)
        assert (boxes.shape, boxes.dtype, class_ids.dtype) == ((len(class_ids), 4), np.float64, np.int64)
        assert pixels.flags.c_contiguous
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= [width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert ((class_ids >= 0) & (class_ids < len(LABELS))).all()
        assert len(class_ids) == 0 or min(width, height) >= 12


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-3, 10)])
def test_a_size_of_nothing_is_refused_with_the_size(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 pixel, found {width}x{height}"):
        draw_scene(0, width, height)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed: expected a whole number of 0 or more, found -1"):
        draw_scene(-1)


def test_objects_grow_with_the_shorter_side() -> None:
    def side(size: int) -> float:
        boxes = np.concatenate([draw_scene(seed, size, size).boxes_xyxy for seed in range(30)])
        return float(np.median(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))))

    assert side(512) == pytest.approx(4 * side(128), rel=0.2)


def test_scenes_have_a_few_objects_of_every_class_and_of_many_sizes() -> None:
    scenes = [draw_scene(seed) for seed in range(200)]
    boxes = np.concatenate([scene.boxes_xyxy for scene in scenes])
    counts = np.bincount(np.concatenate([scene.class_ids for scene in scenes]), minlength=len(LABELS))
    assert len(LABELS) >= 8
    assert 3 < len(boxes) / len(scenes) < 5
    assert (counts > 0.7 * counts.mean()).all()
    shorter = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert np.mean(shorter < 20) < 0.03
    assert np.mean(longer > 100) > 0.1


# Of shapes within a circle of radius 1: formulas of plane geometry.
AREAS = {
    "ellipse": math.pi,
    "triangle": 3 * math.sqrt(3) / 4,
    "rectangle": 2.0,
    "star": 10 * 0.5 * math.sin(math.pi / 5) * math.sin(math.radians(18)) / math.cos(math.radians(36)),
    "cross": 2 * 1.9 * 0.6 - 0.6**2,
    "ring": math.pi * (1 - 0.58**2),
}


def shape_mask(label: str, turn: float = 0.0, cells: int = 400) -> np.ndarray:
    places = ((np.arange(cells) + 0.5) / cells * 2.4 - 1.2).astype(np.float32)
    u, v = places[None], places[:, None]
    cosine, sine = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    return DISTANCES[label](u * cosine + v * sine, v * cosine - u * sine) <= 0


@pytest.mark.parametrize("label", AREAS)
def test_a_shape_has_the_area_of_its_formula(label: str) -> None:
    assert shape_mask(label).sum() * (2.4 / 400) ** 2 == pytest.approx(AREAS[label], rel=0.01)


@pytest.mark.parametrize("label", LABELS)
def test_a_shape_ends_within_the_window_that_is_drawn(label: str) -> None:
    places = ((np.arange(400) + 0.5) / 400 * 2.4 - 1.2).astype(np.float32)
    rows, columns = np.nonzero(shape_mask(label))
    assert np.hypot(places[rows], places[columns]).max() <= 1.1


def test_no_class_is_another_one_turned() -> None:
    masks = {label: [shape_mask(label, math.radians(turn), 80) for turn in range(0, 360, 15)] for label in LABELS}
    for one in LABELS:
        for other in set(LABELS) - {one}:
            overlaps = [(masks[one][0] & mask).sum() / (masks[one][0] | mask).sum() for mask in masks[other]]
            assert max(overlaps) < 0.8, (one, other)
