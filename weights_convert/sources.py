"""From a source file to a network's parameters: which reader the content asks for, and which table of names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.demo.networks import EFFICIENTDET_ROW, SSDLITE_FIRST, SSDLITE_ROWS
from pure_detect.errors import InputError
from pure_detect.graph import BatchNormRule, Graph
from pure_detect.models.efficientdet import EFFDET_D0, LITES, D
from pure_detect.models.efficientnet import LITE, LITE_CONVENTION, TENSORFLOW, TIMM, B
from pure_detect.models.mobilenetv3 import LARGE, SMALL, Bottleneck, minimalistic, reduced_tail
from pure_detect.network import Network
from weights_convert.hdf5_layout import Source
from weights_convert.names.efficientdet import automl_names, effdet_names, join_fusion_weights, variable_name
from weights_convert.names.efficientdet_tflite import convert_efficientdet_tflite
from weights_convert.names.efficientnet import keras_classifier as efficientnet_keras
from weights_convert.names.efficientnet import timm_classifier
from weights_convert.names.frameworks import SLIM, TORCH_IGNORED, keras_3_spelling
from weights_convert.names.matching import Pair, match
from weights_convert.names.mobilenetv3 import keras_classifier, torch_classifier
from weights_convert.names.ssdlite import tensorflow_ssdlite, torchvision_ssdlite
from weights_convert.names.ssdlite_tflite import convert_tflite
from weights_convert.readers import (
    keras,
    pytorch,
    safetensors,
    source_format,
    tensorflow_checkpoint,
    tensorflow_graph,
    tflite,
)
from weights_convert.readers.darknet import read_darknet

Array = NDArray[Any]


class Names(NamedTuple):
    """A table of names, the patterns of tensors that are no parameters, and what brings a file's tensors to it."""

    pairs: Callable[[], Iterable[Pair]]
    ignored: Collection[str] = ()
    spelling: Callable[[str], str] | None = None  # of a name in a file
    joined: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None = None  # tensors that are one of ours


def _torchvision_classifier(rows: Sequence[Bottleneck]) -> dict[str, Names]:
    return {"pytorch": Names(partial(torch_classifier, rows), TORCH_IGNORED)}


def _keras_classifier(rows: Sequence[Bottleneck]) -> dict[str, Names]:
    return {"keras": Names(partial(keras_classifier, rows), spelling=keras_3_spelling)}


def _efficientnets() -> dict[str, dict[str, Names]]:
    return {
        f"efficientnet-b{i}": {
            "keras": Names(partial(efficientnet_keras, scaling), ("normalization*",), spelling=keras_3_spelling),
            "pytorch": Names(partial(timm_classifier, scaling), TORCH_IGNORED),
        }
        for i, scaling in enumerate(B)
    }


def _efficientdets() -> dict[str, dict[str, Names]]:
    """Return the tables of all EfficientDets: effdet's, and automl's under the name of its backbone."""
    tables: dict[str, dict[str, Names]] = {}
    for rows, scalings, convention, kind in ((D, B, TENSORFLOW, "b"), (LITES, LITE, LITE_CONVENTION, "lite")):
        for name, row in rows.items():
            backbone = f"efficientnet-{kind}{scalings.index(row.backbone)}"
            tables[f"efficientdet-{name}"] = {
                "pytorch": Names(partial(effdet_names, row, convention), TORCH_IGNORED),
                "tensorflow": Names(partial(automl_names, row, convention, backbone), joined=join_fusion_weights),
                "keras": Names(
                    partial(automl_names, row, convention, backbone),
                    spelling=variable_name,
                    joined=join_fusion_weights,
                ),
            }
    for name, row in (("efficientdet-d0-effdet", EFFDET_D0), ("demo-efficientdet", EFFICIENTDET_ROW)):
        tables[name] = {"pytorch": Names(partial(effdet_names, row, TIMM), TORCH_IGNORED)}
    return tables


TENSORFLOW_LARGE = Names(partial(tensorflow_ssdlite, reduced_tail(LARGE)))
TENSORFLOW_SMALL = Names(partial(tensorflow_ssdlite, reduced_tail(SMALL)))
TORCHVISION_LARGE = Names(partial(torchvision_ssdlite, reduced_tail(LARGE)), TORCH_IGNORED)
TORCHVISION_DEMO = Names(partial(torchvision_ssdlite, SSDLITE_ROWS, SSDLITE_FIRST), TORCH_IGNORED)

