"""Names of MobileNetV3's tensors in torchvision's, TensorFlow's and Keras's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pure_detect.models.mobilenetv3 import Bottleneck
from weights_convert.names.frameworks import conv_pairs, keras_conv, keras_unit, slim_unit, torch_unit
from weights_convert.names.matching import Pair, from_hwio, from_matrix


def torch_bottleneck(ours: str, theirs: str, row: Bottleneck, has_expansion: bool) -> Iterator[Pair]:
    """Yield torchvision's InvertedResidual, whose parts are numbered in the order in which they run."""
    part = 0
    if has_expansion:
        yield from torch_unit(f"{ours}.expand", f"{theirs}.{part}")
        part += 1
    yield from torch_unit(f"{ours}.depthwise", f"{theirs}.{part}")
    part += 1
    if row.squeeze_excite:
        yield from torch_squeeze_excite(f"{ours}.squeeze_excite", f"{theirs}.{part}")
        part += 1
    yield from torch_unit(f"{ours}.project", f"{theirs}.{part}")


def torch_squeeze_excite(ours: str, theirs: str) -> Iterator[Pair]:
    """Yield torchvision's SqueezeExcitation."""
    for mine, other in (("reduce", "fc1"), ("expand", "fc2")):
        yield from conv_pairs(f"{ours}.{mine}", f"{theirs}.{other}.weight", f"{theirs}.{other}.bias")


def torch_classifier(rows: Sequence[Bottleneck]) -> Iterator[Pair]:
    """Yield torchvision's `mobilenet_v3_large` and `_small`."""
    yield from torch_unit("backbone.stem", "features.0")
    for i, row in enumerate(rows):
        theirs = f"features.{i + 1}.block"
        yield from torch_bottleneck(f"backbone.bottleneck{i}", theirs, row, has_expansion=i > 0)
    yield from torch_unit("backbone.last", f"features.{len(rows) + 1}")
    for mine, other in (("hidden", "classifier.0"), ("logits", "classifier.3")):
        yield from conv_pairs(f"classifier.{mine}", f"{other}.weight", f"{other}.bias", from_matrix)


def slim_backbone(rows: Sequence[Bottleneck], prefix: str) -> Iterator[Pair]:
    """Yield slim's MobilenetV3 under a scope such as `FeatureExtractor/MobilenetV3/`."""
    yield from slim_unit("backbone.stem", f"{prefix}Conv")
    for i, row in enumerate(rows):
        ours, theirs = f"backbone.bottleneck{i}", f"{prefix}expanded_conv" + (f"_{i}" if i else "")
        if i:
            yield from slim_unit(f"{ours}.expand", f"{theirs}/expand")
        yield from slim_unit(f"{ours}.depthwise", f"{theirs}/depthwise", depthwise=True)
        if row.squeeze_excite:
            for mine, other in (("reduce", "Conv"), ("expand", "Conv_1")):
                scope = f"{theirs}/squeeze_excite/{other}"
                yield from conv_pairs(f"{ours}.squeeze_excite.{mine}", f"{scope}/weights", f"{scope}/biases", from_hwio)
        yield from slim_unit(f"{ours}.project", f"{theirs}/project")
    yield from slim_unit("backbone.last", f"{prefix}Conv_1")


def keras_classifier(rows: Sequence[Bottleneck]) -> Iterator[Pair]:
    """Yield Keras's `MobileNetV3Large` and `MobileNetV3Small`, in the spelling of Keras 3."""
    yield from keras_unit("backbone.stem", "conv")
    for i, row in enumerate(rows):
        ours, theirs = f"backbone.bottleneck{i}", f"expanded_conv_{i}" if i else "expanded_conv"
        if i:
            yield from keras_unit(f"{ours}.expand", f"{theirs}_expand")
        yield from keras_unit(f"{ours}.depthwise", f"{theirs}_depthwise", depthwise=True)
        if row.squeeze_excite:
            yield from keras_conv(f"{ours}.squeeze_excite.reduce", f"{theirs}_squeeze_excite_conv")
            yield from keras_conv(f"{ours}.squeeze_excite.expand", f"{theirs}_squeeze_excite_conv_1")
        yield from keras_unit(f"{ours}.project", f"{theirs}_project")
    yield from keras_unit("backbone.last", "conv_1")
    yield from keras_conv("classifier.hidden", "conv_2")
    yield from keras_conv("classifier.logits", "logits")
