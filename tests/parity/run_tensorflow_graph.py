"""Runs the published SSDLite graph in the real TensorFlow: `python -m tests.parity.run_tensorflow_graph GRAPH FOLDER`.

GRAPH is OpenCV's text form of `ssd_mobilenet_v3_large_coco_2020_01_14`: TensorFlow's own nodes up to the raw heads,
without constants. Random weights of the published names and shapes take their place. In FOLDER are left
`frozen.pb`, `model.ckpt.*` and `saved_model` with these weights, and for each input size `<height>x<width>.npz` with
the image and every raw head's output, channels last, by TensorFlow's names.

In a process of its own, since importing TensorFlow takes seconds and much memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

v1 = tf.compat.v1
RNG = np.random.default_rng(4)
INPUT = "normalized_input_image_tensor"
# Of weights, times the inputs of a sum. More, and activations grow until ReLU6 saturates, which lets float32's
# rounding grow to 1e-4; less, and they shrink until the shifts alone decide and hide a wrong layer.
VARIANCE = 1.6
SIZES = ((320, 320), (224, 352))

SCOPE = "FeatureExtractor/MobilenetV3/"
# Expanded, squeezed (0: no squeeze-and-excite) and output channels of `expanded_conv`, `expanded_conv_1`, ...: slim's
# V3_LARGE_DETECTION, apart from this project's own table.
BLOCKS = (
    (16, 0, 16),
    (64, 0, 24),
    (72, 0, 24),
    (72, 24, 40),
    (120, 32, 40),
    (120, 32, 40),
    (240, 0, 80),
    (200, 0, 80),
    (184, 0, 80),
    (184, 0, 80),
    (480, 120, 112),
    (672, 168, 112),
    (672, 168, 80),
    (480, 120, 80),
    (480, 120, 80),
)
KERNELS_OF_5 = (3, 4, 5, 12, 13, 14)
ANCHORS = (3, 6, 6, 6, 6, 6)
NUMBERS = {"BoxEncodingPredictor": 4, "ClassPredictor": 91}  # an anchor


def filters() -> dict[str, int]:
    """Return the output channels of every convolution that is not depthwise, by its scope."""
    found = {f"{SCOPE}Conv": 16, f"{SCOPE}Conv_1": 480}
    for i, (expanded, squeezed, out) in enumerate(BLOCKS):
        scope = f"{SCOPE}expanded_conv" + (f"_{i}" if i else "")
        parts = {"expand": expanded, "squeeze_excite/Conv": squeezed, "squeeze_excite/Conv_1": expanded, "project": out}
        found |= {f"{scope}/{part}": channels for part, channels in parts.items()}
    for i, channels in enumerate((512, 256, 256, 128), start=2):
        found[f"{SCOPE}layer_17_1_Conv2d_{i}_1x1_{channels // 2}"] = channels // 2
        found[f"{SCOPE}layer_17_2_Conv2d_{i}_3x3_s2_{channels}"] = channels
    for i, anchors in enumerate(ANCHORS):
        found |= {f"BoxPredictor_{i}/{name}": anchors * numbers for name, numbers in NUMBERS.items()}
    return found


def depthwise_kernel(scope: str) -> int:
    return 5 if scope in {f"{SCOPE}expanded_conv_{i}/depthwise" for i in KERNELS_OF_5} else 3


def read_graph(path: Path) -> tuple[Any, list[str]]:
    """Return TensorFlow's part of the text graph, and the names of the raw heads' outputs."""
    graph = text_format.Parse(path.read_text(), v1.GraphDef())
    outputs = [node.name for node in graph.node if node.name.endswith("Predictor/BiasAdd")]
    last = max(i for i, node in enumerate(graph.node) if node.name in outputs)
    del graph.node[last + 1 :]
    for node in graph.node:
        complete(node)
    return graph, outputs


def complete(node: Any) -> None:
    """Give a node the attributes that OpenCV's text graph leaves out, or has added for its own use."""
    if node.op == "Placeholder":
        del node.attr["shape"].shape.dim[:]
        node.attr["shape"].shape.unknown_rank = True
        return
    node.attr["T"].type = tf.float32.as_datatype_enum
    if node.op == "FusedBatchNormV3":
        node.attr["is_training"].b = False
    if "loc_pred_transposed" in node.attr:
        del node.attr["loc_pred_transposed"]


