"""3x3 convolution of stride 1 or 2 by Winograd's method: fewer multiplications, at the price of additions.

Equals :func:`pure_detect.ops.conv2d.conv2d_reference`. What differs: the output is cut into tiles of m x m pixels, m =
4 or 2. A tile of the input, (m + 2) x (m + 2) pixels of every channel, becomes (m + 2)^2 vectors of input channels, the
points; each point is multiplied with its own matrix (input channels, output channels), and the sums are transformed
back to m x m pixels. That takes 4 times (m = 2: 2.25 times) fewer multiplications than the direct sum.

With stride 2, where m is 4, the even and the odd rows and columns of a tile of 9 x 9 pixels are transformed apart, and
the products of up to four points go into one sum: 81 points, 25 sums, 36 matrices, since all finite points of the odd
rows (columns) share theirs; 1.78 times fewer multiplications. See `winograd_transforms.py`.

A convolution is run in one of two ways:

* **by strips**, for large maps: an item takes some tiles through all of it. Their points stay in the second-level
  cache, the transformed weights come from the third.
* **by panels**, for small maps with many weights: one step transforms the whole input, the next one's items each do
  all tiles for some output channels. Each weight is read from memory once, so it lies there as the nine numbers of the
  filter and is transformed just before its use: a quarter of the memory and of its traffic.
"""

from __future__ import annotations

from pure_detect.engine import layout
from pure_detect.engine.calls import kernel
from pure_detect.engine.simd import LANES, load, shared, store
from pure_detect.engine.step import (
    ACTIVATION,
    BLOCKS,
    CHUNKS,
    CLAMP,
    COLUMNS,
    HEIGHT,
    LIMITS,
    OWN,
    R_PLANE,
    R_ROW,
    X_PLANE,
    X_ROW,
    Y_PLANE,
    Y_ROW,
    R,
    X,
    Y,
    border,
    finish,
    share_of,
)
from pure_detect.engine.winograd_product import AHEAD, ROWS, product
from pure_detect.engine.winograd_transforms import (
    transform_filter,
    transform_input,
    transform_output,
    transform_to_pixels,
)

(SIZE, STRIDE, ADVANCE, SIDE, SUMS_SIDE, PHASE, TILES_X, TILES, POINTS_AT, POINTS_PLANE, WEIGHTS, IS_RAW, BIAS, INPUTS,
 PANELS, VECTORS, DEPTH) = range(OWN, OWN + 17)  # fmt: skip
# SIZE: m. ADVANCE, SIDE, SUMS_SIDE: as in `winograd_plan.Blocking`. POINTS_AT, POINTS_PLANE: where the transformed
# input lies (by strips: from the scratch's begin on), and from one point to the next. INPUTS: blocks of input channels.
# DEPTH: blocks of input channels whose weights are transformed at once.

STRIPS, TRANSFORM, PRODUCTS = range(3)  # PHASE
SEGMENT = 16  # neighbouring tiles whose columns are transformed at once; with stride 2 half as many
TEMPORARY = (4 * SEGMENT + 1) * 9 * LANES


odd_lines = shared(layout.odd_lines)


@kernel
def conv2d_winograd(s, item, m):  # type: ignore[no-untyped-def]
    """Compute one item of a step; which part of the work it is, PHASE says."""
    x, w, temporary, own = m.x, m.w, m.scratch, m.scratch + TEMPORARY
    points_at, points = s[POINTS_AT], s[SIDE] * s[SIDE]
    first, last, first_panel, last_panel = 0, s[TILES], 0, s[PANELS]
    if s[PHASE] == PRODUCTS:
        first_panel, last_panel = item, item + 1
    else:
        share, block = item % s[CHUNKS], item // s[CHUNKS]
        first, last = share_of(share, s[TILES], s[CHUNKS])
        first_block, last_block, origin, tiles = block, block + 1, 0, s[TILES]
        if s[PHASE] == STRIPS:
            first_block, last_block, origin, tiles = 0, s[INPUTS], first, last - first
            points_at = own
            own += points * s[POINTS_PLANE]
        for b in range(first_block, last_block):
            input_points(s, x, first, last, origin, tiles, b, points_at, temporary)
        if s[PHASE] == TRANSFORM:
            return
    tiles = last - first
    sums_plane = odd_lines(tiles * s[VECTORS] * LANES)
    for panel in range(first_panel, last_panel):
        multiply(s, x, w, panel, points_at, tiles, own, sums_plane, temporary)
        for k in range(min(s[VECTORS], s[BLOCKS] - panel * s[VECTORS])):
            block = panel * s[VECTORS] + k
            output_pixels(m, s, first, last, block, own + k * LANES, sums_plane, temporary)


