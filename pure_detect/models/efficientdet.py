"""EfficientDet D0 to D7x and Lite0 to Lite4: EfficientNet, BiFPN, and two heads shared by all scales.

Source: Tan et al. 2020, "EfficientDet: Scalable and Efficient Object Detection", section 4, Table 1; google/automl
6a54c87 `efficientdet/hparams_config.py`, `tf2/efficientdet_keras.py`; effdet 0.4.1 `config/model_config.py`. Section
4.2 scales everything by one number, phi, 0 for D0:

    BiFPN channels   64 * 1.35^phi       cells             3 + phi
    head repeats     3 + floor(phi / 3)  input resolution  512 + 128 * phi

The table follows the formulas loosely: channels are rounded by hand (D2 has 112, not 117), D4 and D5 have 7 cells both,
D6 and D7 share everything but input and anchors. google/automl's FLOPs (D0: 2.54 billion) are half of what TensorFlow's
profiler counts, element-wise operations included; the convolutions' multiply-adds alone are 2.49 billion.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pure_detect.boxes.anchors import EFFICIENTDET_ASPECTS, SQUARE_ROOT_ASPECTS, Aspects, octave_anchors
from pure_detect.boxes.decode_efficientdet import EfficientDetHead
from pure_detect.graph import BatchNormRule, Builder, Tensor
from pure_detect.image import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pure_detect.labels import COCO_91
from pure_detect.models.bifpn import BATCH_NORM, Style, bifpn, separable_conv
from pure_detect.models.efficientnet import (
    LITE,
    LITE_CONVENTION,
    TENSORFLOW,
    TIMM,
    B,
    Convention,
    Scaling,
    efficientnet,
)
from pure_detect.network import Definition, Network

CLASSES = 90  # COCO's category ids 1 to 90, ten of which no picture has
STAGES_OF_LEVELS = {3: 3, 4: 5, 5: 7}  # P3 is the output of stage 3


class Row(NamedTuple):
    """A row of Table 1."""

    image: int
    backbone: Scaling
    channels: int  # of BiFPN
    cells: int
    repeats: int  # of the heads' layers
    anchor_scale: float = 4.0
    anchor_steps: int = 3  # to the octave
    highest: int = 7  # level
    style: Style = Style()


SUM = Style(fusion="sum")
D = {
    "d0": Row(512, B[0], 64, 3, 3),
    "d1": Row(640, B[1], 88, 4, 3),
    "d2": Row(768, B[2], 112, 5, 3),
    "d3": Row(896, B[3], 160, 6, 4),
    "d4": Row(1024, B[4], 224, 7, 4),
    "d5": Row(1280, B[5], 288, 7, 4),
    "d6": Row(1280, B[6], 384, 8, 5, style=SUM),
    "d7": Row(1536, B[6], 384, 8, 5, style=SUM, anchor_scale=5.0),
    "d7x": Row(1536, B[7], 384, 8, 5, style=SUM, highest=8),
}
LITE_STYLE = Style(activation="relu6", fusion="sum")
LITES = {
    "lite0": Row(320, LITE[0], 64, 3, 3, style=LITE_STYLE, anchor_scale=3.0),
    "lite1": Row(384, LITE[1], 88, 4, 3, style=LITE_STYLE, anchor_scale=3.0),
    "lite2": Row(448, LITE[2], 112, 5, 3, style=LITE_STYLE, anchor_scale=3.0),
    "lite3": Row(512, LITE[3], 160, 6, 4, style=LITE_STYLE),
    "lite4": Row(640, LITE[4], 224, 7, 4, style=LITE_STYLE),
}
# effdet's own: padded alike on all sides, and without the biases that batch norm makes useless.
EFFDET_STYLE = Style(padding=None, redundant_bias=False)
EFFDET_D0 = D["d0"]._replace(style=EFFDET_STYLE)


def efficientdet(
    net: Builder,
    row: Row,
    convention: Convention = TENSORFLOW,
    aspects: Aspects = EFFICIENTDET_ASPECTS,
    classes: int = CLASSES,
) -> Definition:
    """Record the detector."""
    stages = efficientnet(net, net.image, row.backbone, convention)
    features = {level: stages[stage - 1] for level, stage in STAGES_OF_LEVELS.items()}
    levels = bifpn(net, features, row.highest, row.channels, row.cells, row.style)
    anchors = octave_anchors(row.anchor_scale, aspects, row.anchor_steps)
    count = len(anchors.sizes_wh)
    scores = [head(net, x, classes * count, row, "class_net", level) for level, x in levels.items()]
    boxes = [head(net, x, 4 * count, row, "box_net", level) for level, x in levels.items()]
    decoding = EfficientDetHead(
        class_tensors=tuple(x.name for x in scores),
        box_tensors=tuple(x.name for x in boxes),
        anchors=anchors,
        classes=classes,
    )
    return Definition([*scores, *boxes], [decoding])


def head(net: Builder, x: Tensor, channels: int, row: Row, name: str, level: int) -> Tensor:
    """Record a head on one level: convolutions shared by all levels, batch norms of the level's own.

    Source: section 3.4; `ClassNet` and `BoxNet` of `efficientdet_keras.py`.
    """
    style = row.style
    for i in range(row.repeats):
        own, shared = f"{name}.p{level}.conv{i}", f"{name}.conv{i}"
        x = separable_conv(net, x, row.channels, style, bias=style.redundant_bias, name=own, stored_as=shared)
        x = net.batch_norm(x, rule=BATCH_NORM, name=f"{own}.batch_norm")
        x = net.activation(x, style.activation, name=f"{own}.activation")
    own = f"{name}.p{level}.predict"
    return separable_conv(net, x, channels, style, bias=True, name=own, stored_as=f"{name}.predict")


IMAGENET = Preprocessing("top-left", mean=IMAGENET_MEAN, std=IMAGENET_STD)
IMAGENET_PILLOW = Preprocessing("top-left-pillow", mean=IMAGENET_MEAN, std=IMAGENET_STD)
LITE_PIXELS = Preprocessing("top-left", scale=1 / 128, mean=(127 / 128,) * 3)


def _network(
    name: str,
    row: Row,
    convention: Convention = TENSORFLOW,
    aspects: Aspects = EFFICIENTDET_ASPECTS,
    preprocessing: Preprocessing = IMAGENET,
) -> Network:
    return Network(
        f"efficientdet-{name}",
        "efficientdet",
        partial(efficientdet, row=row, convention=convention, aspects=aspects),
        (3, row.image, row.image),
        labels=COCO_91,
        preprocessing=preprocessing,
        batch_norm_rule=BatchNormRule(1e-3),
        iou=0.5,
        suppression="gaussian",
        candidates=5000,
        limit=100,
    )


EFFICIENTDETS = tuple(_network(name, row) for name, row in D.items())
EFFICIENTDET_LITES = tuple(
    _network(name, row, LITE_CONVENTION, SQUARE_ROOT_ASPECTS, LITE_PIXELS) for name, row in LITES.items()
)


def effdet_network(name: str, row: Row, labels: tuple[str, ...]) -> Network:
    """Return a network of effdet's own line: with symmetric padding, and suppression of boxes that are clipped."""
    return Network(
        name,
        "efficientdet",
        partial(efficientdet, row=row, convention=TIMM, classes=len(labels)),
        (3, row.image, row.image),
        labels=labels,
        preprocessing=IMAGENET_PILLOW,
        batch_norm_rule=BatchNormRule(1e-5),
        iou=0.5,
        suppression="iou",
        candidates=5000,
        limit=100,
        clip_first=True,
    )


EFFICIENTDET_D0_EFFDET = effdet_network("efficientdet-d0-effdet", EFFDET_D0, COCO_91)