# By network, then by the framework that the file is of.
NAMES: dict[str, dict[str, Names]] = {
    "ssdlite-mobilenetv3-large": {"tensorflow": TENSORFLOW_LARGE},
    "ssdlite-mobilenetv3-small": {"tensorflow": TENSORFLOW_SMALL},
    "ssdlite320-mobilenetv3-large": {"pytorch": TORCHVISION_LARGE},
    "demo-ssdlite": {"pytorch": TORCHVISION_DEMO},
    "mobilenetv3-large": _torchvision_classifier(LARGE),
    "mobilenetv3-small": _torchvision_classifier(SMALL),
    "mobilenetv3-large-keras": _keras_classifier(LARGE),
    "mobilenetv3-small-keras": _keras_classifier(SMALL),
    "mobilenetv3-large-minimalistic-keras": _keras_classifier(minimalistic(LARGE)),
    "mobilenetv3-small-minimalistic-keras": _keras_classifier(minimalistic(SMALL)),
    **_efficientnets(),
    **_efficientdets(),
}
TFLITE: dict[str, Callable[[object, Graph, tflite.TfliteModel], dict[str, Array]]] = {
    "ssdlite-mobilenetv3-large": convert_tflite,
    "ssdlite-mobilenetv3-small": convert_tflite,
    **{f"efficientdet-{name}": convert_efficientdet_tflite for name in LITES},
}


def convert(path: Path, network: Network, rule: BatchNormRule) -> tuple[dict[str, Array], Source]:
    """Read a source file for a network; its format is told from its content.

    Raises
    ------
    InputError
        If the file cannot be read, is of a format that this network has no names in, or does not fit it.
    """
    graph = network.build(rule=rule)
    kind = format_of(path)
    if kind == "darknet":
        weights = read_darknet(path, graph)
        return weights.parameters, Source(kind, weights.sha256, weights.header._asdict())
    parameters = (
        _convert_tflite(path, network, graph) if kind == "tflite" else _convert_named(path, network, graph, kind)
    )
    for name, values in parameters.items():
        if not np.isfinite(values).all():
            raise InputError(f"{path}: expected finite values, found NaN or infinity in {name}")
    header = {"batch_norm": "folded"} if kind == "tflite" else {}
    return parameters, Source(kind, _sha256(path), header)


def format_of(path: Path) -> str:
    """Name the format; a checkpoint's prefix and a SavedModel are no files that could be opened."""
    if tensorflow_checkpoint.matches(path, b""):
        return "tensorflow_checkpoint"
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    for kind, reader in READERS.items():
        if reader.matches(path, head):
            return kind
    return source_format(path)


READERS: Mapping[str, Any] = {
    "pytorch": pytorch,
    "safetensors": safetensors,
    "keras": keras,
    "tflite": tflite,
    "tensorflow_checkpoint": tensorflow_checkpoint,
    "tensorflow_graph": tensorflow_graph,
}


def _convert_tflite(path: Path, network: Network, graph: Graph) -> dict[str, Array]:
    if network.name not in TFLITE:
        raise InputError(f"{path}: expected a file for {network.name}, found TensorFlow Lite, of which none is known")
    return TFLITE[network.name](path, graph, tflite.read(path))


def _convert_named(path: Path, network: Network, graph: Graph, kind: str) -> dict[str, Array]:
    framework = "pytorch" if kind == "safetensors" else kind.partition("_")[0]
    tables = NAMES.get(network.name, {})
    if framework not in tables:
        known = ", ".join(tables) or "Darknet"
        raise InputError(f"{path}: expected a file of {known} for {network.name}, found {kind}")
    names, tensors = tables[framework], _tensors(path, kind)
    if names.spelling:
        tensors = _respelled(path, tensors, names.spelling)
    if names.joined:
        tensors = names.joined(tensors)
    return match(path, graph, tensors, names.pairs(), names.ignored)


def _respelled(path: Path, tensors: Mapping[str, Array], spelling: Callable[[str], str]) -> Mapping[str, Array]:
    respelled = {spelling(name): values for name, values in tensors.items()}
    if len(respelled) != len(tensors):
        raise InputError(f"{path}: expected every tensor under one name, found some in two spellings")
    return respelled


def _tensors(path: Path, kind: str) -> Mapping[str, Array]:
    if kind == "tensorflow_graph":
        return {name: value for name, value in tensorflow_graph.read(path).constants.items() if _is_weight(name)}
    if kind == "tensorflow_checkpoint":
        return tensorflow_checkpoint.published_variables(tensorflow_checkpoint.read(path).tensors)
    tensors: Mapping[str, Array] = READERS[kind].read(path)
    return tensors


def _is_weight(name: str) -> bool:
    """Tell the variables among a frozen graph's constants, which also hold shapes, axes and anchors."""
    return name.rpartition("/")[2] in {*SLIM, "depthwise_weights"}


def _sha256(path: Path) -> str:
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
