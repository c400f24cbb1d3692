"""Box coordinates against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.coordinates import clip_boxes, cxcywh_to_xyxy, pairwise_iou, xyxy_to_cxcywh

NAN, INF = np.nan, np.inf
FUNCTIONS = {
    "cxcywh_to_xyxy": cxcywh_to_xyxy,
    "xyxy_to_cxcywh": xyxy_to_cxcywh,
    "clip_boxes": lambda boxes: clip_boxes(boxes, 10, 20),
    "pairwise_iou": lambda boxes: pairwise_iou(boxes, boxes),
}


@pytest.fixture(params=FUNCTIONS.values(), ids=FUNCTIONS.keys())
def function(request):
    return request.param


def test_centre_and_size_become_corners():
    np.testing.assert_array_equal(cxcywh_to_xyxy([[10, 20, 4, 6]]), [[8, 17, 12, 23]])


def test_corners_become_centre_and_size():
    np.testing.assert_array_equal(xyxy_to_cxcywh([[8, 17, 12, 23]]), [[10, 20, 4, 6]])


def test_odd_sizes_have_half_centres():
    np.testing.assert_array_equal(xyxy_to_cxcywh([0, 0, 3, 5]), [1.5, 2.5, 3, 5])
    np.testing.assert_array_equal(cxcywh_to_xyxy(np.array([1.5, 2.5, 3, 5])), [0, 0, 3, 5])


def test_any_leading_axes_are_kept():
    boxes = np.random.default_rng(0).random((2, 3, 5, 4))
    corners = cxcywh_to_xyxy(boxes)
    assert corners.shape == (2, 3, 5, 4)
    np.testing.assert_array_equal(corners[1, 2, 4], cxcywh_to_xyxy(boxes[1, 2, 4]))
    np.testing.assert_allclose(xyxy_to_cxcywh(corners), boxes, rtol=0, atol=1e-15)


def test_clipping_moves_x_into_the_width_and_y_into_the_height():
    boxes = [[-5, -6, 90, 70], [1, 2, 3, 4], [60, 50, 80, 70], [-9, -8, -7, -6]]
    clipped = [[0, 0, 40, 30], [1, 2, 3, 4], [40, 30, 40, 30], [0, 0, 0, 0]]
    np.testing.assert_array_equal(clip_boxes(boxes, height=30, width=40), clipped)


def test_clipping_leaves_its_argument_alone_and_nan_as_it_is():
    boxes = np.array([[NAN, -1.0, INF, 9.0]])
    np.testing.assert_array_equal(clip_boxes(boxes, 5, 7), [[NAN, 0, 7, 5]])
    np.testing.assert_array_equal(boxes, [[NAN, -1, INF, 9]])


@pytest.mark.parametrize(("height", "width"), [(-1, 5), (5, -1), (NAN, 5), (5, NAN)])
def test_clipping_refuses_a_size_that_is_none(height, width):
    with pytest.raises(ValueError, match="height and width must be at least 0"):
        clip_boxes(np.zeros((1, 4)), height, width)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        pytest.param([0, 0, 2, 2], [0, 0, 2, 2], 1, id="same"),
        pytest.param([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, id="quarter shared"),
        pytest.param([0, 0, 4, 2], [1, 0, 2, 2], 1 / 4, id="inside"),
        pytest.param([0, 0, 3, 1], [0, 0, 1, 3], 1 / 5, id="crossing: wide and tall"),
        pytest.param([0, 0, 2, 2], [2, 0, 4, 2], 0, id="touching sides"),
        pytest.param([0, 0, 2, 2], [2, 2, 4, 4], 0, id="touching corners"),
        pytest.param([0, 0, 1, 1], [3, 3, 5, 5], 0, id="apart in both"),
        pytest.param([0, 0, 1, 9], [3, 0, 5, 9], 0, id="apart in x only"),
        pytest.param([0, 0, 9, 1], [0, 3, 9, 5], 0, id="apart in y only"),
        pytest.param([1, 1, 1, 1], [1, 1, 1, 1], 0, id="both points"),
        pytest.param([1, 0, 1, 2], [0, 0, 2, 2], 0, id="line in a box"),
        pytest.param([2, 2, 0, 0], [0, 0, 2, 2], 0, id="corners swapped"),
        pytest.param([2, 2, 0, 0], [2, 2, 0, 0], 0, id="both with corners swapped"),
        pytest.param([NAN, 0, 2, 2], [0, 0, 2, 2], 0, id="NaN x1"),
        pytest.param([0, 0, 2, NAN], [0, 0, 2, 2], 0, id="NaN y2"),
        pytest.param([NAN] * 4, [NAN] * 4, 0, id="all NaN"),
        pytest.param([0, 0, INF, 2], [0, 0, 2, 2], 0, id="one infinite"),
        pytest.param([-INF, -INF, INF, INF], [-INF, -INF, INF, INF], 0, id="both infinite"),
    ],
)
def test_iou_of_two_boxes(a, b, iou):
    with np.errstate(all="raise"):
        for first, second in ((a, b), (b, a)):
            result = pairwise_iou(np.array([first], np.float64), np.array([second], np.float64))
            assert result == pytest.approx(iou, abs=1e-15)


def test_iou_has_a_row_for_each_first_and_a_column_for_each_second_box():
    a = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], np.float64)
    b = np.array([[9, 9, 10, 10], [0, 0, 2, 1], [5, 5, 6, 6]], np.float64)
    np.testing.assert_array_equal(pairwise_iou(a, b), [[0, 0.5, 0], [0, 0, 1]])


@pytest.mark.parametrize(("m", "k"), [(0, 0), (0, 3), (3, 0)])
def test_iou_of_no_boxes_is_an_empty_table(m, k):
    assert pairwise_iou(np.zeros((m, 4)), np.zeros((k, 4))).shape == (m, k)


@pytest.mark.parametrize(
    ("given", "returned"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float64), (np.int32, np.float64)],
)
def test_dtype_is_kept_for_float32_and_float64_and_otherwise_float64(function, given, returned):
    assert function(np.array([[1, 2, 3, 5]], given)).dtype == returned


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (2, 5)])
def test_a_last_axis_other_than_four_is_refused(function, shape):
    with pytest.raises(ValueError, match="must have shape"):
        function(np.zeros(shape))


def test_iou_refuses_a_single_box_without_an_axis_for_boxes():
    with pytest.raises(ValueError, match=r"b must have shape \(M, 4\), got \(4,\)"):
        pairwise_iou(np.zeros((1, 4)), np.zeros(4))
