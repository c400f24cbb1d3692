"""Names of SSDLite's tensors in torchvision's and TensorFlow's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pure_detect.models.mobilenetv3 import Bottleneck
from pure_detect.models.ssdlite import EXTRA_CHANNELS
from weights_convert.names.frameworks import conv_pairs, slim_unit, torch_unit
from weights_convert.names.matching import Pair, from_hwio
from weights_convert.names.mobilenetv3 import slim_backbone, torch_bottleneck, torch_squeeze_excite

MAPS = 2 + len(EXTRA_CHANNELS)


def torchvision_ssdlite(rows: Sequence[Bottleneck], first_head: int = -3) -> Iterator[Pair]:
    """Yield torchvision's SSDLite on MobileNetV3, as its `ssdlite320_mobilenet_v3_large` is.

    Its backbone is cut in two after the expansion that feeds the first head: by default that of the last stage's first
    bottleneck.
    """
    cut = first_head % len(rows)
    first, second = "backbone.features.0", "backbone.features.1"
    yield from torch_unit("backbone.stem", f"{first}.0")
    for i, row in enumerate(rows[:cut]):
        yield from torch_bottleneck(f"backbone.bottleneck{i}", f"{first}.{i + 1}.block", row, has_expansion=i > 0)
    yield from torch_unit(f"backbone.bottleneck{cut}.expand", f"{first}.{cut + 1}")
    yield from torch_unit(f"backbone.bottleneck{cut}.depthwise", f"{second}.0.1")
    yield from torch_squeeze_excite(f"backbone.bottleneck{cut}.squeeze_excite", f"{second}.0.2")
    yield from torch_unit(f"backbone.bottleneck{cut}.project", f"{second}.0.3")
    for i, row in enumerate(rows[cut + 1 :], start=1):
        yield from torch_bottleneck(f"backbone.bottleneck{cut + i}", f"{second}.{i}.block", row, has_expansion=True)
    yield from torch_unit("backbone.last", f"{second}.{len(rows) - cut}")
    for i in range(len(EXTRA_CHANNELS)):
        for part, mine in enumerate(("reduce", "depthwise", "expand")):
            yield from torch_unit(f"extras.{i}.{mine}", f"backbone.extra.{i}.{part}")
    for mine, other in (("classes", "classification"), ("boxes", "regression")):
        for i in range(MAPS):
            theirs = f"head.{other}_head.module_list.{i}"
            yield from torch_unit(f"heads.{i}.{mine}.depthwise", f"{theirs}.0")
            yield from conv_pairs(f"heads.{i}.{mine}.predict", f"{theirs}.1.weight", f"{theirs}.1.bias")


def tensorflow_ssdlite(rows: Sequence[Bottleneck]) -> Iterator[Pair]:
    """Yield TensorFlow's `ssd_mobilenet_v3_large` and `_small`: variables, and a frozen graph's constants."""
    scope = "FeatureExtractor/MobilenetV3/"
    yield from slim_backbone(rows, scope)
    layer = f"{scope}layer_{len(rows) + 2}"
    for i, channels in enumerate(EXTRA_CHANNELS):
        number, half = i + 2, channels // 2
        strided = f"{layer}_2_Conv2d_{number}_3x3_s2_{channels}"
        yield from slim_unit(f"extras.{i}.reduce", f"{layer}_1_Conv2d_{number}_1x1_{half}")
        yield from slim_unit(f"extras.{i}.depthwise", f"{strided}_depthwise", depthwise=True)
        yield from slim_unit(f"extras.{i}.expand", strided)
    for mine, other in (("boxes", "BoxEncodingPredictor"), ("classes", "ClassPredictor")):
        for i in range(MAPS):
            theirs = f"BoxPredictor_{i}/{other}"
            yield from slim_unit(f"heads.{i}.{mine}.depthwise", f"{theirs}_depthwise", depthwise=True)
            yield from conv_pairs(f"heads.{i}.{mine}.predict", f"{theirs}/weights", f"{theirs}/biases", from_hwio)
