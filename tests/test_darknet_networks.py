"""The other Darknet networks that are written in Python equal the published cfgs, node by node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pure_detect.detector import Classifier, Detector
from pure_detect.graph import Graph, Node
from pure_detect.models.darknet import read_cfg
from pure_detect.models.darknet19 import DARKNET19
from pure_detect.models.tiny_darknet import TINY_DARKNET
from pure_detect.models.yolo_fastest import YOLO_FASTEST, YOLO_FASTEST_XL
from pure_detect.models.yolov2 import YOLOV2, YOLOV2_TINY
from pure_detect.models.yolov4 import YOLOV4, YOLOV4_TINY
from pure_detect.network import Network
from tests import real_models
from tests.graphs import without_names
from weights_convert.readers.darknet import read_darknet

CFGS = (
    (DARKNET19, "cfg/darknet19.cfg"),
    (TINY_DARKNET, f"weights/{real_models.TINY_DARKNET.cfg}"),
    (YOLOV2, "cfg/yolov2.cfg"),
    (YOLOV2_TINY, "cfg/yolov2-tiny.cfg"),
    (YOLOV4, "cfg/yolov4.cfg"),
    (YOLOV4_TINY, "cfg/yolov4-tiny.cfg"),
    (YOLO_FASTEST_XL, f"weights/{real_models.FASTEST.cfg}"),
)
with_cfg = pytest.mark.parametrize(("network", "cfg"), CFGS, ids=[network.name for network, _ in CFGS])


@pytest.mark.shared_data
@with_cfg
def test_python_and_cfg_make_the_same_graph(network: Network, cfg: str, data: Path) -> None:
    published = read_cfg(data / cfg)
    for height, width in ((416, 416), (320, 608)):
        ours, theirs = network.build(height, width), published.build(height, width)
        for mine, other in zip(without_names(ours)[1], without_names(theirs)[1]):
            assert mine == other
        assert without_names(ours) == without_names(theirs)


@pytest.mark.shared_data
@with_cfg
def test_python_and_cfg_agree_on_what_surrounds_the_graph(network: Network, cfg: str, data: Path) -> None:
    published = read_cfg(data / cfg)
    for attribute in ("family", "input_shape", "stride", "preprocessing", "batch_norm_rule"):
        assert getattr(network, attribute) == getattr(published, attribute), attribute


# The sum of both counts is the number of floats in the published .weights file. The papers and pages that name the
# operations say: Darknet-19 5.58 (YOLO9000, section 3), Tiny Darknet 0.98, YOLOv2-608 62.94, YOLOv2-tiny 5.41.
@pytest.mark.parametrize(
    ("network", "size", "learnable", "statistics", "gflop"),
    [
        (DARKNET19, 224, 20_842_376, 14_400, 5.58),
        (TINY_DARKNET, 224, 1_042_104, 4_384, 0.98),
        (YOLOV2, 416, 50_962_889, 20_672, 29.46),
        (YOLOV2, 608, 50_962_889, 20_672, 62.94),
        (YOLOV2_TINY, 416, 11_232_057, 5_088, 5.41),
        (YOLOV4, 608, 64_363_101, 66_304, 128.39),
        (YOLOV4_TINY, 416, 6_056_606, 6_208, 6.91),
        (YOLO_FASTEST_XL, 320, 898_686, 24_800, 0.72),
        (YOLO_FASTEST, 320, 332_798, 13_264, 0.25),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else str(value),
)
def test_counts_are_the_published_ones(
    network: Network, size: int, learnable: int, statistics: int, gflop: float
) -> None:
    graph = network.build(size, size)
    assert graph.learnable_count == learnable
    assert graph.statistics_count == statistics
    assert round(2e-9 * graph.multiply_adds, 2) == gflop


# (channels, height, width) of each head, in the order of the cfg, and its first anchor: YOLOv4 alone begins finely.
@pytest.mark.parametrize(
    ("network", "shapes", "first_anchors"),
    [
        (YOLOV2, [(425, 19, 19)], [(0.57273, 0.677385)]),
        (YOLOV2_TINY, [(425, 13, 13)], [(0.57273, 0.677385)]),
        (YOLOV4, [(255, 76, 76), (255, 38, 38), (255, 19, 19)], [(12, 16), (36, 75), (142, 110)]),
        (YOLOV4_TINY, [(255, 13, 13), (255, 26, 26)], [(81, 82), (23, 27)]),
        (YOLO_FASTEST_XL, [(255, 10, 10), (255, 20, 20)], [(115, 73), (12, 18)]),
        (YOLO_FASTEST, [(255, 10, 10), (255, 20, 20)], [(115, 73), (12, 18)]),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_heads_have_the_published_sizes_and_anchors(
    network: Network, shapes: list[tuple[int, int, int]], first_anchors: list[tuple[float, float]]
) -> None:
    graph = network.build()
    assert graph.output_shapes == shapes
    assert [head.anchors[0] for head in graph.heads] == first_anchors
    assert [head.tensor for head in graph.heads] == list(graph.outputs)


@pytest.mark.parametrize("network", [DARKNET19, TINY_DARKNET], ids=lambda network: network.name)
def test_classifiers_give_a_thousand_probabilities_at_any_size(network: Network) -> None:
    assert network.build().output_shapes == network.build(320, 448).output_shapes == [(1000, 1, 1)]


# The layers of `yolo-fastest-1.1.cfg` (dog-qiuqiu/Yolo-Fastest, commit 96a2900), one after another: filters x size,
# "d" where each channel is convolved by itself, "/2" for stride 2, "~" for leaky ReLU, "+" for a shortcut.
YOLO_FASTEST_LAYERS = """
    8x3/2~
    8x1~ d8x3~ 4x1        8x1~ d8x3~ 4x1 +
    24x1~ d24x3/2~ 8x1    32x1~ d32x3~ 8x1 +    32x1~ d32x3~ 8x1 +
    32x1~ d32x3/2~ 8x1    48x1~ d48x3~ 8x1 +    48x1~ d48x3~ 8x1 +
    48x1~ d48x3~ 16x1
    96x1~ d96x3~ 16x1 +   96x1~ d96x3~ 16x1 +   96x1~ d96x3~ 16x1 +   96x1~ d96x3~ 16x1 +
    96x1~ d96x3/2~ 24x1
    136x1~ d136x3~ 24x1 +    136x1~ d136x3~ 24x1 +    136x1~ d136x3~ 24x1 +    136x1~ d136x3~ 24x1 +
    136x1~ d136x3/2~ 48x1
    224x1~ d224x3~ 48x1 +    224x1~ d224x3~ 48x1 +    224x1~ d224x3~ 48x1 +    224x1~ d224x3~ 48x1 +
    224x1~ d224x3~ 48x1 +
    pool3 pool5 pool9 route192
    96x1~ d96x5~ 96x1 d96x5~ 96x1 255x1
    upsample20 route120
    d120x5~ 120x1 d120x5~ 120x1 255x1
