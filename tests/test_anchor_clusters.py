"""YOLO's dimension clusters."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect import InputError
from pure_detect.evaluate import GroundTruth, Image, find_anchors, plot_anchors
from pure_detect.evaluate.anchors import cluster

# Far apart under IoU, also 60 x 20 and 20 x 60, which have the same area.
KNOWN = np.array([(8.0, 9.0), (60.0, 20.0), (20.0, 60.0), (90.0, 100.0), (300.0, 250.0)])


def boxes_around(known: np.ndarray, each: int = 60, spread: float = 0.05) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.permutation((known[:, None] * np.exp(random.normal(0, spread, (len(known), each, 2)))).reshape(-1, 2))


def truth_of(boxes_wh: np.ndarray, width: int = 640, height: int = 480, **options) -> GroundTruth:
    boxes = np.concatenate([np.zeros_like(boxes_wh), boxes_wh], axis=1)
    ones = np.ones(len(boxes), int)
    return GroundTruth(ones, ones, boxes, images=[Image(1, "a.jpg", width, height)], **options)


def mean_iou(boxes: np.ndarray, anchors: np.ndarray) -> float:
    shared = np.minimum(boxes[:, None], anchors).prod(axis=2)
    return float((shared / (boxes.prod(axis=1)[:, None] + anchors.prod(axis=1) - shared)).max(axis=1).mean())


@pytest.mark.parametrize("seed", range(5))
def test_known_clusters_are_found(seed: int) -> None:
    anchors, iou = cluster(boxes_around(KNOWN), len(KNOWN), seed=seed)
    np.testing.assert_allclose(sorted(map(tuple, anchors)), sorted(map(tuple, KNOWN)), rtol=0.03)
    assert 0.9 < iou < 1


def test_anchors_stand_by_area() -> None:
    anchors, _ = cluster(boxes_around(KNOWN), len(KNOWN))
    areas = anchors.prod(axis=1)
    assert (np.diff(areas) > 0).all()
    assert areas[0] == pytest.approx(72, rel=0.05)


def test_the_mean_iou_is_that_of_the_anchors_returned() -> None:
    boxes = np.exp(np.random.default_rng(1).uniform(1, 6, (500, 2)))
    anchors, iou = cluster(boxes, 6)
    assert iou == pytest.approx(mean_iou(boxes, anchors), abs=1e-12)


def test_every_box_its_own_anchor_fits_perfectly() -> None:
    anchors, iou = cluster(KNOWN, len(KNOWN))
    np.testing.assert_array_equal(sorted(map(tuple, anchors)), sorted(map(tuple, KNOWN)))
    assert iou == 1


def test_one_anchor_fits_at_least_as_well_as_the_mean_box() -> None:
    boxes = np.exp(np.random.default_rng(5).uniform(2, 6, (40, 2)))
    assert cluster(boxes, 1)[1] >= mean_iou(boxes, boxes.mean(axis=0)[None]) - 1e-12


def test_two_boxes_alike_share_an_anchor_between_them() -> None:
    anchors, iou = cluster([(100, 200), (102, 200), (104, 200), (20, 20)], 2)
    np.testing.assert_allclose(anchors, [(20, 20), (102, 200)])
    assert iou == pytest.approx((100 / 102 + 1 + 102 / 104 + 1) / 4)


def test_more_anchors_fit_better_and_beat_boxes_drawn_by_chance() -> None:
    random = np.random.default_rng(2)
    boxes = np.exp(random.uniform(2, 6, (800, 2)))
    ious = [cluster(boxes, count)[1] for count in (1, 3, 5, 9)]
    assert ious == sorted(ious)
    chance = [mean_iou(boxes, boxes[random.choice(len(boxes), 9)]) for _ in range(50)]
    assert ious[-1] > max(chance)


def test_iou_clusters_are_not_euclidean_ones() -> None:
    """Small boxes keep an anchor of their own beside big ones that vary by far more pixels."""
    small, big = np.full((50, 2), 5.0), np.linspace((300, 300), (400, 400), 50)
    anchors, _ = cluster(np.concatenate([small, small * 3, big]), 3)
    np.testing.assert_allclose(anchors[:2], [(5, 5), (15, 15)])


def test_the_same_seed_finds_the_same_anchors() -> None:
    boxes = np.exp(np.random.default_rng(3).uniform(2, 6, (300, 2)))
    np.testing.assert_array_equal(cluster(boxes, 9, seed=4)[0], cluster(boxes, 9, seed=4)[0])


def test_boxes_are_stretched_with_the_picture_to_the_networks_input() -> None:
    clusters = find_anchors(truth_of(np.array([(64.0, 48.0)])), 1, (240, 320))
    np.testing.assert_allclose(clusters.anchors_wh, [(32, 24)])
    assert clusters.mean_iou == 1
    square = find_anchors(truth_of(np.array([(64.0, 48.0)])), 1, 416)
    np.testing.assert_allclose(square.anchors_wh, [(41.6, 41.6)])
    assert square.cfg_line() == "anchors = 42,42"


def test_crowds_are_left_out() -> None:
    truth = truth_of(np.array([(64.0, 48.0), (500.0, 400.0)]), iscrowd=[0, 1])
    np.testing.assert_allclose(find_anchors(truth, 1, (480, 640)).anchors_wh, [(64, 48)])


def test_anchors_are_stated_as_a_darknet_cfg_states_them() -> None:
    truth = truth_of(boxes_around(np.array([(10.0, 13.0), (100.0, 80.0)]), spread=0.01))
    line = find_anchors(truth, 2, (480, 640)).cfg_line()
    assert line == "anchors = 10,13,  100,80"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (truth_of(np.array([(4.0, 4.0)] * 9)), "expected at least 2 boxes of different sizes, one an anchor, found 1"),
        (GroundTruth([], [], []), "ground truth: expected at least one object, found none"),
        (truth_of(np.ones((5, 2)), width=0), r"ground truth: images\[0\] \(id 1\): expected a width and height"),
    ],
)
def test_data_that_yield_no_anchors_are_refused(truth: GroundTruth, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_anchors(truth, 2)


def test_a_count_or_size_under_1_is_refused() -> None:
    truth = truth_of(np.array([(4.0, 4.0)]))
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        find_anchors(truth, 0)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        find_anchors(truth, 1, 0)


@pytest.mark.parametrize("size", [416, (320, 640), (640, 64)])
def test_the_plot_shows_anchors_where_they_lie(size: int | tuple[int, int]) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    anchor = np.array([(width * 0.5, height * 0.25)])
    clusters = find_anchors(truth_of(anchor, width, height), 1, size)
    picture = np.asarray(plot_anchors(clusters, size)).astype(int)
    red = (picture[..., 0] - picture[..., 1] > 100) & (np.arange(picture.shape[1]) < picture.shape[1] - 200)
    rows, columns = np.nonzero(red)
    plot_height, plot_width = picture.shape[0] - 112, picture.shape[1] - 276
    assert columns.mean() == pytest.approx(72 + plot_width * 0.5, abs=1)
    assert rows.mean() == pytest.approx(52 + plot_height * 0.75, abs=1)