def constants(graph: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a value for every input that no node makes, in the graph's order: channels follow from what came before."""
    channels, width = {INPUT: 3}, filters()
    for node in graph.node:
        if node.op == "Placeholder":
            continue
        c = channels[node.input[0]]
        scope = node.input[-1].rpartition("/")[0]
        channels[node.name] = width[scope] if node.op == "Conv2D" else c
        for name in node.input[1:]:
            if name not in channels:
                yield name, value_of(name, c, channels[node.name])


def value_of(name: str, c: int, out: int) -> np.ndarray:
    """Return the random values of a variable behind `c` channels, or slim's own constant."""
    scope, _, kind = name.rpartition("/")
    if kind in ("weights", "depthwise_weights"):
        depthwise = kind == "depthwise_weights"
        k = depthwise_kernel(scope) if depthwise else 3 if scope == f"{SCOPE}Conv" else 1
        deviation = 0.1 if scope.endswith("Predictor") else np.sqrt(VARIANCE / (k * k * (1 if depthwise else c)))
        return RNG.normal(0, deviation, (k, k, c, 1 if depthwise else out)).astype(np.float32)
    if is_constant(name):
        return constant_of(name)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "gamma": lambda: RNG.uniform(0.7, 1.3, c),
        "moving_variance": lambda: RNG.uniform(0.5, 1.5, c),
        "moving_mean": lambda: RNG.normal(0, 0.1, c),
        "beta": lambda: RNG.normal(0, 0.2, c),
        "biases": lambda: RNG.normal(0, 0.2, c),
    }
    return draw[kind]().astype(np.float32)


def is_constant(name: str) -> bool:
    return name.endswith(("/y", "/reduction_indices"))


def constant_of(name: str) -> np.ndarray:
    """Return a constant of `slim/nets/mobilenet/{mobilenet_v3,conv_blocks}.py`."""
    if name.endswith("Mean/reduction_indices"):
        return np.array([1, 2], np.int32)
    if name.endswith("/add/y"):
        return np.array(3, np.float32)
    assert name.endswith(("hard_swish/mul_1/y", "squeeze_excite/Conv_1/mul/y")), name
    return np.array(1 / 6 if "hard_swish" in name else 0.16667, np.float32)


def main(graph_path: Path, folder: Path) -> None:
    """Write the weights in TensorFlow's three formats, then run the frozen graph."""
    nodes, outputs = read_graph(graph_path)
    values = dict(constants(nodes))
    with v1.Graph().as_default() as graph, v1.Session() as session:
        inputs = {}
        for name, value in values.items():
            if is_constant(name):
                inputs[name] = v1.constant(value, name=name)
            else:
                inputs[name] = v1.get_variable(name, initializer=value, use_resource=False).value()
        v1.import_graph_def(nodes, input_map=inputs, name="")
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        saver.save(session, str(folder / "model.ckpt"), write_meta_graph=False)
        builder = v1.saved_model.Builder(str(folder / "saved_model"))
        builder.add_meta_graph_and_variables(session, ["serve"], saver=saver)
        builder.save()
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), outputs)
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    run_frozen(folder, outputs)
    resize_as_tensorflow_1(folder)


def resize_as_tensorflow_1(folder: Path) -> None:
    """Leave a picture, and what TensorFlow 1's `resize_images` makes of it at two sizes, larger and smaller."""
    pixels = RNG.integers(0, 256, (57, 83, 3), np.uint8)
    batch = pixels[None].astype(np.float32)
    resized = {
        f"{height}x{width}": v1.image.resize_bilinear(batch, (height, width)).numpy()[0]
        for height, width in ((31, 40), (120, 96))
    }
    np.savez(folder / "resized.npz", pixels=pixels, **resized)


def run_frozen(folder: Path, outputs: list[str]) -> None:
    with v1.Graph().as_default(), v1.Session() as session:
        v1.import_graph_def(v1.GraphDef.FromString((folder / "frozen.pb").read_bytes()), name="")
        for height, width in SIZES:
            image = RNG.uniform(-1, 1, (1, height, width, 3)).astype(np.float32)
            found = session.run({name: f"{name}:0" for name in outputs}, {f"{INPUT}:0": image})
            np.savez(folder / f"{height}x{width}.npz", image=image, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
