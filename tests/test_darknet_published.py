"""Every published cfg loads without a warning, and its counts are those of the C programs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

from pure_detect.boxes.decode_yolo import RegionHead, YoloHead
from pure_detect.models.darknet import read_cfg
from pure_detect.network import Network

pytestmark = pytest.mark.shared_data


class Published(NamedTuple):
    """What is known of a cfg: from Darknet's listing, from the size of its weights file, from papers."""

    learnable: int
    statistics: int
    convolutions: int
    size: int  # square input at which the GFLOP are given
    gflop: float  # 2 x multiply-adds
    heads: tuple[int, ...] = ()  # indices of the head layers in Darknet's listing


# GFLOP: pjreddie/darknet f6afaab and AlexeyAB/darknet 59596d7 list 0 to 0.02 more in all, from rounding each layer and,
# AlexeyAB's, from counting other layers too. Floats in the file: learnable plus statistics.
CFGS = {
    "cfg/darknet19.cfg": Published(20_842_376, 14_400, 19, 256, 7.29),
    "cfg/darknet53.cfg": Published(41_609_928, 35_712, 53, 256, 18.57),
    "cfg/yolov2.cfg": Published(50_962_889, 20_672, 23, 416, 29.46, (31,)),
    "cfg/yolov2-tiny.cfg": Published(11_232_057, 5_088, 9, 416, 5.41, (15,)),
    "cfg/yolov3.cfg": Published(61_949_149, 52_608, 75, 416, 65.86, (82, 94, 106)),
    "cfg/yolov3-spp.cfg": Published(62_998_749, 53_632, 76, 608, 141.45, (89, 101, 113)),
    "cfg/yolov3-tiny.cfg": Published(8_852_366, 6_368, 13, 416, 5.56, (16, 23)),
    "cfg/yolov3-voc.cfg": Published(61_626_049, 52_608, 75, 416, 65.43, (82, 94, 106)),
    "cfg/yolov4.cfg": Published(64_363_101, 66_304, 110, 608, 128.39, (139, 150, 161)),
    "cfg/yolov4-tiny.cfg": Published(6_056_606, 6_208, 21, 416, 6.91, (30, 37)),
    "weights/tiny_darknet/tiny.cfg": Published(1_042_104, 4_384, 16, 224, 0.98),
    "weights/yolo_fastest/yolo-fastest-1.1-xl.cfg": Published(898_686, 24_800, 84, 320, 0.72, (121, 130)),
    "weights/yolo_lite/trial6.cfg": Published(649_417, 0, 7, 224, 0.49, (12,)),
    "weights/yolov3_nano/MobileNetV2-YOLOv3-Nano-coco.cfg": Published(873_150, 17_920, 59, 320, 0.55, (69, 79)),
}  # fmt: skip

# The floats of the published weights files: their sizes less the header.
FLOATS = {
    "cfg/darknet19.cfg": 20_856_776,
    "cfg/darknet53.cfg": 41_645_640,
    "cfg/yolov2.cfg": 50_983_561,
    "cfg/yolov2-tiny.cfg": 11_237_145,
    "cfg/yolov3.cfg": 62_001_757,
    "cfg/yolov3-spp.cfg": 63_052_381,
    "cfg/yolov3-tiny.cfg": 8_858_734,
    "cfg/yolov3-voc.cfg": 61_678_657,
    "cfg/yolov4.cfg": 64_429_405,
    "cfg/yolov4-tiny.cfg": 6_062_814,
    "weights/tiny_darknet/tiny.cfg": (4_185_968 - 16) // 4,
    "weights/yolo_fastest/yolo-fastest-1.1-xl.cfg": (3_693_964 - 20) // 4,
    "weights/yolo_lite/trial6.cfg": (2_597_684 - 16) // 4,
    "weights/yolov3_nano/MobileNetV2-YOLOv3-Nano-coco.cfg": (3_564_300 - 20) // 4,
}


def read(data: Path, cfg: str) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_cfg(data / cfg)


def test_the_table_holds_every_cfg_there_is(data: Path) -> None:
    found = {
        path.relative_to(data).as_posix() for folder in ("cfg", "weights") for path in (data / folder).rglob("*.cfg")
    }
    assert found == set(CFGS) == set(FLOATS)


