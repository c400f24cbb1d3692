"""The hash that weight files store: equal for equal graphs, another one where anything differs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pure_detect.boxes.decode_yolo import YoloHead
from pure_detect.graph import BatchNormRule, Builder
from tests.small_networks import counted_network

HEAD = YoloHead("out", anchors=((10.0, 13.0),), classes=1)


def fingerprint(
    *, shape=(3, 4, 6), name="a", function="relu", order=(0, 1), outputs=("out",), head=HEAD, stride=(1, 1), extra=False
):
    """Return the fingerprint of a small graph with one thing changed."""
    net = Builder(shape)
    x = net.conv(net.image, 6, kernel=3, stride=stride, name=name)
    y = net.activation(x, function, name="b")
    made = {"b": y, "out": net.concat([(x, y)[i] for i in order], name="out")}
    if extra:
        net.activation(x, "mish", name="unused")
    return net.graph([made[key] for key in outputs], [] if head is None else [head]).fingerprint


def test_equal_graphs_have_equal_fingerprints():
    assert fingerprint() == fingerprint()
    assert fingerprint(stride=1) == fingerprint(stride=(1, 1))
    assert fingerprint(extra=True) == fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "c"},
        {"function": "leaky_relu"},
        {"shape": (3, 6, 4)},
        {"shape": (1, 4, 6)},
        {"stride": (1, 2)},
        {"order": (1, 0)},
        {"outputs": ("out", "b")},
        {"outputs": ("b", "out")},
        {"head": None},
        {"head": replace(HEAD, anchors=((13.0, 10.0),))},
        {"head": replace(HEAD, scale_x_y=1.05)},
        {"head": replace(HEAD, tensor="b")},
    ],
    ids=str,
)
def test_any_change_changes_the_fingerprint(change):
    assert fingerprint(**change) != fingerprint()


def test_the_order_of_outputs_changes_the_fingerprint():
    assert fingerprint(outputs=("out", "b")) != fingerprint(outputs=("b", "out"))


@dataclass(frozen=True)
class OtherHead:
    """A head that decodes otherwise but has the fields of YoloHead."""

    tensor: str
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False


def test_another_kind_of_head_with_the_same_fields_changes_the_fingerprint():
    assert fingerprint(head=OtherHead("out", ((10.0, 13.0),), 1)) != fingerprint()


def test_the_batch_norm_rule_changes_the_fingerprint():
    prints = set()
    for rule in (BatchNormRule(), BatchNormRule(1e-6), BatchNormRule(inside=False)):
        net = Builder((3, 4, 4), rule)
        prints.add(net.graph([net.batch_norm(net.image, name="n")]).fingerprint)
    assert len(prints) == 3


def test_the_fingerprint_stays_what_it_was():
    """Weight files store it: where it changes, every file that was ever converted is refused."""
    assert counted_network().fingerprint[:16] == "9e0434f2e2224692"
