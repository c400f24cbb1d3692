"""BiFPN: feature maps of five scales that exchange what they know, down and up again, several times over.

Source: Tan et al. 2020, "EfficientDet: Scalable and Efficient Object Detection", section 3, Figures 2(d) and 3;
google/automl 6a54c87 `efficientdet/tf2/fpn_configs.py`, `efficientdet_keras.py`; effdet 0.4.1 `efficientdet.py`.
Differs from the paper: its equations name one input of P4 to P6 from the backbone; where the backbone's channels are
not BiFPN's, each node brings them there by a convolution of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pure_detect.graph import BatchNormRule, Builder, Tensor
from pure_detect.ops.geometry import Padding, Pair, same_padding, symmetric_padding

BATCH_NORM = BatchNormRule(1e-3)  # of BiFPN and heads, whatever the backbone's is


class Style(NamedTuple):
    """What the implementations and variants do differently."""

    activation: str = "swish"
    fusion: Literal["fast", "sum"] = "fast"  # section 3.3's fast normalised fusion, or no weights at all
    padding: Literal["same"] | None = "same"  # None: 1 on all sides of a 3x3 window
    redundant_bias: bool = True  # whether 1x1 convolutions have a bias although batch norm follows


class FusionNode(NamedTuple):
    """A node of the cell: a name, a level, and the names of what it adds up, in the order of its weights."""

    name: str
    level: int
    inputs: tuple[str, ...]


def fusion_nodes(lowest: int, highest: int) -> tuple[FusionNode, ...]:
    """Return a cell's nodes in the order in which they are computed.

    For levels 3 to 7, "td" being the paper's intermediate feature on the top-down path:

        P7 ────┬──────────> p7_out       p6_td   P6, P7
               v              ^          p5_td   P5, p6_td
        P6 ─> p6_td ──────> p6_out       p4_td   P4, p5_td
               v              ^          p3_out  P3, p4_td
        P5 ─> p5_td ──────> p5_out       p4_out  P4, p4_td, p3_out
               v              ^          p5_out  P5, p5_td, p4_out
        P4 ─> p4_td ──────> p4_out       p6_out  P6, p6_td, p5_out
               v              ^          p7_out  P7, p6_out
        P3 ────┴──────────> p3_out

    P4, P5 and P6 also go straight to their outputs, past the node in the middle.
    """
    nodes = []
    above = f"p{highest}"
    for level in range(highest - 1, lowest - 1, -1):
        name = f"p{level}_td" if level > lowest else f"p{level}_out"
        nodes.append(FusionNode(name, level, (f"p{level}", above)))
        above = name
    for level in range(lowest + 1, highest + 1):
        own = (f"p{level}", f"p{level}_td") if level < highest else (f"p{level}",)
        nodes.append(FusionNode(f"p{level}_out", level, (*own, f"p{level - 1}_out")))
    return tuple(nodes)


def bifpn(
    net: Builder, features: Mapping[int, Tensor], highest: int, channels: int, cells: int, style: Style
) -> dict[int, Tensor]:
    """Record the levels that the backbone lacks, then the cells; return the last cell's maps by level.

    `features` are the backbone's, by level: P3, P4, P5.
    """
    levels = dict(features)
    for level in range(max(levels) + 1, highest + 1):
        x = levels[level - 1]
        half = (-(-x.shape[1] // 2), -(-x.shape[2] // 2))
        levels[level] = resample(net, x, channels, half, style, name=f"fpn.p{level}")
    for i in range(cells):
        levels = cell(net, levels, channels, style, name=f"fpn.cell{i}")
    return levels


def cell(net: Builder, levels: Mapping[int, Tensor], channels: int, style: Style, name: str) -> dict[int, Tensor]:
    """Record one cell; return its output at every level."""
    nodes = fusion_nodes(min(levels), max(levels))
    maps = {f"p{level}": x for level, x in levels.items()}
    for node in nodes:
        size = levels[node.level].shape[1:]
        inputs = [
            resample(net, maps[source], channels, size, style, name=f"{name}.{node.name}.from_{source}")
            for source in node.inputs
        ]
        x = fuse(net, inputs, style, name=f"{name}.{node.name}.fuse")
        maps[node.name] = combined(net, x, style, name=f"{name}.{node.name}")
    return {level: maps[f"p{level}_out"] for level in levels}


def resample(net: Builder, x: Tensor, channels: int, size: Pair, style: Style, name: str) -> Tensor:
    """Bring a map to a node's channels and size: 1x1 convolution if need be, then max pool or nearest neighbour."""
    if x.shape[0] != channels:
        x = net.conv(x, channels, kernel=1, bias=style.redundant_bias, name=f"{name}.conv")
        x = net.batch_norm(x, rule=BATCH_NORM, name=f"{name}.batch_norm")
    height, width = x.shape[1:]
    if height > size[0] and width > size[1]:
        return net.max_pool(x, kernel=3, stride=2, padding=_pool_padding(x, style), name=f"{name}.pool")
    if height > size[0] or width > size[1]:
        raise ValueError(
            f"{name}: expected a map that can be halved along both axes, got {height} x {width}; "
            "the input is too narrow"
        )
    return x if (height, width) == size else net.upsample_to(x, size=size, name=f"{name}.upsample")


def _pool_padding(x: Tensor, style: Style) -> Padding:
    return same_padding(x.shape, 3, 2) if style.padding == "same" else symmetric_padding(1)


def fuse(net: Builder, inputs: list[Tensor], style: Style, name: str) -> Tensor:
    """Add the inputs: each times its share of the trained weights, or as they are."""
    if style.fusion == "sum":
        return net.add(inputs, name=name)
    return net.weighted_add(inputs, normalization="relu", name=name)


def combined(net: Builder, x: Tensor, style: Style, name: str) -> Tensor:
    """Record what stands behind each fusion: activation, separable convolution, batch norm, and no activation."""
    x = net.activation(x, style.activation, name=f"{name}.activation")
    x = separable_conv(net, x, x.shape[0], style, bias=style.redundant_bias, name=name)
    return net.batch_norm(x, rule=BATCH_NORM, name=f"{name}.batch_norm")


def separable_conv(
    net: Builder, x: Tensor, channels: int, style: Style, *, bias: bool, name: str, stored_as: str | None = None
) -> Tensor:
    """Add a depthwise 3x3 and a 1x1 convolution, nothing in between; `stored_as` as in :meth:`Builder.conv`."""
    groups, stored_as = x.shape[0], stored_as or name
    x = net.conv(
        x,
        groups,
        kernel=3,
        padding=style.padding,
        groups=groups,
        bias=False,
        name=f"{name}.depthwise",
        stored_as=f"{stored_as}.depthwise",
    )
    return net.conv(x, channels, kernel=1, bias=bias, name=f"{name}.pointwise", stored_as=f"{stored_as}.pointwise")
