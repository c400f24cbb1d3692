"""Names of MobileNetV3's tensors in torchvision's, TensorFlow's and Keras's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pure_detect.models.mobilenetv3 import Bottleneck
from weights_convert.names.matching import Array, Pair, as_stored, from_hwci, from_hwio, from_matrix

Layout = Callable[[Array], Array]

TORCH_IGNORED = ("*.num_batches_tracked",)


class Names(NamedTuple):
    """How a framework calls the parts of a convolution and of a batch norm."""

    weight: str
    bias: str
    scale: str
    shift: str
    mean: str
    variance: str


TORCH = Names("weight", "bias", "weight", "bias", "running_mean", "running_var")
KERAS = Names("kernel:0", "bias:0", "gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")
SLIM = Names("weights", "biases", "gamma", "beta", "moving_mean", "moving_variance")


def torch_unit(ours: str, theirs: str, conv: str = "0", norm: str = "1") -> Iterator[Pair]:
    """Yield a torchvision Conv2dNormActivation: `theirs.0` is the convolution, `theirs.1` the batch norm."""
    yield Pair(f"{ours}.conv.weight", f"{theirs}.{conv}.{TORCH.weight}")
    yield from norm_pairs(f"{ours}.batch_norm", f"{theirs}.{norm}.", TORCH)


def norm_pairs(ours: str, prefix: str, names: Names) -> Iterator[Pair]:
    """Yield the four vectors of a batch norm."""
    vectors = {"scale": names.scale, "bias": names.shift, "mean": names.mean, "variance": names.variance}
    for mine, other in vectors.items():
        yield Pair(f"{ours}.{mine}", f"{prefix}{other}")


def conv_pairs(ours: str, weight: str, bias: str, layout: Layout = as_stored) -> Iterator[Pair]:
    """Yield a convolution with bias."""
    yield Pair(f"{ours}.weight", weight, layout)
    yield Pair(f"{ours}.bias", bias)


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


def slim_unit(ours: str, theirs: str, depthwise: bool = False) -> Iterator[Pair]:
    """Yield a convolution and batch norm of TensorFlow's slim."""
    weight = f"{theirs}/depthwise_{SLIM.weight}" if depthwise else f"{theirs}/{SLIM.weight}"
    yield Pair(f"{ours}.conv.weight", weight, from_hwci if depthwise else from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{theirs}/BatchNorm/", SLIM)


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


def keras_unit(ours: str, theirs: str, depthwise: bool = False, norm: str | None = None) -> Iterator[Pair]:
    """Yield a convolution of Keras and the layer of its batch norm, `theirs_bn` unless named."""
    yield Pair(f"{ours}.conv.weight", f"{theirs}/{KERAS.weight}", from_hwci if depthwise else from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{norm or f'{theirs}_bn'}/", KERAS)


def keras_conv(ours: str, theirs: str) -> Iterator[Pair]:
    """Yield a convolution of Keras that has a bias."""
    yield from conv_pairs(ours, f"{theirs}/{KERAS.weight}", f"{theirs}/{KERAS.bias}", from_hwio)


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


def keras_3_spelling(name: str) -> str:
    """Return how Keras 3 spells a name of Keras 2, in whose spelling the published files are.

    `expanded_conv_1/depthwise/BatchNorm/gamma:0` is `expanded_conv_1_depthwise_bn/gamma:0`, and a depthwise kernel is a
    kernel. Keras 3's own names come back as they are.
    """
    layer, _, weight = name.rpartition("/")
    layer = layer.replace("BatchNorm", "bn").replace("/", "_").lower()
    return f"{layer}/{weight.removeprefix('depthwise_')}"
