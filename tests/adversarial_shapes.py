"""The one list of shapes that break kernels: every test of an operation or a fast kernel walks it.

Each id says what the case stresses. Channels are no multiple of any vector width (1, 3, 5, 7, 17, 33), height is not
width, both parities occur, maps of one pixel, one row and one column occur, and data is signed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

NO_PADDING = (0, 0, 0, 0)


class Conv(NamedTuple):
    """One convolution; pairs are (vertical, horizontal), padding is (top, left, bottom, right)."""

    id: str
    shape: tuple[int, int, int, int]  # N, C, H, W
    out_channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = NO_PADDING
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Return (O, I, kernel height, kernel width)."""
        return (self.out_channels, self.shape[1] // self.groups, *self.kernel)

    @property
    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of `ops.conv2d`."""
        return {key: getattr(self, key) for key in ("stride", "padding", "dilation", "groups")}


class Pool(NamedTuple):
    """One pooling."""

    id: str
    shape: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = NO_PADDING

    @property
    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of `ops.max_pool`."""
        return {key: getattr(self, key) for key in ("kernel", "stride", "padding")}


CONVS = (
    # Pointwise: widths and channels below, at and above 8 and 16.
    Conv("1x1_one_pixel_one_channel", (1, 1, 1, 1), 1, (1, 1)),
    Conv("1x1_one_pixel_batch_2", (2, 33, 1, 1), 17, (1, 1)),
    Conv("1x1_channels_7_to_33", (1, 7, 5, 15), 33, (1, 1)),
    Conv("1x1_channels_33_to_1_width_17", (2, 33, 4, 17), 1, (1, 1)),
    Conv("1x1_stride_2_odd_map", (1, 5, 7, 9), 3, (1, 1), (2, 2)),
    Conv("1x1_padded_border_is_bias", (1, 3, 4, 6), 5, (1, 1), (1, 1), (1, 1, 1, 1)),
    # 3x3: every parity of the map, channels around the vector width, one pixel, one row, one column.
    Conv("3x3_one_pixel_in_padding", (1, 3, 1, 1), 5, padding=(1, 1, 1, 1)),
    Conv("3x3_exact_fit_gives_one_pixel", (1, 5, 3, 3), 7),
    Conv("3x3_one_row", (1, 3, 1, 9), 5, padding=(1, 1, 1, 1)),
    Conv("3x3_one_column_batch_2", (2, 5, 11, 1), 3, padding=(1, 1, 1, 1)),
    Conv("3x3_tall_odd_even", (1, 3, 13, 4), 17, padding=(1, 1, 1, 1)),
    Conv("3x3_wide_even_odd_batch_2", (2, 17, 4, 19), 7, padding=(1, 1, 1, 1)),
    Conv("3x3_width_17_channels_33", (1, 33, 6, 17), 5, padding=(1, 1, 1, 1)),
    Conv("3x3_unpadded_batch_2", (2, 7, 8, 5), 3),
    # Strides: symmetric and TensorFlow's SAME padding, both parities; strides larger than the kernel.
    Conv("3x3_stride_2_even_symmetric", (1, 5, 8, 10), 7, (3, 3), (2, 2), (1, 1, 1, 1)),
    Conv("3x3_stride_2_even_same", (1, 5, 8, 10), 7, (3, 3), (2, 2), (0, 0, 1, 1)),
    Conv("3x3_stride_2_odd_symmetric_batch_2", (2, 3, 9, 7), 17, (3, 3), (2, 2), (1, 1, 1, 1)),
    Conv("3x3_stride_2_mixed_parity", (1, 7, 9, 12), 5, (3, 3), (2, 2), (1, 0, 1, 1)),
    Conv("5x5_stride_2_same", (1, 3, 10, 8), 5, (5, 5), (2, 2), (1, 1, 2, 2)),
    Conv("3x3_stride_3", (1, 3, 11, 10), 5, (3, 3), (3, 3), (1, 1, 1, 1)),
    Conv("2x2_stride_3_skips_cells", (1, 3, 10, 7), 5, (2, 2), (3, 3)),
    Conv("3x3_stride_1_by_2", (1, 5, 7, 12), 3, (3, 3), (1, 2), (1, 1, 1, 1)),
    Conv("3x3_stride_3_by_2_batch_2", (2, 3, 10, 9), 5, (3, 3), (3, 2), (1, 0, 0, 1)),
    # Kernels: even, oblong, large.
    Conv("2x2_even_kernel", (1, 3, 6, 9), 7, (2, 2), padding=(0, 0, 1, 1)),
    Conv("4x4_even_kernel_stride_2", (1, 5, 9, 8), 3, (4, 4), (2, 2), (1, 2, 2, 1)),
    Conv("5x5_larger_than_map", (1, 3, 2, 3), 5, (5, 5), padding=(2, 2, 2, 2)),
    Conv("7x7_stride_2_stem", (1, 3, 15, 18), 7, (7, 7), (2, 2), (3, 3, 3, 3)),
    Conv("1x7_oblong", (1, 5, 4, 9), 3, (1, 7), padding=(0, 3, 0, 3)),
    Conv("5x2_oblong_batch_2", (2, 3, 9, 6), 5, (5, 2), padding=(2, 0, 2, 1)),
    # Asymmetric padding, all four sides different.
    Conv("3x3_padding_all_different", (1, 3, 5, 8), 5, padding=(2, 0, 1, 3)),
    # Dilation, with stride, unequal, reaching past the map.
    Conv("3x3_dilation_2", (1, 3, 9, 8), 5, padding=(2, 2, 2, 2), dilation=(2, 2)),
    Conv("3x3_dilation_1_by_3_batch_2", (2, 5, 6, 11), 3, padding=(1, 3, 1, 3), dilation=(1, 3)),
    Conv("3x3_dilation_4_larger_than_map", (1, 3, 3, 5), 5, padding=(4, 4, 4, 4), dilation=(4, 4)),
    Conv("3x3_dilation_2_stride_2", (1, 3, 12, 9), 7, (3, 3), (2, 2), (2, 2, 2, 2), (2, 2)),
    # Groups: two, three, depthwise, depthwise with a multiplier.
    Conv("1x1_groups_3", (1, 15, 5, 4), 21, (1, 1), groups=3),
    Conv("3x3_groups_2_batch_2", (2, 10, 6, 7), 6, padding=(1, 1, 1, 1), groups=2),
    Conv("3x3_groups_3_out_fewer", (1, 33, 5, 6), 3, padding=(1, 1, 1, 1), groups=3),
    Conv("3x3_depthwise", (1, 17, 7, 10), 17, padding=(1, 1, 1, 1), groups=17),
    Conv("3x3_depthwise_stride_2_same_batch_2", (2, 33, 8, 6), 33, (3, 3), (2, 2), (0, 0, 1, 1), groups=33),
    Conv("5x5_depthwise_stride_2", (1, 7, 11, 14), 7, (5, 5), (2, 2), (2, 2, 2, 2), groups=7),
    Conv("3x3_depthwise_multiplier_2", (1, 5, 6, 9), 10, padding=(1, 1, 1, 1), groups=5),
    Conv("5x5_depthwise_multiplier_3_batch_2", (2, 3, 7, 5), 9, (5, 5), padding=(2, 2, 2, 2), groups=3),
    Conv("3x3_depthwise_dilation_2", (1, 7, 9, 7), 7, padding=(2, 2, 2, 2), dilation=(2, 2), groups=7),
)

POOLS = (
    Pool("2_stride_2_even", (1, 3, 6, 10), (2, 2), (2, 2)),
    Pool("2_stride_2_odd_drops_the_last", (2, 5, 7, 9), (2, 2), (2, 2)),
    Pool("2_stride_2_odd_darknet", (1, 3, 13, 7), (2, 2), (2, 2), (0, 0, 1, 1)),
    Pool("2_stride_1_darknet_keeps_size", (1, 7, 5, 6), (2, 2), (1, 1), (0, 0, 1, 1)),
    Pool("2_stride_1_one_pixel", (2, 3, 1, 1), (2, 2), (1, 1), (0, 0, 1, 1)),
    Pool("3_stride_1", (1, 17, 4, 9), (3, 3), (1, 1), (1, 1, 1, 1)),
    Pool("3_stride_2_mixed_parity_batch_2", (2, 3, 8, 11), (3, 3), (2, 2), (1, 1, 1, 1)),
    Pool("3_stride_2_same", (1, 5, 8, 10), (3, 3), (2, 2), (0, 0, 1, 1)),
    Pool("2_stride_3_skips_cells", (1, 3, 11, 7), (2, 2), (3, 3)),
    Pool("5_spp", (1, 3, 6, 9), (5, 5), (1, 1), (2, 2, 2, 2)),
    Pool("13_spp_larger_than_map", (1, 3, 5, 4), (13, 13), (1, 1), (6, 6, 6, 6)),
    Pool("oblong_unequal_strides", (1, 5, 9, 8), (3, 2), (1, 2), (1, 0, 1, 1)),
    Pool("padding_all_different", (2, 3, 6, 7), (4, 5), (2, 3), (3, 1, 0, 4)),
    Pool("one_row", (1, 3, 1, 8), (1, 3), (1, 2), (0, 1, 0, 1)),
    Pool("whole_map", (1, 33, 3, 5), (3, 5), (1, 1)),
)

MAPS = (
    ("one_pixel", (1, 1, 1, 1)),
    ("one_pixel_33_channels_batch_2", (2, 33, 1, 1)),
    ("one_row_of_17", (1, 3, 1, 17)),
    ("one_column_of_13", (1, 5, 13, 1)),
    ("wide_even_odd_batch_2", (2, 7, 4, 9)),
    ("tall_odd_even", (1, 17, 11, 6)),
)

conv_params = [pytest.param(case, id=case.id) for case in CONVS]
pool_params = [pytest.param(case, id=case.id) for case in POOLS]
map_params = [pytest.param(shape, id=name) for name, shape in MAPS]


def signed(shape: tuple[int, ...], seed: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return values of both signs over four decades, so that sums cancel."""
    random = np.random.default_rng(seed)
    return (random.normal(0, 1, shape) * 10 ** random.uniform(-2, 2, shape)).astype(dtype)
