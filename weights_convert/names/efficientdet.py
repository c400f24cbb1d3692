"""Names of EfficientDet's tensors in effdet's and google/automl's files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pure_detect.models.bifpn import fusion_nodes
from pure_detect.models.efficientdet import STAGES_OF_LEVELS, Row
from pure_detect.models.efficientnet import Convention, scaled_stages
from weights_convert.names.efficientnet import automl_backbone, timm_backbone
from weights_convert.names.frameworks import TORCH, VARIABLES, conv_pairs, norm_pairs
from weights_convert.names.matching import Array, Pair, from_hwci, from_hwio, from_vector

LOWEST = min(STAGES_OF_LEVELS)
TOP = max(STAGES_OF_LEVELS)  # of the backbone's
HEADS = {"class_net": "class", "box_net": "box"}


def effdet_names(row: Row, convention: Convention) -> Iterator[Pair]:
    """Yield effdet's `tf_efficientdet_*`, and `efficientdet_d0`, which lacks some biases."""
    yield from timm_backbone(row.backbone, convention, "backbone.")
    bias = row.style.redundant_bias
    if row.highest > TOP:
        yield from _effdet_resample(f"fpn.p{TOP + 1}", f"fpn.resample.{TOP + 1 - LOWEST}", bias)
    for i in range(row.cells):
        for k, node in enumerate(fusion_nodes(LOWEST, row.highest)):
            ours, theirs = f"fpn.cell{i}.{node.name}", f"fpn.cell.{i}.fnode.{k}"
            if row.style.fusion == "fast":
                yield Pair(f"{ours}.fuse.weight", f"{theirs}.combine.edge_weights", from_vector)
            for source in _converted(i, node.inputs, row):
                level = int(source[1:]) - LOWEST
                yield from _effdet_resample(f"{ours}.from_{source}", f"{theirs}.combine.resample.{level}", bias)
            after = f"{theirs}.after_combine.conv"
            yield from _effdet_separable(ours, after, bias)
            yield from norm_pairs(f"{ours}.batch_norm", f"{after}.bn.", TORCH)
    for head in HEADS:
        for i in range(row.repeats):
            yield from _effdet_separable(f"{head}.conv{i}", f"{head}.conv_rep.{i}", bias)
            for level in range(LOWEST, row.highest + 1):
                theirs = f"{head}.bn_rep.{i}.{level - LOWEST}.bn."
                yield from norm_pairs(f"{head}.p{level}.conv{i}.batch_norm", theirs, TORCH)
        yield from _effdet_separable(f"{head}.predict", f"{head}.predict", bias=True)


def _converted(cell: int, inputs: tuple[str, ...], row: Row) -> list[str]:
    """Return the inputs of a node that come from the backbone with other channels than BiFPN's."""
    stages = scaled_stages(row.backbone)
    channels = {f"p{level}": stages[stage - 1].channels for level, stage in STAGES_OF_LEVELS.items()}
    return [name for name in inputs if cell == 0 and channels.get(name, row.channels) != row.channels]


def _effdet_resample(ours: str, theirs: str, bias: bool) -> Iterator[Pair]:
    yield Pair(f"{ours}.conv.weight", f"{theirs}.conv.conv.weight")
    if bias:
        yield Pair(f"{ours}.conv.bias", f"{theirs}.conv.conv.bias")
    yield from norm_pairs(f"{ours}.batch_norm", f"{theirs}.conv.bn.", TORCH)


def _effdet_separable(ours: str, theirs: str, bias: bool) -> Iterator[Pair]:
    yield Pair(f"{ours}.depthwise.weight", f"{theirs}.conv_dw.weight")
    yield Pair(f"{ours}.pointwise.weight", f"{theirs}.conv_pw.weight")
    if bias:
        yield Pair(f"{ours}.pointwise.bias", f"{theirs}.conv_pw.bias")


def automl_names(row: Row, convention: Convention, backbone: str) -> Iterator[Pair]:
    """Yield automl's variables; `backbone` is their scope's name, such as `efficientnet-b0`.

    A resampling is called by the place among the node's inputs, the input's number, and how many maps there were.
    """
    yield from automl_backbone(row.backbone, convention, f"{backbone}/")
    yield from _automl_resample(f"fpn.p{TOP + 1}", f"resample_p{TOP + 1}")
    inputs = [f"p{level}" for level in range(LOWEST, row.highest + 1)]
    for i in range(row.cells):
        numbers = {name: number for number, name in enumerate(inputs)}
        for k, node in enumerate(fusion_nodes(LOWEST, row.highest)):
            ours, theirs = f"fpn.cell{i}.{node.name}", f"fpn_cells/cell_{i}/fnode{k}"
            maps = len(numbers)
            numbers[node.name] = maps
            if row.style.fusion == "fast":
                yield Pair(f"{ours}.fuse.weight", f"{theirs}/{WEIGHT}", from_vector)
            for source in _converted(i, node.inputs, row):
                name = f"resample_{node.inputs.index(source)}_{numbers[source]}_{maps}"
                yield from _automl_resample(f"{ours}.from_{source}", f"{theirs}/{name}")
            after = f"{theirs}/op_after_combine{maps}"
            yield from _automl_separable(ours, f"{after}/conv")
            yield from norm_pairs(f"{ours}.batch_norm", f"{after}/bn/", VARIABLES)
    for head, short in HEADS.items():
        for i in range(row.repeats):
            theirs = f"{head}/{short}-{i}"
            yield from _automl_separable(f"{head}.conv{i}", theirs)
            for level in range(LOWEST, row.highest + 1):
                norm = f"{theirs}-bn-{level}/"
                yield from norm_pairs(f"{head}.p{level}.conv{i}.batch_norm", norm, VARIABLES)
        yield from _automl_separable(f"{head}.predict", f"{head}/{short}-predict")


def _automl_resample(ours: str, theirs: str) -> Iterator[Pair]:
    yield from conv_pairs(f"{ours}.conv", f"{theirs}/conv2d/kernel", f"{theirs}/conv2d/bias", from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{theirs}/bn/", VARIABLES)


def _automl_separable(ours: str, theirs: str) -> Iterator[Pair]:
    yield Pair(f"{ours}.depthwise.weight", f"{theirs}/depthwise_kernel", from_hwci)
    yield from conv_pairs(f"{ours}.pointwise", f"{theirs}/pointwise_kernel", f"{theirs}/bias", from_hwio)


WEIGHT = "WSM"  # of a fusion: its first one's name, `WSM_1` and `WSM_2` follow


def join_fusion_weights(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return automl's variables with the scalars of each fusion, one an input, as one vector under the first's name."""
    joined = {}
    for name, values in tensors.items():
        scope, _, last = name.rpartition("/")
        if last == WEIGHT:
            others = [f"{name}_{i}" for i in (1, 2) if f"{name}_{i}" in tensors]
            joined[name] = np.concatenate([np.ravel(tensors[n]) for n in (name, *others)])
        elif not (last.startswith(f"{WEIGHT}_") and f"{scope}/{WEIGHT}" in tensors):
            joined[name] = values
    return joined


def variable_name(name: str) -> str:
    """Return the name that a checkpoint gives to a variable of automl's `.h5`, where it ends in `:0`."""
    return name.removesuffix(":0")
