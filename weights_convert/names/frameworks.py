"""How the frameworks call the parts of a convolution and of a batch norm, whatever the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from weights_convert.names.matching import Array, Pair, as_stored, from_hwci, from_hwio

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
VARIABLES = Names("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")  # of TensorFlow under Keras


def norm_pairs(ours: str, prefix: str, names: Names) -> Iterator[Pair]:
    """Yield the four vectors of a batch norm."""
    vectors = {"scale": names.scale, "bias": names.shift, "mean": names.mean, "variance": names.variance}
    for mine, other in vectors.items():
        yield Pair(f"{ours}.{mine}", f"{prefix}{other}")


def conv_pairs(ours: str, weight: str, bias: str, layout: Layout = as_stored) -> Iterator[Pair]:
    """Yield a convolution with bias."""
    yield Pair(f"{ours}.weight", weight, layout)
    yield Pair(f"{ours}.bias", bias)


def torch_unit(ours: str, theirs: str) -> Iterator[Pair]:
    """Yield a torchvision Conv2dNormActivation: `theirs.0` is the convolution, `theirs.1` the batch norm."""
    yield from torch_conv_norm(ours, f"{theirs}.0", f"{theirs}.1")


def torch_conv_norm(ours: str, conv: str, norm: str) -> Iterator[Pair]:
    """Yield a convolution without bias of PyTorch, and the batch norm behind it."""
    yield Pair(f"{ours}.conv.weight", f"{conv}.{TORCH.weight}")
    yield from norm_pairs(f"{ours}.batch_norm", f"{norm}.", TORCH)


def slim_unit(ours: str, theirs: str, depthwise: bool = False) -> Iterator[Pair]:
    """Yield a convolution and batch norm of TensorFlow's slim."""
    weight = f"{theirs}/depthwise_{SLIM.weight}" if depthwise else f"{theirs}/{SLIM.weight}"
    yield Pair(f"{ours}.conv.weight", weight, from_hwci if depthwise else from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{theirs}/BatchNorm/", SLIM)


def keras_unit(ours: str, theirs: str, depthwise: bool = False, norm: str | None = None) -> Iterator[Pair]:
    """Yield a convolution of Keras and the layer of its batch norm, `theirs_bn` unless named."""
    yield Pair(f"{ours}.conv.weight", f"{theirs}/{KERAS.weight}", from_hwci if depthwise else from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{norm or f'{theirs}_bn'}/", KERAS)


def keras_conv(ours: str, theirs: str) -> Iterator[Pair]:
    """Yield a convolution of Keras that has a bias."""
    yield from conv_pairs(ours, f"{theirs}/{KERAS.weight}", f"{theirs}/{KERAS.bias}", from_hwio)


def keras_3_spelling(name: str) -> str:
    """Return how Keras 3 spells a name of Keras 2, in whose spelling the published files are.

    `expanded_conv_1/depthwise/BatchNorm/gamma:0` is `expanded_conv_1_depthwise_bn/gamma:0`, and a depthwise kernel is a
    kernel. Keras 3's own names come back as they are.
    """
    layer, _, weight = name.rpartition("/")
    layer = layer.replace("BatchNorm", "bn").replace("/", "_").lower()
    return f"{layer}/{weight.removeprefix('depthwise_')}"
