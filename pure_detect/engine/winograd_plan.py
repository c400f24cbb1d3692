"""When a convolution is done by Winograd's method, with which tiles, in which blocks, and its weights for that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.engine.conv2d_winograd import TEMPORARY
from pure_detect.engine.layout import odd_lines
from pure_detect.engine.simd import LANES
from pure_detect.engine.winograd_product import ROWS, WIDTHS
from pure_detect.engine.winograd_transforms import FILTERS
from pure_detect.graph import Node

Array = NDArray[Any]

STRIP_SIZE = 72 * 1024  # float32 of a strip's points, a good half of the second-level cache
FILTER_SIZE = 160 * 1024  # float32 of the weights that are transformed at once
MOST_TILES = 200  # of a map that is done by panels

# To transform a vector of inputs, of filters, of a tile's sums, by the inputs that a tile advances.
CYCLES = {2: (55, 35, 60), 4: (120, 80, 130), 8: (300, 80, 120)}


class Blocking(NamedTuple):
    """How a convolution is cut up.

    Attributes
    ----------
    size : int
        m of F(m x m, 3 x 3).
    stride : int
    tiles_y, tiles_x : int
        Tiles of the output, vertically and horizontally.
    inputs, outputs : int
        Blocks of channels.
    vectors, panels : int
        Blocks of output channels that are multiplied together, and how many such panels there are.
    strips : int
        Into how many strips of tiles the map is cut; 0: by panels.
    depth : int
        Blocks of input channels whose weights are transformed at once.
    """

    size: int
    stride: int
    tiles_y: int
    tiles_x: int
    inputs: int
    outputs: int
    vectors: int
    panels: int
    strips: int
    depth: int

    @property
    def tiles(self) -> int:
        """Return how many tiles the map has."""
        return self.tiles_y * self.tiles_x

    @property
    def advance(self) -> int:
        """Return by how many inputs a tile advances, in one dimension as all of these."""
        return self.size * self.stride

    @property
    def side(self) -> int:
        """Return how many inputs a tile has, and how many points these become."""
        return self.advance + 3 - self.stride

    @property
    def points(self) -> int:
        """Return how many products a tile takes for a pair of channels."""
        return self.side**2

    @property
    def sums_side(self) -> int:
        """Return how many sums the products at the points are added to."""
        return self.size + 3 - self.stride

    @property
    def filter_side(self) -> int:
        """Return how many points a filter becomes."""
        return self.size + 2

    @property
    def points_plane(self) -> int:
        """Return the distance of points in the transformed input."""
        return odd_lines(self.longest * self.inputs * LANES)

    @property
    def longest(self) -> int:
        """Return how many tiles are multiplied together at most."""
        return -(-self.tiles // self.strips) if self.strips else self.tiles

    @property
    def panel_weights(self) -> int:
        """Return how many numbers the weights of a panel are."""
        return (self.filter_side**2 if self.strips else 9) * self.inputs * LANES * self.vectors * LANES

    @property
    def scratch(self) -> int:
        """Return how many float32 a thread needs for itself."""
        if self.strips:
            own = self.points * self.points_plane
        else:
            own = self.filter_side**2 * odd_lines(self.depth * LANES * self.vectors * LANES)
        return TEMPORARY + own + self.sums_side**2 * odd_lines(self.longest * self.vectors * LANES)


def tile_size(node: Node) -> int:
    """Return m: 4, or 2 where the stride is 1 and the map so small that this takes fewer products."""
    _, height, width = node.shape
    if node.attributes["stride"] == (2, 2):
        return 4
    products = {m: -(-height // m) * -(-width // m) * (m + 2) ** 2 for m in (2, 4)}
    return 2 if products[2] < products[4] else 4


def tile_counts(node: Node) -> tuple[int, int]:
    """Return the number of tiles, vertically and horizontally."""
    _, height, width = node.shape
    m = tile_size(node)
    return -(-height // m), -(-width // m)


def blocking(node: Node) -> Blocking:
    """Return how a convolution is cut up."""
    O, I, _, _ = node.parameters["weight"].shape
    inputs, outputs = -(-I // LANES), -(-O // LANES)
    vectors = next(n for n in reversed(WIDTHS) if outputs % n == 0 or n == WIDTHS[0])
    panels = -(-outputs // vectors)
    b = Blocking(
        tile_size(node), node.attributes["stride"][0], *tile_counts(node), inputs, outputs, vectors, panels, 0, inputs
    )
    if b.tiles <= MOST_TILES:
        depth = FILTER_SIZE // (b.filter_side**2 * LANES * vectors * LANES)
        return b._replace(depth=max(1, min(inputs, depth)))
    longest = max(2 * ROWS, STRIP_SIZE // (b.points * inputs * LANES))
    strips = max(-(-b.tiles // min(longest, 4 * ROWS)), 2)
    return b._replace(strips=strips + (strips & 1))


class Costs(NamedTuple):
    """Estimated cycles of one core, memory left out: of the direct sum, and of the parts of Winograd's method."""

    direct: int
    products: int
    inputs: int
    filters: int
    pixels: int

    @property
    def winograd(self) -> int:
        """Return the sum of its parts."""
        return self.products + self.inputs + self.filters + self.pixels


def costs(node: Node) -> Costs:
    """Estimate what a convolution costs either way; two multiply-adds of vectors a cycle, transforms as measured."""
    b = blocking(node)
    _, height, width = node.shape
    a_input, a_filter, a_tile = CYCLES[b.advance]
    outputs = b.panels * b.vectors
    return Costs(
        direct=9 * height * width * b.inputs * LANES * b.outputs // 2,
        products=b.points * b.tiles * b.inputs * LANES * outputs // 2,
        inputs=a_input * b.tiles * b.inputs,
        filters=0 if b.strips else a_filter * b.inputs * LANES * outputs,
        pixels=a_tile * b.tiles * b.outputs,
    )


def suits(node: Node) -> bool:
    """Tell whether Winograd's method can do a convolution, and faster than the direct sum."""
    weight, a = node.parameters["weight"], node.attributes
    if weight.shape[2:] != (3, 3) or a["stride"] not in ((1, 1), (2, 2)) or a["dilation"] != (1, 1) or a["groups"] != 1:
        return False
    estimate = costs(node)
    return estimate.winograd < estimate.direct


def pack_weights(weight: Array, b: Blocking, out: Array) -> None:
    """Write weights (O, I, 3, 3) into `out` as a blocking's kernel wants them.

    By strips they are transformed in float64, U = G g G^T, (panel, point, input channel, vectors * LANES); by panels
    they stay filters, (panel, input channel, vectors, 9, LANES).
    """
    I = weight.shape[1]
    filters, wide = FILTERS[b.advance], b.vectors * LANES
    for panel in range(b.panels):
        some = weight[panel * wide : (panel + 1) * wide].reshape(-1, I, 9)
        target = out[panel * b.panel_weights : (panel + 1) * b.panel_weights]
        if some.shape[:2] != (wide, b.inputs * LANES):
            padded = np.zeros((wide, b.inputs * LANES, 9), np.float32)
            padded[: len(some), :I] = some
            some = padded
        if b.strips:
            columns = np.ascontiguousarray(some.transpose(2, 1, 0), np.float64).reshape(9, -1)
            target[:] = (np.kron(filters, filters) @ columns).reshape(-1)
        else:
            shape = b.inputs * LANES, b.vectors, 9, LANES
            target.reshape(shape)[:] = some.reshape(b.vectors, LANES, -1, 9).transpose(2, 0, 3, 1)
