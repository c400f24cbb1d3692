"""Names of EfficientNet's tensors in timm's, google/automl's and Keras's files."""

from __future__ import annotations

from collections.abc import Iterator

from pure_detect.models.efficientnet import TENSORFLOW, Convention, Scaling, scaled_stages
from weights_convert.names.frameworks import VARIABLES, conv_pairs, keras_conv, keras_unit, norm_pairs, torch_conv_norm
from weights_convert.names.matching import Pair, from_dense, from_hwci, from_hwio, from_matrix


def timm_backbone(scaling: Scaling, convention: Convention, prefix: str = "") -> Iterator[Pair]:
    """Yield timm's EfficientNet; in the first stage, which has no expansion, `conv_pw` is the projection."""
    yield from torch_conv_norm("backbone.stem", f"{prefix}conv_stem", f"{prefix}bn1")
    for i, row in enumerate(scaled_stages(scaling, convention)):
        for j in range(row.layers):
            ours, theirs = f"backbone.stage{i + 1}.block{j + 1}", f"{prefix}blocks.{i}.{j}"
            parts = [("depthwise", "conv_dw"), ("project", "conv_pw")]
            if row.fused:
                parts = [("fused", "conv_exp"), ("project", "conv_pwl")] if row.expansion > 1 else [("fused", "conv")]
            elif row.expansion > 1:
                parts = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
            for number, (mine, other) in enumerate(parts, start=1):
                yield from torch_conv_norm(f"{ours}.{mine}", f"{theirs}.{other}", f"{theirs}.bn{number}")
            if convention.squeeze_excite and not row.fused:
                for mine, other in (("reduce", "conv_reduce"), ("expand", "conv_expand")):
                    scope = f"{theirs}.se.{other}"
                    yield from conv_pairs(f"{ours}.squeeze_excite.{mine}", f"{scope}.weight", f"{scope}.bias")


def timm_classifier(scaling: Scaling) -> Iterator[Pair]:
    """Yield timm's `tf_efficientnet_b0` and its kin."""
    yield from timm_backbone(scaling, TENSORFLOW)
    yield from torch_conv_norm("head", "conv_head", "bn2")
    yield from conv_pairs("classifier", "classifier.weight", "classifier.bias", from_matrix)


def variable_unit(ours: str, conv: str, norm: str, depthwise: bool = False) -> Iterator[Pair]:
    """Yield a convolution of automl's variables and the batch norm behind it."""
    kernel = f"{conv}/depthwise_kernel" if depthwise else f"{conv}/{VARIABLES.weight}"
    yield Pair(f"{ours}.conv.weight", kernel, from_hwci if depthwise else from_hwio)
    yield from norm_pairs(f"{ours}.batch_norm", f"{norm}/", VARIABLES)


def automl_backbone(scaling: Scaling, convention: Convention, prefix: str) -> Iterator[Pair]:
    """Yield automl's EfficientNet; blocks are counted through all stages, batch norms in the order of their use."""
    norm = "tpu_batch_normalization"
    yield from variable_unit("backbone.stem", f"{prefix}stem/conv2d", f"{prefix}stem/{norm}")
    block = 0
    for i, row in enumerate(scaled_stages(scaling, convention), start=1):
        for j in range(1, row.layers + 1):
            ours, theirs = f"backbone.stage{i}.block{j}", f"{prefix}blocks_{block}"
            convs = {"depthwise": "depthwise_conv2d", "project": "conv2d"}
            if row.expansion > 1:
                convs = {"expand": "conv2d", "depthwise": "depthwise_conv2d", "project": "conv2d_1"}
            for number, (mine, other) in enumerate(convs.items()):
                name = f"{theirs}/{norm}" + (f"_{number}" if number else "")
                yield from variable_unit(f"{ours}.{mine}", f"{theirs}/{other}", name, depthwise=mine == "depthwise")
            if convention.squeeze_excite:
                for mine, other in (("reduce", "conv2d"), ("expand", "conv2d_1")):
                    scope = f"{theirs}/se/{other}"
                    mine = f"{ours}.squeeze_excite.{mine}"
                    yield from conv_pairs(mine, f"{scope}/kernel", f"{scope}/bias", from_hwio)
            block += 1


def keras_classifier(scaling: Scaling) -> Iterator[Pair]:
    """Yield Keras's `EfficientNetB0` to `B7`, in the spelling of Keras 3: blocks are lettered within a stage."""
    yield from keras_unit("backbone.stem", "stem_conv", norm="stem_bn")
    for i, row in enumerate(scaled_stages(scaling), start=1):
        for j in range(row.layers):
            ours, theirs = f"backbone.stage{i}.block{j + 1}", f"block{i}{chr(ord('a') + j)}"
            if row.expansion > 1:
                yield from keras_unit(f"{ours}.expand", f"{theirs}_expand_conv", norm=f"{theirs}_expand_bn")
            yield from keras_unit(f"{ours}.depthwise", f"{theirs}_dwconv", norm=f"{theirs}_bn", depthwise=True)
            yield from keras_conv(f"{ours}.squeeze_excite.reduce", f"{theirs}_se_reduce")
            yield from keras_conv(f"{ours}.squeeze_excite.expand", f"{theirs}_se_expand")
            yield from keras_unit(f"{ours}.project", f"{theirs}_project_conv", norm=f"{theirs}_project_bn")
    yield from keras_unit("head", "top_conv", norm="top_bn")
    yield from conv_pairs("classifier", "predictions/kernel:0", "predictions/bias:0", from_dense)