@shared
def multiply(s, x, w, panel, points_at, tiles, sums, sums_plane, temporary):  # type: ignore[no-untyped-def]
    """Multiply the points of some tiles with a panel of weights."""
    stride, shift, side, sums_side = s[STRIDE], s[STRIDE] - 1, s[SIDE], s[SUMS_SIDE]
    vectors, inputs, is_raw, filters = s[VECTORS], s[INPUTS], s[IS_RAW], s[SIZE] + 2
    parts = (tiles + ROWS - 1) // ROWS
    rows, longer = tiles // parts, tiles % parts
    for start in range(0, inputs, s[DEPTH]):
        depth = min(s[DEPTH], inputs - start)
        length = depth * LANES * vectors * LANES
        ahead = 0
        if is_raw:
            raw = s[WEIGHTS] + (panel * inputs + start) * LANES * vectors * 9 * LANES
            ahead, at, plane = raw + 9 * length, sums + sums_side * sums_side * sums_plane, odd_lines(length)
            filter_points(s, x, w, raw, depth * LANES * vectors, at, plane, temporary)
        else:
            at, plane = s[WEIGHTS] + panel * filters * filters * length, length
        weights = x if is_raw else w
        for point in range(side * side):
            i, j = point // side, point % side
            k, l, odd_i, odd_j = i >> shift, j >> shift, i & shift, j & shift
            u = at + ((filters - 1 if odd_i else k) * filters + (filters - 1 if odd_j else l)) * plane
            v, m = points_at + point * s[POINTS_PLANE], sums + (k * sums_side + l) * sums_plane
            goes_on = start + odd_i + odd_j > 0
            for part in range(parts):
                many = rows + (part < longer)
                # two parts of 36 points, or one of 81, ask for as much as the next panel's filters are
                step = AHEAD if is_raw and part * stride < 2 else 0
                v_now = v + start * many * LANES
                v += many * inputs * LANES
                v_next = v + start * (rows + (part + 1 < longer)) * LANES
                if part == parts - 1:
                    v_next = points_at + (point + 1) * s[POINTS_PLANE] + start * (rows + (longer > 0)) * LANES
                product(many, vectors, x, v_now, depth, weights, u, m, goes_on, v_next, w, ahead, step)
                ahead += step * depth
                m += many * vectors * LANES


@shared
def input_points(s, x, first, last, origin, tiles, block, target, temporary):  # type: ignore[no-untyped-def]
    """Transform tiles first..last of a block of input channels.

    They are some of `tiles` tiles from `origin` on, which lie in parts as `multiply` wants them: each part with all
    blocks of channels, each block with all tiles of the part.
    """
    advance, side = s[ADVANCE], s[SIDE]
    parts = (tiles + ROWS - 1) // ROWS
    rows, longer = tiles // parts, tiles % parts
    tile = first
    while tile < last:
        tile_y, tile_x = tile // s[TILES_X], tile % s[TILES_X]
        count = min(min(last - tile, s[TILES_X] - tile_x), SEGMENT // s[STRIDE])
        source = s[X] + block * s[X_PLANE] + (tile_y * s[X_ROW] + tile_x * LANES) * advance
        columns = (count - 1) * advance + side
        transform_input(advance, columns, x, source, s[X_ROW], LANES, x, temporary, LANES, side * LANES)
        local = tile - origin
        if local < longer * (rows + 1):
            many = rows + 1
            start = local // many * many
        else:
            many = rows
            start = longer + (local - longer) // many * many
        for i in range(count):
            if local + i == start + many:
                start += many
                if start == longer * (rows + 1):
                    many = rows
            at = target + (start * s[INPUTS] + block * many + local + i - start) * LANES
            own, plane = temporary + i * advance * side * LANES, s[POINTS_PLANE]
            transform_input(advance, side, x, own, side * LANES, LANES, x, at, plane, side * plane)
        tile += count


@shared
def filter_points(s, x, w, raw, count, target, plane, temporary):  # type: ignore[no-untyped-def]
    """Transform `count` vectors of filters, G g G^T."""
    advance, side = s[ADVANCE], s[SIZE] + 2
    for i in range(count):
        transform_filter(advance, 3, w, raw + 9 * LANES * i, 3 * LANES, LANES, x, temporary, 3 * LANES, LANES)
        transform_filter(advance, side, x, temporary, LANES, 3 * LANES, x, target + i * LANES, plane, side * plane)


@shared
def output_pixels(m, s, first, last, block, sums, plane, temporary):  # type: ignore[no-untyped-def]
    """Transform the sums of tiles first..last back, for one block of output channels, and finish its pixels."""
    x, w, size, advance, side, r = m.x, m.w, s[SIZE], s[ADVANCE], s[SUMS_SIDE], -1
    bias, slope, highest = load(w, s[BIAS] + block * LANES), w[s[LIMITS]], w[s[LIMITS] + 1]
    pixels = temporary + side * size * LANES
    for tile in range(first, last):
        tile_y, tile_x = tile // s[TILES_X] * size, tile % s[TILES_X] * size
        height, width = min(size, s[HEIGHT] - tile_y), min(size, s[COLUMNS] - tile_x)
        is_whole, at = height == size and width == size, sums + (tile - first) * s[VECTORS] * LANES
        y = s[Y] + block * s[Y_PLANE] + tile_y * s[Y_ROW] + tile_x * LANES
        if s[R] >= 0:
            r = s[R] + block * s[R_PLANE] + tile_y * s[R_ROW] + tile_x * LANES
        is_simple = is_whole and s[ACTIVATION] == CLAMP
        target, row = (y, s[Y_ROW]) if is_whole else (pixels, size * LANES)
        transform_output(advance, side, x, at, side * plane, plane, x, temporary, side * LANES, LANES)
        transform_to_pixels(advance, x, temporary, target, row, bias, slope, highest, r if is_simple else -1, s[R_ROW])
        if not is_simple:
            for i in range(height):
                if not is_whole:
                    for j in range(0, width * LANES, LANES):
                        store(x, y + i * s[Y_ROW] + j, load(x, pixels + i * size * LANES + j))
                finish(m, y + i * s[Y_ROW], width * LANES, s[ACTIVATION], r + i * s[R_ROW] if r >= 0 else -1)
        if tile_x == 0:
            border(x, s, block, tile_y, tile_y + height)
