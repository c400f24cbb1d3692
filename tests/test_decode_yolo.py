"""YOLO heads against numbers worked out by hand and against recordings of Darknet's C code."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.coordinates import xyxy_to_cxcywh
from pure_detect.boxes.decode_yolo import GaussianYoloHead, RegionHead, YoloHead, decode_yolo
from pure_detect.boxes.scored import select
from tests.golden.record_darknet_boxes import COMMAND, load

# A grid of 2 rows and 3 columns in an input 64 high and 128 wide: no two of these numbers agree.
H, W, NETWORK_HEIGHT, NETWORK_WIDTH = 2, 3, 64, 128
ANCHORS = ((8.0, 16.0), (32.0, 4.0))
CLASSES = 2

LN2, LN3 = np.log(2), np.log(3)  # e^LN2 = 2, and σ(LN3) = 3/4, σ(-LN3) = 1/4, σ(0) = 1/2


def one_cell(planes, row, column, anchor, dtype=np.float64):
    """Return a head of zeros in which one cell holds `planes` for one anchor."""
    raw = np.zeros((len(ANCHORS), len(planes), H, W), dtype)
    raw[anchor, :, row, column] = planes
    return raw.reshape(-1, H, W)


def decode_one(planes, head, row=1, column=2, anchor=1):
    """Return (cx, cy, w, h) and the scores of the one cell that holds `planes`."""
    scored = decode_yolo(one_cell(planes, row, column, anchor), head, NETWORK_HEIGHT, NETWORK_WIDTH)
    index = (row * W + column) * len(ANCHORS) + anchor
    return xyxy_to_cxcywh(scored.boxes_xyxy[index]), scored.scores[index]


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-15)


def test_yolo_formula_on_one_cell():
    box, scores = decode_one([LN3, 0, LN2, -LN2, LN3, 0, -LN3], YoloHead("head", ANCHORS, CLASSES))
    assert_close(box, [(2 + 3 / 4) / 3, (1 + 1 / 2) / 2, 32 * 2 / 128, 4 / 2 / 64])
    assert_close(scores, [3 / 4 * 1 / 2, 3 / 4 * 1 / 4])


def test_yolo_corners_are_left_top_right_bottom():
    raw = one_cell([0, 0, 0, 0, 0, 0, 0], 0, 0, 0)
    boxes, _ = decode_yolo(raw, YoloHead("head", ANCHORS, CLASSES), NETWORK_HEIGHT, NETWORK_WIDTH)
    cx, cy, w, h = 0.5 / 3, 0.5 / 2, 8 / 128, 16 / 64
    assert_close(boxes[0], [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


def test_scale_x_y_stretches_around_the_middle_of_the_cell():
    head = YoloHead("head", ANCHORS, CLASSES, scale_x_y=1.2)
    box, _ = decode_one([LN3, -LN3, 0, 0, 0, 0, 0], head)
    # 1.2 · 3/4 - 0.1 = 0.8 and 1.2 · 1/4 - 0.1 = 0.2
    assert_close(box, [(2 + 0.8) / 3, (1 + 0.2) / 2, 32 / 128, 4 / 64])


def test_new_coords_take_planes_as_they_are_and_square_the_size():
    head = YoloHead("head", ANCHORS, CLASSES, scale_x_y=2.0, new_coords=True)
    box, scores = decode_one([0.75, 0.5, 0.25, 0.75, 0.5, 0.25, 1], head)
    # 2 · 0.75 - 0.5 = 1, 2 · 0.5 - 0.5 = 0.5; 4 · 0.25² = 1/4, 4 · 0.75² = 9/4
    assert_close(box, [(2 + 1) / 3, (1 + 0.5) / 2, 32 / 4 / 128, 4 * 9 / 4 / 64])
    assert_close(scores, [0.125, 0.5])


def test_region_anchors_are_in_cells_and_classes_pass_a_softmax():
    box, scores = decode_one([LN3, 0, LN2, -LN2, LN3, 0, LN3], RegionHead("head", ANCHORS, CLASSES))
    assert_close(box, [(2 + 3 / 4) / 3, (1 + 1 / 2) / 2, 32 * 2 / 3, 4 / 2 / 2])
    assert_close(scores, [3 / 4 * 1 / 4, 3 / 4 * 3 / 4])  # e^0 : e^LN3 = 1 : 3


def test_region_without_softmax_takes_the_sigmoid_of_each_class():
    _, scores = decode_one([0, 0, 0, 0, LN3, 0, LN3], RegionHead("head", ANCHORS, CLASSES, softmax=False))
    assert_close(scores, [3 / 4 * 1 / 2, 3 / 4 * 3 / 4])


def test_region_does_not_depend_on_the_network_size():
    raw = np.random.default_rng(0).normal(size=(2 * 7, H, W))
    head = RegionHead("head", ANCHORS, CLASSES)
    np.testing.assert_array_equal(decode_yolo(raw, head, 64, 128).boxes_xyxy, decode_yolo(raw, head, 32, 32).boxes_xyxy)


def test_softmax_of_large_numbers_does_not_overflow():
    _, scores = decode_one([0, 0, 0, 0, LN3, 1000, 1000 + LN3], RegionHead("head", ANCHORS, CLASSES))
    np.testing.assert_allclose(scores, [3 / 16, 9 / 16], rtol=1e-12)


@pytest.mark.parametrize(("point", "shift"), [("center", 0), ("left_top", 1 / 2), ("right_bottom", -1 / 2)])
def test_gaussian_formula_on_one_cell(point, shift):
    # Deviations 1/4, 1/2, 3/4, 3/4: mean 9/16, certainty 7/16.
    planes = [LN3, -LN3, 0, 0, LN2, LN3, -LN2, LN3, LN3, 0, -LN3]
    head = GaussianYoloHead("head", ANCHORS, CLASSES, point=point)
    box, scores = decode_one(planes, head)
    w, h = 32 * 2 / 128, 4 / 2 / 64
    assert_close(box, [(2 + 3 / 4) / 3 + shift * w, (1 + 1 / 2) / 2 + shift * h, w, h])
    assert_close(scores, [3 / 4 * 1 / 2 * 7 / 16, 3 / 4 * 1 / 4 * 7 / 16])


def test_gaussian_scale_x_y_stretches_the_means():
    head = GaussianYoloHead("head", ANCHORS, CLASSES, scale_x_y=1.2)
    box, _ = decode_one([LN3, 9, -LN3, 9, 0, 0, 0, 0, 0, 0, 0], head)
    assert_close(box[:2], [(2 + 0.8) / 3, (1 + 0.2) / 2])


@pytest.mark.parametrize("anchor", range(2))
@pytest.mark.parametrize("column", range(W))
@pytest.mark.parametrize("row", range(H))
@pytest.mark.parametrize(
    ("head", "planes"),
    [
        (YoloHead("head", ANCHORS, CLASSES), 7),
        (GaussianYoloHead("head", ANCHORS, CLASSES), 11),
        (RegionHead("head", ANCHORS, CLASSES), 7),
    ],
    ids=["yolo", "gaussian", "region"],
)
def test_boxes_come_by_row_then_column_then_anchor(head, planes, row, column, anchor):
    marked = [0.0] * planes
    marked[-CLASSES - 1] = LN3  # objectness 3/4 where all others have 1/2
    boxes, scores = decode_yolo(one_cell(marked, row, column, anchor), head, NETWORK_HEIGHT, NETWORK_WIDTH)
    index = (row * 3 + column) * 2 + anchor
    assert np.argmax(scores[:, 0]) == index
    cells = (W, H) if isinstance(head, RegionHead) else (NETWORK_WIDTH, NETWORK_HEIGHT)
    size = [ANCHORS[anchor][0] / cells[0], ANCHORS[anchor][1] / cells[1]]
    assert_close(xyxy_to_cxcywh(boxes[index]), [(column + 0.5) / 3, (row + 0.5) / 2, *size])


def test_yolov3_at_416_has_10647_boxes():
    anchors = ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))
    counts = [
        decode_yolo(np.zeros((255, cells, cells), np.float32), YoloHead("head", anchors, 80), 416, 416)
        for cells in (13, 26, 52)
    ]
    assert sum(len(scored.boxes_xyxy) for scored in counts) == 10647
    assert sum(scored.scores.size for scored in counts) == 10647 * 80


ALL_HEADS = pytest.mark.parametrize(
    "head",
    [
        YoloHead("head", ANCHORS, CLASSES, scale_x_y=np.float64(1.1)),
        YoloHead("head", ANCHORS, CLASSES, new_coords=True),
        GaussianYoloHead("head", ANCHORS, CLASSES, point="left_top"),
        RegionHead("head", ANCHORS, CLASSES),
        RegionHead("head", ANCHORS, CLASSES, softmax=False),
    ],
    ids=["yolo", "new_coords", "gaussian", "region", "region_logistic"],
)


def planes_of(head):
    return len(ANCHORS) * ((9 if isinstance(head, GaussianYoloHead) else 5) + CLASSES)


@ALL_HEADS
def test_dtype_is_that_of_the_head_and_float32_agrees_with_float64(head):
    raw = np.random.default_rng(1).normal(size=(planes_of(head), H, W)).astype(np.float32)
    single, double = (decode_yolo(raw.astype(dtype), head, 64, 128) for dtype in (np.float32, np.float64))
    assert single.boxes_xyxy.dtype == single.scores.dtype == np.float32
    assert double.boxes_xyxy.dtype == double.scores.dtype == np.float64
    np.testing.assert_allclose(single.boxes_xyxy, double.boxes_xyxy, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(single.scores, double.scores, rtol=2e-6)


@ALL_HEADS
@pytest.mark.parametrize("bad", [1e30, -1e30, np.inf, -np.inf, np.nan], ids=str)
def test_numbers_out_of_range_leak_no_warning_and_select_drops_what_is_not_finite(head, bad):
    for plane in range(planes_of(head) // 2):
        raw = np.full((planes_of(head), H, W), 0.5, np.float32)
        raw[plane, 1, 2] = bad
        with np.errstate(all="raise"):
            candidates = select(decode_yolo(raw, head, NETWORK_HEIGHT, NETWORK_WIDTH), 0)
        assert np.isfinite(candidates.boxes_xyxy).all()
        others = (H * W * len(ANCHORS) - 1) * CLASSES
        assert others <= len(candidates.scores) <= others + CLASSES


def test_a_size_that_overflows_drops_its_box_and_nothing_else():
    raw = one_cell([0, 0, 1000, 0, 0, 0, 0], 0, 1, 0, np.float32)
    scored = decode_yolo(raw, YoloHead("head", ANCHORS, CLASSES), NETWORK_HEIGHT, NETWORK_WIDTH)
    np.testing.assert_array_equal(np.isfinite(scored.boxes_xyxy).all(axis=1), np.arange(12) != 2)


def test_an_array_of_any_memory_layout_is_read():
    raw = np.random.default_rng(2).normal(size=(14, H, W)).astype(np.float32)
    head = YoloHead("head", ANCHORS, CLASSES)
    expected = decode_yolo(raw, head, 64, 128)
    strided = np.repeat(raw, 2, axis=2)[:, :, ::2]
    for same in (np.asfortranarray(raw), strided):
        np.testing.assert_array_equal(decode_yolo(same, head, 64, 128).boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(decode_yolo(same, head, 64, 128).scores, expected.scores)


def test_decode_leaves_the_head_alone():
    raw = np.random.default_rng(3).normal(size=(14, H, W))
    before = raw.copy()
    decode_yolo(raw, YoloHead("head", ANCHORS, CLASSES), 64, 128)
    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize("shape", [(13, H, W), (22, H, W), (14, H), (1, 14, H, W)])
def test_a_head_of_another_shape_is_refused_with_what_it_should_have(shape):
    with pytest.raises(ValueError, match=r"'conv_81' with 2 anchors and 2 classes needs raw of shape \(14, h, w\)"):
        decode_yolo(np.zeros(shape), YoloHead("conv_81", ANCHORS, CLASSES), 64, 128)


def test_a_gaussian_head_wants_nine_planes_and_the_classes():
    with pytest.raises(ValueError, match=r"\(22, h, w\), got \(14, 2, 3\)"):
        decode_yolo(np.zeros((14, H, W)), GaussianYoloHead("head", ANCHORS, CLASSES), 64, 128)


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_a_head_of_another_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match="raw must be float32 or float64"):
        decode_yolo(np.zeros((14, H, W), dtype), YoloHead("head", ANCHORS, CLASSES), 64, 128)


@pytest.mark.parametrize(("height", "width"), [(0, 128), (64, 0), (-1, 128)])
def test_a_network_size_that_is_not_positive_is_refused(height, width):
    with pytest.raises(ValueError, match="network size must be positive"):
        decode_yolo(np.zeros((14, H, W)), YoloHead("head", ANCHORS, CLASSES), height, width)


def test_a_head_of_an_unknown_type_is_refused():
    with pytest.raises(TypeError, match="head must be a YoloHead, GaussianYoloHead or RegionHead, got str"):
        decode_yolo(np.zeros((14, H, W)), "yolo", 64, 128)


@pytest.mark.parametrize("head_type", [YoloHead, GaussianYoloHead, RegionHead])
def test_heads_that_cannot_be_are_refused(head_type):
    with pytest.raises(ValueError, match="anchors must be pairs"):
        head_type("head", (), CLASSES)
    with pytest.raises(ValueError, match="anchors must be pairs"):
        head_type("head", ((1, 2, 3),), CLASSES)
    with pytest.raises(ValueError, match="classes must be at least 1, got 0"):
        head_type("head", ANCHORS, 0)


def test_a_gaussian_head_with_an_unknown_point_is_refused():
    with pytest.raises(ValueError, match="point must be one of center, left_top, right_bottom, got 'middle'"):
        GaussianYoloHead("head", ANCHORS, CLASSES, point="middle")


# The heads of the recordings; their cfg sections stand in tests/golden/record_darknet_boxes.py.
YOLO_ANCHORS = ((20.0, 14.0), (34.0, 30.0), (60.0, 26.0))
REGION_ANCHORS = ((1.25, 0.75), (2.5, 2.0), (3.5, 1.5))
RECORDED_HEADS = {
    "pjreddie_yolo": YoloHead("head", YOLO_ANCHORS, 4),
    "pjreddie_region": RegionHead("head", REGION_ANCHORS, 4),
    "pjreddie_region_logistic": RegionHead("head", REGION_ANCHORS, 4, softmax=False),
    "alexeyab_yolo_scaled": YoloHead("head", YOLO_ANCHORS, 4, scale_x_y=1.2),
    "alexeyab_yolo_new_coords": YoloHead("head", YOLO_ANCHORS, 4, scale_x_y=2.0, new_coords=True),
    "alexeyab_region": RegionHead("head", REGION_ANCHORS, 4),
    "alexeyab_gaussian": GaussianYoloHead("head", YOLO_ANCHORS, 4, scale_x_y=1.1),
    "alexeyab_gaussian_left_top": GaussianYoloHead("head", YOLO_ANCHORS, 4, point="left_top"),
    "alexeyab_gaussian_right_bottom": GaussianYoloHead("head", YOLO_ANCHORS, 4, point="right_bottom"),
}


@pytest.mark.parametrize("name", RECORDED_HEADS)
def test_darknet_decodes_the_same_boxes_in_the_same_order(name):
    recorded = load(name)
    height, width = int(recorded["network_height"]), int(recorded["network_width"])
    # In float64, so that what differs from Darknet is its rounding and not ours.
    scored = decode_yolo(recorded["raw"].astype(np.float64), RECORDED_HEADS[name], height, width)
    boxes, scores = xyxy_to_cxcywh(scored.boxes_xyxy), scored.scores
    if name.startswith("pjreddie_region"):  # the one head that Darknet lists anchor by anchor
        boxes, scores = (array.reshape(-1, 3, array.shape[1]).swapaxes(0, 1) for array in (boxes, scores))
    scores = np.where(scores > recorded["threshold"], scores, 0)
    message = f"Darknet disagrees; to record anew: {COMMAND}"
    np.testing.assert_allclose(boxes.reshape(-1, 4), recorded["boxes_cxcywh"], atol=1e-6, rtol=0, err_msg=message)
    np.testing.assert_allclose(scores.reshape(-1, 4), recorded["scores"], atol=1e-6, rtol=0, err_msg=message)