@pytest.mark.parametrize("cfg", CFGS)
def test_counts_and_heads_are_the_published_ones(cfg: str, data: Path) -> None:
    expected = CFGS[cfg]
    graph = read(data, cfg).build(expected.size, expected.size)
    assert (graph.learnable_count, graph.statistics_count) == (expected.learnable, expected.statistics)
    assert sum(parameter.size for parameter in graph.parameters.values()) == FLOATS[cfg]
    assert sum(node.op == "conv2d" for node in graph.nodes) == expected.convolutions
    assert round(2e-9 * graph.multiply_adds, 2) == expected.gflop
    assert [int(head.tensor[len("layer") :].split(".")[0]) + 1 for head in graph.heads] == list(expected.heads)


@pytest.mark.parametrize("cfg", [cfg for cfg, published in CFGS.items() if published.heads])
def test_detectors_have_stride_32_and_fitting_heads(cfg: str, data: Path) -> None:
    network = read(data, cfg)
    assert (network.family, network.stride) == ("yolo", 32)
    for height, width in ((320, 416), (96, 32)):
        graph = network.build(height, width)
        for head, (channels, rows, columns) in zip(graph.heads, graph.output_shapes):
            assert channels == len(head.anchors) * (5 + head.classes)
            assert height / rows == width / columns
            assert height // rows in (8, 16, 32)


V3 = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))
V4 = ((12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401))
TINY = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
FASTEST = ((12, 18), (37, 49), (52, 132), (115, 73), (119, 199), (242, 238))


@pytest.mark.parametrize(
    ("cfg", "anchors", "scales"),
    [
        ("cfg/yolov3.cfg", (V3[6:], V3[3:6], V3[:3]), (1, 1, 1)),
        ("cfg/yolov3-spp.cfg", (V3[6:], V3[3:6], V3[:3]), (1, 1, 1)),
        ("cfg/yolov3-voc.cfg", (V3[6:], V3[3:6], V3[:3]), (1, 1, 1)),
        ("cfg/yolov4.cfg", (V4[:3], V4[3:6], V4[6:]), (1.2, 1.1, 1.05)),  # the coarse grid last
        ("cfg/yolov3-tiny.cfg", (TINY[3:], TINY[0:3]), (1, 1)),
        ("cfg/yolov4-tiny.cfg", (TINY[3:], TINY[1:4]), (1.05, 1.05)),  # not 0-2
        ("weights/yolo_fastest/yolo-fastest-1.1-xl.cfg", (FASTEST[3:], FASTEST[:3]), (1, 1)),
    ],
)
def test_masks_and_scales_are_read_from_the_cfg(
    cfg: str, anchors: tuple[tuple[tuple[int, int], ...], ...], scales: tuple[float, ...], data: Path
) -> None:
    heads = read(data, cfg).build().heads
    assert all(isinstance(head, YoloHead) and not head.new_coords for head in heads)
    assert tuple(head.anchors for head in heads) == anchors
    assert tuple(head.scale_x_y for head in heads) == scales


@pytest.mark.parametrize(
    ("cfg", "first", "classes"),
    [
        ("cfg/yolov2.cfg", (0.57273, 0.677385), 80),
        ("cfg/yolov2-tiny.cfg", (0.57273, 0.677385), 80),
        ("weights/yolo_lite/trial6.cfg", (1.08, 1.19), 80),
    ],
)
def test_region_heads_have_five_anchors_in_cells_and_a_softmax(
    cfg: str, first: tuple[float, float], classes: int, data: Path
) -> None:
    (head,) = read(data, cfg).build().heads
    assert isinstance(head, RegionHead)
    assert (len(head.anchors), head.anchors[0], head.classes, head.softmax) == (5, first, classes, True)


@pytest.mark.parametrize("cfg", [cfg for cfg, published in CFGS.items() if not published.heads])
def test_classifiers_end_in_1000_probabilities(cfg: str, data: Path) -> None:
    network = read(data, cfg)
    assert (network.is_classifier, network.class_count) == (True, 1000)
    assert network.build().output_shapes == [(1000, 1, 1)]
    assert network.preprocessing.resize == "crop"
