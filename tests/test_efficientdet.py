"""EfficientDet and EfficientNet as graphs: tables, counts, shapes."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS, octave_anchors
from pure_detect.demo.networks import DEMO_EFFICIENTDET
from pure_detect.detector import Detector
from pure_detect.models.bifpn import fusion_nodes
from pure_detect.models.efficientdet import EFFICIENTDET_D0_EFFDET, EFFICIENTDET_LITES, EFFICIENTDETS, D
from pure_detect.models.efficientnet import LITE, LITE_CONVENTION, B, round_filters, round_repeats, scaled_stages
from pure_detect.network import Network
from pure_detect.random_weights import random_parameters
from pure_detect.reference import ReferenceExecutor
from pure_detect.registry import find_network

# Learnable values and anchors as effdet 0.4.1 counts them, multiply-adds of the convolutions.
COUNTS = {
    "d0": (3_880_067, 2_492_331_520, 49_104),
    "d1": (6_625_898, 6_003_416_880, 76_725),
    "d2": (8_097_039, 10_832_466_688, 110_484),
    "d3": (12_032_296, 24_568_753_664, 150_381),
    "d4": (20_723_675, 54_583_712_096, 196_416),
    "d5": (33_653_315, 134_133_865_152, 306_900),
    "d6": (51_871_782, 224_121_477_984, 306_900),
    "d7": (51_871_782, 322_731_636_576, 441_936),
    "d7x": (77_147_166, 407_628_345_344, 442_260),
    "d0-effdet": (3_877_763, 2_492_331_520, 49_104),
    "lite0": (3_243_470, 973_589_696, 19_206),
    "lite1": (4_248_318, 1_966_649_904, 27_621),
    "lite2": (5_252_334, 3_371_304_384, 37_629),
    "lite3": (8_350_862, 7_480_187_904, 49_104),
    "lite4": (15_130_894, 20_168_084_000, 76_725),
}
# Of the bytes of all maps, what is held at once. Measured: 0.18 (D7) and 0.03 (D7x).
LARGEST_SHARE = 0.25

ALL = (*EFFICIENTDETS, EFFICIENTDET_D0_EFFDET, *EFFICIENTDET_LITES)
by_name = pytest.mark.parametrize("network", ALL, ids=lambda network: network.name)


@by_name
def test_parameters_multiply_adds_and_anchors_are_the_published_ones(network: Network) -> None:
    graph = network.build()
    anchors = sum(9 * h * w for channels, h, w in graph.output_shapes if channels == 36)
    assert (graph.learnable_count, graph.multiply_adds, anchors) == COUNTS[network.name.removeprefix("efficientdet-")]


@by_name
def test_every_level_has_half_the_cells_of_the_one_below(network: Network) -> None:
    graph = network.build()
    side, levels = network.input_shape[1], len(graph.outputs) // 2
    sides = [math.ceil(side / 2**level) for level in range(3, 3 + levels)]
    assert graph.output_shapes == [(channels, s, s) for channels in (810, 36) for s in sides]


@pytest.mark.parametrize(("height", "width"), [(511, 513), (512, 640), (129, 257), (129, 65)])
@pytest.mark.parametrize("network", [EFFICIENTDETS[0], EFFICIENTDET_D0_EFFDET], ids=lambda network: network.name)
def test_odd_inputs_give_maps_rounded_up(network: Network, height: int, width: int) -> None:
    shapes = network.build(height, width).output_shapes[:5]
    assert shapes == [(810, math.ceil(height / 2**level), math.ceil(width / 2**level)) for level in range(3, 8)]


def test_an_input_too_narrow_for_the_top_levels_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^fpn\.p6: expected a map that can be halved along both axes, got 16 x 1;"):
        EFFICIENTDETS[0].build(512, 32)


def test_fusion_nodes_of_levels_3_to_7_are_the_papers() -> None:
    assert [(node.name, node.level, node.inputs) for node in fusion_nodes(3, 7)] == [
        ("p6_td", 6, ("p6", "p7")),
        ("p5_td", 5, ("p5", "p6_td")),
        ("p4_td", 4, ("p4", "p5_td")),
        ("p3_out", 3, ("p3", "p4_td")),
        ("p4_out", 4, ("p4", "p4_td", "p3_out")),
        ("p5_out", 5, ("p5", "p5_td", "p4_out")),
        ("p6_out", 6, ("p6", "p6_td", "p5_out")),
        ("p7_out", 7, ("p7", "p6_out")),
    ]


@pytest.mark.parametrize("phi", range(8))
def test_rows_follow_compound_scaling_where_the_paper_does(phi: int) -> None:
    row = D[f"d{phi}"]
    assert row.repeats == 3 + phi // 3
    assert row.channels == pytest.approx(64 * 1.35 ** min(phi, 6), rel=0.06)  # rounded by hand
    assert row.cells == 3 + phi if phi < 5 else row.cells in (7, 8)
    assert row.image == (512 + 128 * phi if phi < 5 else (1280, 1280, 1536)[phi - 5])


# Channels of stages 1 to 7 and layers, by variant: google/automl's models as timm 1.0.31 builds them.
TABLES = {
    0: ("16 24 40 80 112 192 320", "1 2 2 3 3 4 1"),
    1: ("16 24 40 80 112 192 320", "2 3 3 4 4 5 2"),
    2: ("16 24 48 88 120 208 352", "2 3 3 4 4 5 2"),
    3: ("24 32 48 96 136 232 384", "2 3 3 5 5 6 2"),
    4: ("24 32 56 112 160 272 448", "2 4 4 6 6 8 2"),
    5: ("24 40 64 128 176 304 512", "3 5 5 7 7 9 3"),
    6: ("32 40 72 144 200 344 576", "3 6 6 8 8 11 3"),
    7: ("32 48 80 160 224 384 640", "4 7 7 10 10 13 4"),
}


@pytest.mark.parametrize("i", TABLES)
def test_stages_scale_to_the_published_tables(i: int) -> None:
    stages = scaled_stages(B[i])
    assert [row.channels for row in stages] == [int(word) for word in TABLES[i][0].split()]
    assert [row.layers for row in stages] == [int(word) for word in TABLES[i][1].split()]


def test_lite_leaves_the_first_and_the_last_stages_layers_alone() -> None:
    assert [row.layers for row in scaled_stages(LITE[4], LITE_CONVENTION)] == [1, 4, 4, 6, 6, 8, 1]


def test_filters_never_shrink_by_more_than_a_tenth() -> None:
    assert [round_filters(c, w) for c, w in ((32, 1.2), (320, 1.1), (16, 1.2), (11, 1.0))] == [40, 352, 24, 16]
    assert [round_repeats(1, 1.1), round_repeats(3, 1.4)] == [2, 5]


def test_the_first_anchors_of_d0_are_the_published_ones() -> None:
    sizes = 8 * np.array(octave_anchors(4, EFFICIENTDET_ASPECTS).sizes_wh)
    np.testing.assert_allclose(sizes[:3], [(32, 32), (44.8, 22.4), (22.4, 44.8)])
    np.testing.assert_allclose(sizes[3:], np.concatenate([sizes[:3] * 2 ** (1 / 3), sizes[:3] * 2 ** (2 / 3)]))


def test_an_octave_is_divided_into_as_many_steps_as_asked() -> None:
    sizes = octave_anchors(3.5, EFFICIENTDET_ASPECTS, steps=2).sizes_wh
    root = math.sqrt(2)
    squares, wide, tall = [(3.5, 3.5), (3.5 * root, 3.5 * root)], [(4.9, 2.45)], [(2.45, 4.9)]
    np.testing.assert_allclose(sizes, [squares[0], wide[0], tall[0], squares[1], *(np.array(wide + tall) * root)])


def test_the_demo_network_ends_at_the_backbones_highest_level_and_has_effdets_count_of_parameters() -> None:
    graph = DEMO_EFFICIENTDET.build()
    assert graph.output_shapes == [(channels, s, s) for channels in (48, 24) for s in (32, 16, 8)]
    assert graph.learnable_count == 476_266
    assert not [name for name in graph.parameters if name.startswith("fpn.p")]
    assert DEMO_EFFICIENTDET.build(160, 96).output_shapes[:3] == [(48, 20, 12), (48, 10, 6), (48, 5, 3)]


def test_a_fused_block_has_one_convolution_of_all_channels_and_no_squeeze_and_excite() -> None:
    graph = DEMO_EFFICIENTDET.build()
    kinds = {
        stage: [
            name for name in graph.parameters if name.startswith(f"backbone.{stage}.") and name.endswith("conv.weight")
        ]
        for stage in ("stage2", "stage3")
    }
    assert kinds == {
        "stage2": ["backbone.stage2.block1.fused.conv.weight"],
        "stage3": [f"backbone.stage3.block{i}.{part}.conv.weight" for i in (1, 2) for part in ("fused", "project")],
    }
    assert graph.parameters["backbone.stage3.block1.fused.conv.weight"].shape == (48, 24, 3, 3)
    added = [node.name for node in graph.nodes if node.op == "add"]
    assert added == [
        f"backbone.{block}.add"
        for block in ("stage2.block1", "stage3.block2", "stage4.block2", "stage5.block2", "stage6.block2")
    ]


@pytest.mark.parametrize("name", ["efficientdet-d7", "efficientdet-d7x"])
def test_the_largest_networks_shapes(name: str) -> None:
    graph = find_network(name).build()
    assert graph.output_shapes[0] == (810, 192, 192)
    assert graph.nodes[-1].shape == ((36, 6, 6) if name.endswith("x") else (36, 12, 12))


def test_heads_share_convolutions_over_levels_but_not_batch_norms() -> None:
    nodes = {node.name: node for node in EFFICIENTDETS[0].build().nodes}
    convs = [nodes[f"box_net.p{level}.conv1.pointwise"] for level in range(3, 8)]
    norms = [nodes[f"box_net.p{level}.conv1.batch_norm"] for level in range(3, 8)]
    assert len({node.parameters["weight"].name for node in convs}) == 1
    assert len({node.parameters["scale"].name for node in norms}) == 5


def test_giving_an_overlap_chooses_plain_suppression() -> None:
    network = EFFICIENTDET_LITES[0]
    detector = Detector(network, random_parameters(network), size=64)
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    soft, plain = detector(picture, score=0.6), detector(picture, score=0.6, iou=0.5)
    named = detector(picture, score=0.6, rule="iou")
    assert plain.scores.tolist() == named.scores.tolist()
    assert soft.scores.tolist() != plain.scores.tolist()


@pytest.mark.parametrize("name", ["efficientdet-d7", "efficientdet-d7x"])
def test_the_largest_networks_run_in_the_memory_of_their_largest_maps(name: str) -> None:
    """A map is dropped when its last reader has run."""
    graph, rng = find_network(name).build(128, 128), np.random.default_rng(0)
    parameters = {key: rng.random(p.shape, np.float32) / np.float32(p.size) for key, p in graph.parameters.items()}
    executor = ReferenceExecutor(graph, parameters)
    tracemalloc.start()
    outputs = executor(np.ones((1, 3, 128, 128), np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [outputs[key].shape[1:] for key in graph.outputs] == graph.output_shapes
    every_map = sum(4 * math.prod(node.shape) for node in graph.nodes)
    assert peak < LARGEST_SHARE * every_map