"""


def layers(graph: Graph) -> list[str]:
    """Return the graph in the notation above."""
    words: list[str] = []
    for node in graph.nodes:
        if node.op == "activation":
            words[-1] += {"leaky_relu": "~"}[node.attributes["function"]]
        elif node.op != "batch_norm":
            words.append(WORDS[node.op](node))
    return words


def convolution(node: Node) -> str:
    channels = node.shape[0]
    depthwise = "d" if node.attributes["groups"] == channels else ""
    stride = {(1, 1): "", (2, 2): "/2"}[node.attributes["stride"]]
    return f"{depthwise}{channels}x{node.parameters['weight'].shape[2]}{stride}"


WORDS: dict[str, Callable[[Node], str]] = {
    "conv2d": convolution,
    "add": lambda node: "+",
    "max_pool": lambda node: f"pool{node.attributes['kernel'][0]}",
    "concat": lambda node: f"route{node.shape[0]}",
    "upsample_nearest": lambda node: f"upsample{node.shape[1]}",
}


def test_yolo_fastest_has_the_layers_of_its_cfg() -> None:
    assert layers(YOLO_FASTEST.build()) == YOLO_FASTEST_LAYERS.split()


def test_yolo_fastest_xl_has_twice_the_channels_in_the_backbone() -> None:
    small, large = YOLO_FASTEST.build(), YOLO_FASTEST_XL.build()
    assert [(node.name, node.op, node.inputs) for node in small.nodes] == [
        (node.name, node.op, node.inputs) for node in large.nodes
    ]
    for narrow, wide in zip(small.nodes, large.nodes):
        if narrow.name.startswith("backbone."):
            assert (2 * narrow.shape[0], *narrow.shape[1:]) == wide.shape


@pytest.mark.shared_data
def test_real_yolo_fastest_weights_detect_the_same_through_python_and_cfg(data: Path) -> None:
    model = real_models.FASTEST
    found = []
    for network in (YOLO_FASTEST_XL, read_cfg(data / "weights" / model.cfg)):
        parameters = read_darknet(data / "weights" / model.weights, network.build()).parameters
        detector = Detector(network, parameters, labels=YOLO_FASTEST_XL.labels)
        found.append(detector(data / "images" / "dog.jpg"))
    ours, theirs = found
    assert {"dog", "bicycle"} <= set(ours.labels)
    assert ours.labels == theirs.labels
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
    np.testing.assert_array_equal(ours.scores, theirs.scores)


@pytest.mark.shared_data
def test_real_tiny_darknet_weights_classify_the_same_through_python_and_cfg(data: Path) -> None:
    model = real_models.TINY_DARKNET
    labels = (data / "weights" / model.labels).read_text().splitlines()
    found = []
    for network in (TINY_DARKNET, read_cfg(data / "weights" / model.cfg)):
        parameters = read_darknet(data / "weights" / model.weights, network.build()).parameters
        found.append(Classifier(network, parameters, labels=labels)(data / "images" / "dog.jpg"))
    ours, theirs = found
    assert ours == theirs
    assert "malamute" in [answer.label for answer in ours]
