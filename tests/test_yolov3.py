"""The networks that are written in Python equal the published cfgs, node by node."""

from __future__ import annotations

from pathlib import Path

import pytest

from pure_detect.models.darknet import read_cfg
from pure_detect.registry import NETWORKS
from tests.graphs import without_names


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp", "yolov3-tiny", "darknet53"])
def test_python_and_cfg_make_the_same_graph(name: str, data: Path) -> None:
    published = read_cfg(data / "cfg" / f"{name}.cfg")
    for height, width in ((416, 416), (320, 608)):
        ours, theirs = NETWORKS[name].build(height, width), published.build(height, width)
        for mine, other in zip(without_names(ours)[1], without_names(theirs)[1]):
            assert mine == other
        assert without_names(ours) == without_names(theirs)


@pytest.mark.parametrize(
    ("name", "size", "learnable", "statistics", "gflop"),
    [
        ("yolov3", 416, 61_949_149, 52_608, 65.86),
        ("yolov3-spp", 608, 62_998_749, 53_632, 141.45),
        ("yolov3-tiny", 416, 8_852_366, 6_368, 5.56),
        ("darknet53", 256, 41_609_928, 35_712, 18.57),
    ],
)
def test_counts_are_the_published_ones(name: str, size: int, learnable: int, statistics: int, gflop: float) -> None:
    graph = NETWORKS[name].build(size, size)
    assert graph.learnable_count == learnable
    assert graph.statistics_count == statistics
    assert round(2e-9 * graph.multiply_adds, 2) == gflop


def test_yolov3_predicts_10647_boxes_at_416() -> None:
    graph = NETWORKS["yolov3"].build(416, 416)
    assert graph.output_shapes == [(255, 13, 13), (255, 26, 26), (255, 52, 52)]
    assert sum(3 * height * width for _, height, width in graph.output_shapes) == 10_647


def test_a_size_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be a multiple of 32, got 300"):
        NETWORKS["yolov3"].build(416, 300)
