"""Output sizes and padding against numbers that the frameworks gave: a shared mistake agrees with itself."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect import ops
from pure_detect.ops.geometry import (
    darknet_pool_padding,
    same_padding,
    symmetric_padding,
    window_output,
    window_output_shape,
    window_span,
)

# torch.nn.functional.conv1d on an input padded by torch.nn.functional.pad, PyTorch 2.13:
# size, kernel, stride, before, after, dilation, output.
TORCH_WINDOWS = (
    (320, 3, 2, 1, 1, 1, 160),
    (320, 3, 2, 0, 1, 1, 160),
    (321, 3, 2, 1, 1, 1, 161),
    (1, 3, 1, 1, 1, 1, 1),
    (1, 1, 3, 0, 0, 1, 1),
    (7, 7, 1, 0, 0, 1, 1),
    (8, 7, 2, 3, 3, 1, 4),
    (9, 7, 2, 3, 3, 1, 5),
    (5, 2, 3, 0, 0, 1, 2),
    (6, 2, 3, 0, 0, 1, 2),
    (10, 4, 2, 1, 2, 1, 5),
    (9, 3, 1, 2, 2, 2, 9),
    (9, 3, 2, 2, 2, 2, 5),
    (10, 3, 2, 2, 2, 2, 5),
    (3, 3, 1, 4, 4, 4, 3),
    (300, 5, 2, 1, 2, 1, 150),
    (12, 5, 1, 0, 0, 2, 4),
    (9, 5, 1, 0, 0, 2, 1),
    (4, 1, 1, 1, 1, 1, 6),
    (11, 3, 3, 1, 1, 1, 4),
)

# [maxpool] of pjreddie/darknet f6afaab and AlexeyAB/darknet 59596d7, which agree:
# size of the map, size=, stride=, padding= (size - 1 by default), output.
DARKNET_POOLS = (
    (416, 2, 2, 1, 208),
    (416, 2, 1, 1, 416),
    (416, 3, 2, 2, 208),
    (416, 3, 3, 2, 139),
    (13, 2, 2, 1, 7),
    (13, 2, 1, 1, 13),
    (13, 3, 2, 2, 7),
    (13, 5, 1, 4, 13),  # SPP of yolov3-spp and yolov4
    (13, 9, 1, 8, 13),
    (13, 13, 1, 12, 13),
    (13, 2, 2, 0, 6),
    (13, 3, 2, 1, 6),
    (19, 2, 2, 1, 10),
    (19, 13, 1, 12, 19),
    (38, 2, 2, 1, 19),
    (38, 3, 3, 2, 13),
    (7, 13, 1, 12, 7),
    (10, 2, 2, 1, 5),
)

# [convolutional] of both forks, the same way: size of the map, size=, stride=, padding a side, output.
DARKNET_CONVOLUTIONS = (
    (416, 3, 1, 1, 416),
    (416, 3, 2, 1, 208),
    (416, 1, 1, 1, 418),
    (416, 3, 2, 0, 207),
    (416, 7, 2, 3, 208),
    (416, 4, 2, 2, 209),
    (416, 2, 1, 1, 417),
    (416, 3, 3, 1, 139),
    (13, 3, 2, 1, 7),
    (10, 3, 2, 1, 5),
    (13, 4, 2, 2, 7),
    (10, 4, 2, 2, 6),
    (7, 5, 2, 2, 4),
    (8, 5, 2, 2, 4),
)

# [maxpool] of pjreddie/darknet f6afaab over the row 0, 1, ... 8 (its last cell comes out) and 0, -1, ... -8 (its
# first): size=, stride=, padding=, first cell and last cell of every window.
DARKNET_WINDOWS = (
    (2, 1, 1, [0, 1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8, 8]),
    (2, 2, 1, [0, 2, 4, 6, 8], [1, 3, 5, 7, 8]),
    (3, 1, 2, [0, 0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8, 8]),
    (3, 2, 2, [0, 1, 3, 5, 7], [1, 3, 5, 7, 8]),
    (4, 1, 3, [0, 0, 1, 2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7, 8, 8, 8]),
    (5, 1, 4, [0, 0, 0, 1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7, 8, 8, 8]),
    (6, 3, 5, [0, 1, 4], [3, 6, 8]),
    (3, 2, 1, [0, 2, 4, 6], [2, 4, 6, 8]),
)


# tf.nn.conv2d with padding "SAME", TensorFlow 2.21: size, kernel, stride, dilation, cells padded before (where the
# first window begins) and after, output.
TENSORFLOW_SAME = (
    (8, 3, 1, 1, 1, 1, 8),
    (8, 3, 2, 1, 0, 1, 4),
    (7, 3, 2, 1, 1, 1, 4),
    (8, 5, 2, 1, 1, 2, 4),
    (9, 5, 2, 1, 2, 2, 5),
    (10, 5, 1, 1, 2, 2, 10),
    (8, 2, 1, 1, 0, 1, 8),
    (8, 2, 2, 1, 0, 0, 4),
    (7, 2, 2, 1, 0, 1, 4),
    (6, 4, 1, 1, 1, 2, 6),
    (9, 4, 2, 1, 1, 2, 5),
    (10, 3, 3, 1, 1, 1, 4),
    (11, 3, 3, 1, 0, 1, 4),
    (9, 1, 2, 1, 0, 0, 5),
    (8, 1, 3, 1, 0, 0, 3),
    (7, 3, 1, 2, 2, 2, 7),
    (10, 3, 1, 3, 3, 3, 10),
    (2, 7, 2, 1, 2, 3, 1),
    (1, 3, 2, 1, 1, 1, 1),
    (5, 2, 3, 1, 0, 0, 2),
)


@pytest.mark.parametrize(("size", "kernel", "stride", "before", "after", "dilation", "output"), TORCH_WINDOWS)
def test_window_output_is_torchs(size, kernel, stride, before, after, dilation, output):
    assert window_output(size, kernel, stride, before, after, dilation) == output


@pytest.mark.parametrize(("size", "kernel", "stride", "total", "output"), DARKNET_POOLS)
def test_pool_output_is_darknets(size, kernel, stride, total, output):
    top, left, bottom, right = darknet_pool_padding(total)
    assert window_output(size, kernel, stride, top, bottom) == output
    assert window_output(size, kernel, stride, left, right) == output


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "output"), DARKNET_CONVOLUTIONS)
def test_convolution_output_is_darknets(size, kernel, stride, padding, output):
    top, left, bottom, right = symmetric_padding(padding)
    assert window_output(size, kernel, stride, top, bottom) == output
    assert window_output(size, kernel, stride, left, right) == output


@pytest.mark.parametrize(("size", "stride", "total", "first", "last"), DARKNET_WINDOWS)
def test_pool_windows_lie_where_darknets_do(size, stride, total, first, last):
    top, left, bottom, right = darknet_pool_padding(total)
    row = np.arange(9, dtype=np.float32).reshape(1, 1, 1, 9)
    horizontal = {"kernel": (1, size), "stride": (1, stride), "padding": (0, left, 0, right)}
    assert ops.max_pool(row, **horizontal).ravel().tolist() == last
    assert (-ops.max_pool(-row, **horizontal)).ravel().tolist() == first
    column = row.reshape(1, 1, 9, 1)
    vertical = {"kernel": (size, 1), "stride": (stride, 1), "padding": (top, 0, bottom, 0)}
    assert ops.max_pool(column, **vertical).ravel().tolist() == last
    assert (-ops.max_pool(-column, **vertical)).ravel().tolist() == first


def test_darknet_pool_padding_puts_the_odd_cell_right_and_below():
    assert darknet_pool_padding(1) == (0, 0, 1, 1)
    assert darknet_pool_padding(12) == (6, 6, 6, 6)


def test_symmetric_padding_is_equal_on_all_sides():
    assert symmetric_padding(3) == (3, 3, 3, 3)


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation", "before", "after", "output"), TENSORFLOW_SAME)
def test_same_padding_is_tensorflows_on_each_axis(size, kernel, stride, dilation, before, after, output):
    assert window_output(size, kernel, stride, before, after, dilation) == output
    _, left, _, right = same_padding((3, 97, size), kernel, stride, dilation)
    top, _, bottom, _ = same_padding((3, size, 97), kernel, stride, dilation)
    assert (left, right) == (top, bottom) == (before, after)


def test_a_dilated_window_spans_its_holes():
    assert [window_span(kernel, dilation) for kernel, dilation in ((3, 1), (3, 2), (5, 3), (1, 7))] == [3, 5, 13, 1]


def test_height_takes_the_first_of_each_pair_and_width_the_second():
    shape = window_output_shape((3, 20, 33), 7, (3, 5), (2, 3), (1, 4, 0, 2), (2, 1))
    assert shape == (7, (20 + 1 + 0 - 5) // 2 + 1, (33 + 4 + 2 - 5) // 3 + 1)


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "dilation", "message"),
    [
        (2, 3, 0, 1, "a window of 3 does not fit into 2 cells with padding 0 + 0"),
        (8, 5, 0, 2, "a window of 9 does not fit into 8 cells with padding 0 + 0"),
        (1, 7, 2, 1, "a window of 7 does not fit into 1 cells with padding 2 + 2"),
    ],
)
def test_a_window_larger_than_the_padded_map_is_an_error_that_says_so(size, kernel, padding, dilation, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        window_output(size, kernel, 1, padding, padding, dilation)


def test_a_stride_of_zero_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="stride"):
        window_output(5, 3, 0, 1, 1)
