"""Output sizes and padding, as pure functions of integers: the one place that knows them. Kernels get numbers.

Padding is always (top, left, bottom, right), the order in which a reader meets the edges.
"""

from __future__ import annotations

Shape = tuple[int, int, int]  # channels, height, width; the batch is free
Pair = tuple[int, int]  # height, width
Padding = tuple[int, int, int, int]  # top, left, bottom, right


def window_span(kernel: int, dilation: int = 1) -> int:
    """Return how many input cells a dilated window reaches over: (kernel - 1) * dilation + 1."""
    return (kernel - 1) * dilation + 1


def window_output(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Return the number of window positions along one axis: floor((size + padding - span) / stride) + 1.

    Raises
    ------
    ValueError
        If the padded input is smaller than the window, or kernel, stride or dilation are less than 1.
    """
    if min(kernel, stride, dilation) < 1:
        raise ValueError(f"kernel, stride and dilation must be at least 1, got {kernel}, {stride} and {dilation}")
    room = size + before + after - window_span(kernel, dilation)
    if room < 0:
        raise ValueError(
            f"a window of {window_span(kernel, dilation)} does not fit into {size} cells with padding "
            f"{before} + {after}"
        )
    return room // stride + 1


def window_output_shape(
    shape: Shape, channels: int, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Shape:
    """Return (channels, height, width) after sliding a window over `shape`."""
    _, height, width = shape
    top, left, bottom, right = padding
    return (
        channels,
        window_output(height, kernel[0], stride[0], top, bottom, dilation[0]),
        window_output(width, kernel[1], stride[1], left, right, dilation[1]),
    )


def symmetric_padding(padding: int) -> Padding:
    """Return the same padding on all four sides, as Darknet's and PyTorch's convolutions take it."""
    return (padding, padding, padding, padding)


def darknet_pool_padding(total: int) -> Padding:
    """Split Darknet's `padding`, the total of both sides: floor of half before, the rest after.

    Size 2 at stride 1 with the default total of 1 thus pads only the right and the bottom, and keeps the size.

    Source: pjreddie/darknet `maxpool_layer.c`, offset `-l.pad/2` and output `(w + padding - size)/stride + 1`.
    """
    before, after = total // 2, total - total // 2
    return (before, before, after, after)


def same_padding(shape: Shape, kernel: int, stride: int, dilation: int = 1) -> Padding:
    """Return TensorFlow's SAME padding: the output has ceil(size / stride) cells, and the odd cell goes behind.

    total = max((ceil(size / stride) - 1) * stride + span - size, 0), floor(total / 2) of it at the top and left. At
    stride 2 on an even size this is one less before than behind, where PyTorch's ports pad alike on both sides.

    Source: TensorFlow 2.21, `tensorflow/core/framework/kernel_shape_util.cc`, GetWindowedOutputSizeVerbose.
    """

    def split(size: int) -> Pair:
        total = max((-(-size // stride) - 1) * stride + window_span(kernel, dilation) - size, 0)
        return total // 2, total - total // 2

    (top, bottom), (left, right) = split(shape[1]), split(shape[2])
    return (top, left, bottom, right)
