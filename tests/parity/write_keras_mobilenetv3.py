"""Write Keras's MobileNetV3 classifiers with random weights and what they compute: `FOLDER`; a process of its own.

Each model gives `NAME.h5` and `NAME.npz`: the inputs and outputs of each size, as (N, C, H, W).
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pure_detect.random_weights import noise_pictures

SIZES = ((224, 224), (199, 230))


def build(size: str, minimalistic: bool, shape: tuple[int, int]) -> Any:
    application = {"large": keras.applications.MobileNetV3Large, "small": keras.applications.MobileNetV3Small}[size]
    return application(
        input_shape=(*shape, 3), minimalistic=minimalistic, weights=None, include_preprocessing=False, name="network"
    )


def pictures(count: int, model: Any, rng: np.random.Generator) -> Any:
    """Return (N, H, W, C)."""
    height, width, channels = model.input_shape[1:]
    return 4 * noise_pictures((count, channels, height, width), rng).transpose(0, 2, 3, 1) - 2


def randomise(model: Any, rng: np.random.Generator) -> None:
    """Draw scales and shifts, take the statistics of noise, and spread the logits; Keras's own kernels stay."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.7, 1.3, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
            layer.momentum = 0.0
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.2, layer.bias.shape))
    model(pictures(8, model, rng), training=True)
    for name, spread in (("conv_2", 1), ("logits", 3)):
        kernel = model.get_layer(name).kernel
        kernel.assign(rng.normal(0, spread / np.sqrt(kernel.shape[2]), kernel.shape))


def witness(model: Any, rng: np.random.Generator) -> dict[str, Any]:
    activation = model.get_layer("conv_1_bn").output._keras_history.operation._outbound_nodes[0].outputs[0]
    outputs = [activation, model.get_layer("logits").output, model.output]
    x = pictures(2, model, rng)
    last, logits, probabilities = (value.numpy() for value in keras.Model(model.input, outputs)(x))
    channels_first = [value.transpose(0, 3, 1, 2) for value in (x, last, logits)]
    names = ("image", "backbone.last.activation", "classifier.logits", "probabilities")
    return dict(zip(names, [*channels_first, probabilities[:, :, None, None]], strict=True))


def main(folder: Path) -> None:
    for size, minimalistic in product(("large", "small"), (False, True)):
        rng = np.random.default_rng(0)
        name = f"mobilenetv3-{size}{'-minimalistic' * minimalistic}-keras"
        model = build(size, minimalistic, SIZES[0])
        randomise(model, rng)
        model.save(folder / f"{name}.h5")
        arrays: dict[str, Any] = {"count_params": np.array(model.count_params())}
        for shape in SIZES:
            other = build(size, minimalistic, shape)
            other.set_weights(model.get_weights())
            arrays.update({f"{shape[0]}/{key}": value for key, value in witness(other, rng).items()})
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main(Path(sys.argv[1]))
