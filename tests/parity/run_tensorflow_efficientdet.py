"""What TensorFlow and Keras say to EfficientDet's parts, in a process of its own: `FOLDER`.

Reads `variables.npz`, `boxes.npz`, `pictures.npz`; writes a checkpoint, and what it computed.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")

import keras
import numpy as np
import tensorflow as tf

from pure_detect.graph import Graph, Node
from pure_detect.random_weights import noise_pictures
from pure_detect.registry import find_network

AVERAGE = "/ExponentialMovingAverage"
CLASSIFIERS = {"b0": ((224, 224), (199, 230)), "b3": ((128, 96), (97, 131))}
LITE_SIZE = (96, 160)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_checkpoints(folder: Path) -> None:
    """Write the variables twice: as they are, and as moving averages of others, beside an optimizer's state."""
    with np.load(folder / "variables.npz") as arrays:
        values = dict(arrays)
    other = {name: value + 1 for name, value in values.items()}
    slots = {f"{name}/Momentum": value for name, value in list(values.items())[:3]}
    averaged = {**other, **slots, **{name + AVERAGE: value for name, value in values.items()}}
    for prefix, tensors in (("plain", values), ("averaged", {**averaged, "global_step": np.int64(7)})):
        tf.raw_ops.SaveV2(
            prefix=str(folder / prefix),
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(value) for value in tensors.values()],
        )


def suppress(folder: Path) -> None:
    """Run NonMaxSuppressionV5 as automl's `postprocess.nms` does."""
    found = {}
    with np.load(folder / "boxes.npz") as arrays:
        for key in [name for name in arrays if name.startswith("boxes")]:
            seed = key.removeprefix("boxes")
            boxes, scores = arrays[key], arrays[f"scores{seed}"]
            indices, decayed, count = tf.raw_ops.NonMaxSuppressionV5(
                boxes=boxes[:, [1, 0, 3, 2]],
                scores=scores,
                max_output_size=100,
                iou_threshold=0.5,
                score_threshold=0.001,
                soft_nms_sigma=0.25,
            )
            found[f"indices{seed}"], found[f"scores{seed}"] = indices[:count].numpy(), decayed[:count].numpy()
    np.savez(folder / "suppressed.npz", **found)


def prepare(folder: Path) -> None:
    """Normalise, resize, pad: automl's `dataloader.InputProcessor` at inference."""
    found = {}
    with np.load(folder / "pictures.npz") as arrays:
        for key in arrays:
            pixels, size = arrays[key], 512
            image = (tf.cast(pixels, tf.float32) - 255 * np.float32(MEAN)) / (255 * np.float32(STD))
            height, width = (tf.cast(n, tf.float32) for n in pixels.shape[:2])
            scale = tf.minimum(tf.cast(size, tf.float32) / width, tf.cast(size, tf.float32) / height)
            shape = tf.cast(height * scale, tf.int32), tf.cast(width * scale, tf.int32)
            resized = tf.image.resize(image, shape, method="bilinear")
            padded = tf.image.pad_to_bounding_box(resized, 0, 0, size, size)
            found[key], found[f"scale{key}"] = padded.numpy().transpose(2, 0, 1), scale.numpy()
    np.savez(folder / "prepared.npz", **found)


def build(name: str, shape: tuple[int, int]) -> Any:
    application = {"b0": keras.applications.EfficientNetB0, "b3": keras.applications.EfficientNetB3}[name]
    return application(input_shape=(*shape, 3), weights=None)


