"""Anchors of SSD and EfficientDet: what the network's numbers are relative to. Also called prior or default boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)  # of the six maps, as shares of the input, and the one after


class AnchorMap(NamedTuple):
    """The anchors of every cell of one feature map.

    Attributes
    ----------
    sizes_wh : tuple of (width, height)
        In the order of the predictor's channels. In unit coordinates of the network input for SSD, in cells of the
        feature map for EfficientDet.
    """

    sizes_wh: tuple[tuple[float, float], ...]

    def in_units(self, height: int, width: int) -> AnchorMap:
        """Return sizes given in cells as shares of a feature map, and so of the network input."""
        return AnchorMap(tuple((w / width, h / height) for w, h in self.sizes_wh))


def tensorflow_anchors() -> tuple[AnchorMap, ...]:
    """Return TensorFlow's: three in the lowest layer, then six; not clipped; the interpolated one last.

    An aspect ratio a makes width s sqrt(a), height s / sqrt(a). The fifth is 0.3333, not 1/3.

    Source
    ------
    TensorFlow Object Detection API, `anchor_generators/multiple_grid_anchor_generator.py`, create_ssd_anchors with
    reduce_boxes_in_lowest_layer.
    """
    maps = [AnchorMap((_size(0.1, 1.0), _size(0.2, 2.0), _size(0.2, 0.5)))]
    for scale, following in zip(SCALES[1:], SCALES[2:]):
        sizes = [_size(scale, aspect) for aspect in (1.0, 2.0, 0.5, 3.0, 0.3333)]
        maps.append(AnchorMap((*sizes, _size(math.sqrt(scale * following), 1.0))))
    return tuple(maps)


def torchvision_anchors(
    scales: Sequence[float] = SCALES, ratios: Sequence[float] = (2.0, 3.0)
) -> tuple[AnchorMap, ...]:
    """Return torchvision's: width and height clamped to the input; the interpolated one second.

    Parameters
    ----------
    scales : sequence of float
        One a map, as shares of the input, and the one after.
    ratios : sequence of float
        Each makes two anchors, a wide one and a tall one, beside the two squares.

    Source
    ------
    torchvision 0.28 `models/detection/anchor_utils.py`, DefaultBoxGenerator with aspect_ratios [ratios] * maps; by
    default those of its `ssdlite320_mobilenet_v3_large`, six anchors everywhere.
    """
    maps = []
    for scale, following in zip(scales, scales[1:]):
        sizes = [_size(scale, 1.0), _size(math.sqrt(scale * following), 1.0)]
        sizes += [_size(scale, aspect) for ratio in ratios for aspect in (ratio, 1 / ratio)]
        maps.append(AnchorMap(tuple((min(width, 1.0), min(height, 1.0)) for width, height in sizes)))
    return tuple(maps)


Aspects = tuple[tuple[float, float], ...]
EFFICIENTDET_ASPECTS: Aspects = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))  # of the weights released in 2020
SQUARE_ROOT_ASPECTS: Aspects = tuple((math.sqrt(a), 1 / math.sqrt(a)) for a in (1.0, 2.0, 0.5))  # since 2020-09-10


def octave_anchors(scale: float, aspects: Aspects, steps: int = 3) -> AnchorMap:
    """Return EfficientDet's nine, in cells: sizes scale * 2^(0, 1/3, 2/3), each in all aspects (width, height).

    Other numbers of `steps` divide the octave otherwise.

    Source
    ------
    google/automl 6a54c87 `efficientdet/tf2/anchors.py`, Anchors; aspects before and after its commit 7c9d26d; effdet
    0.4.1 `anchors.py`, with the older ones.
    """
    bases = [scale * 2 ** (step / steps) for step in range(steps)]
    return AnchorMap(tuple((base * width, base * height) for base in bases for width, height in aspects))


def _size(scale: float, aspect: float) -> tuple[float, float]:
    return (scale * math.sqrt(aspect), scale / math.sqrt(aspect))


def anchors_cxcywh(anchors: AnchorMap, height: int, width: int) -> NDArray[np.float64]:
    """Place a map's anchors on its cells.

    Centre ((column + 1/2) / width, (row + 1/2) / height): of the map's own size, also where that is no stride of the
    input.

    Parameters
    ----------
    anchors : AnchorMap
    height, width : int
        Of the feature map.

    Returns
    -------
    (height * width * A, 4) float64
        Centre x, centre y, width, height in unit coordinates, by row, column, anchor.
    """
    rows, columns = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    centres = np.stack([columns, rows], axis=-1)[:, :, None, :]
    sizes = np.array(anchors.sizes_wh, np.float64)
    shape = (height, width, len(sizes), 2)
    return np.concatenate([np.broadcast_to(centres, shape), np.broadcast_to(sizes, shape)], axis=-1).reshape(-1, 4)