def randomise(model: Any, rng: np.random.Generator, pictures: Any) -> None:
    """Draw scales and shifts, take the statistics of noise, and spread the logits; Keras's own kernels stay."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.7, 1.3, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model(pictures, training=True)
    kernel = model.get_layer("predictions").kernel
    kernel.assign(rng.normal(0, 3 / np.sqrt(kernel.shape[0]), kernel.shape))


def classifiers(folder: Path) -> None:
    for name, sizes in CLASSIFIERS.items():
        rng = np.random.default_rng(0)
        model = build(name, sizes[0])
        # Keras's models begin with a division by 255.
        randomise(model, rng, 255 * noise_pictures((8, 3, *sizes[0]), rng).transpose(0, 2, 3, 1))
        model.save(folder / f"efficientnet-{name}.h5")
        arrays: dict[str, Any] = {"count_params": np.array(model.count_params())}
        for shape in sizes:
            other = build(name, shape)
            other.set_weights(model.get_weights())
            x = noise_pictures((2, 3, *shape), rng)
            outputs = [other.get_layer("top_activation").output, other.output]
            last, probabilities = keras.Model(other.input, outputs)(255 * x.transpose(0, 2, 3, 1))
            arrays[f"{shape[0]}/image"] = x
            arrays[f"{shape[0]}/head.activation"] = last.numpy().transpose(0, 3, 1, 2)
            arrays[f"{shape[0]}/probabilities"] = probabilities.numpy()[:, :, None, None]
        np.savez(folder / f"efficientnet-{name}.npz", **arrays)


def in_tensorflow(graph: Graph, parameters: dict[str, Any], x: Any) -> list[Any]:
    """Run a Lite's graph by TensorFlow's operations on (N, H, W, C)."""
    values = {graph.input.name: x}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        own = {key: tf.constant(parameters[parameter.name]) for key, parameter in node.parameters.items()}
        values[node.name] = tensorflow_operation(node, inputs, own)
    return [values[name] for name in graph.outputs]


def tensorflow_operation(node: Node, inputs: list[Any], own: dict[str, Any]) -> Any:
    x = inputs[0]
    if node.op == "conv2d":
        step = [1, *node.attributes["stride"], 1]
        if node.attributes["groups"] > 1:
            y = tf.nn.depthwise_conv2d(x, tf.transpose(own["weight"], (2, 3, 0, 1)), step, "SAME")
        else:
            y = tf.nn.conv2d(x, tf.transpose(own["weight"], (2, 3, 1, 0)), step, "SAME")
        return tf.nn.bias_add(y, own["bias"]) if "bias" in own else y
    if node.op == "batch_norm":
        order = ("scale", "bias", "mean", "variance")
        return tf.compat.v1.nn.fused_batch_norm(x, *(own[key] for key in order), epsilon=1e-3, is_training=False)[0]
    if node.op == "activation":
        return tf.nn.relu6(x)
    if node.op == "add":
        return functools.reduce(tf.add, inputs)
    if node.op == "max_pool":
        return tf.nn.max_pool2d(x, 3, 2, "SAME")
    assert node.op == "upsample_nearest", node.op
    return tf.compat.v1.image.resize_nearest_neighbor(x, node.attributes["size"])


def mild_parameters(graph: Graph) -> dict[str, Any]:
    """Draw weights under which 8-bit rounding stays small, as in trained networks."""
    rng = np.random.default_rng(1)
    drawn = {}
    for name, parameter in graph.parameters.items():
        key = name.rpartition(".")[2]
        if key == "weight":
            values = rng.normal(0, 1, parameter.shape) / np.sqrt(np.prod(parameter.shape[1:]))
        else:
            low, high = {"scale": (0.7, 1.3), "variance": (0.5, 1.5)}.get(key, (-0.2, 0.2))
            values = rng.uniform(low, high, parameter.shape)
        drawn[name] = values.astype(np.float32)
    return drawn


def lite(folder: Path) -> None:
    """Write a Lite as TensorFlow Lite, float and quantised, and what TensorFlow computes."""
    network = find_network("efficientdet-lite0")
    graph = network.build(*LITE_SIZE)
    parameters = mild_parameters(graph)
    x = 4 * noise_pictures((1, 3, *LITE_SIZE), np.random.default_rng(0)).transpose(0, 2, 3, 1) - 2
    function = tf.function(lambda image: in_tensorflow(graph, parameters, image))
    concrete = function.get_concrete_function(tf.TensorSpec(x.shape, tf.float32))
    for kind in ("float", "dynamic", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if kind != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "int8":
            converter.representative_dataset = lambda: ([x] for _ in range(2))
        (folder / f"lite0-{kind}.tflite").write_bytes(converter.convert())
    outputs = [np.asarray(value).transpose(0, 3, 1, 2) for value in concrete(tf.constant(x))]
    np.savez(folder / "lite0.npz", *outputs, image=x.transpose(0, 3, 1, 2))


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    here = Path(sys.argv[1])
    write_checkpoints(here)
    suppress(here)
    prepare(here)
    classifiers(here)
    lite(here)
