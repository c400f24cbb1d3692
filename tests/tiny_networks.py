"""Networks so small that their answers can be worked out by hand, as Darknet files: cfg texts and weights bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pure_detect.detections import Detections
from weights_convert.cli import main as weights_convert

# 2 x 2 cells of 16 x 16 pixels, each of its largest red, green and blue. Box: the cell's centre, 8 x 8 pixels.
DETECTOR = """\
[net]
width=32
height=32
channels=3
[maxpool]
size=16
stride=16
padding=0
[convolutional]
filters=7
size=1
activation=linear
[yolo]
anchors=8,8
num=1
classes=2
"""
# Planes x, y, w, h, objectness, class 0, class 1: one bias each, then the weights of red, green and blue.
DETECTOR_BIASES = [0, 0, 0, 0, -6, -6, -6]
DETECTOR_WEIGHTS = [*[0, 0, 0] * 4, *[12, 12, 0], *[12, 0, 0], *[0, 12, 0]]
DETECTOR_VALUES = [*DETECTOR_BIASES, *DETECTOR_WEIGHTS]

# The picture's mean red, green and blue, times 4, through a softmax.
CLASSIFIER = """\
[net]
width=32
height=32
channels=3
[avgpool]
[convolutional]
filters=3
size=1
activation=linear
[softmax]
"""
CLASSIFIER_VALUES = [0, 0, 0, *[4, 0, 0], *[0, 4, 0], *[0, 0, 4]]

# Every kind of layer that has weights, at 2 channels of 2 x 2.
EVERY_LAYER = """\
[net]
channels=2
height=2
width=2
[convolutional]
batch_normalize=1
filters=3
activation=linear
[convolutional]
filters=3
size=3
pad=1
groups=3
[shortcut]
from=-2
weights_type=per_feature
weights_normalization=relu
[implicit]
filters=3
[scale_channels]
from=2
[shortcut]
from=0
weights_type=per_channel
weights_normalization=softmax
[batchnorm]
[connected]
output=4
batch_normalize=1
[connected]
output=2
activation=linear
[softmax]
"""
EVERY_LAYER_VALUES = np.arange(1, 146, dtype="<f4")

# Two heads, batch norm, an upsample: what a detector is made of, at a few thousand multiply-adds.
SMALL = """\
[net]
width=32
height=32
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=14
size=1
activation=linear
[yolo]
classes=2
anchors=4,8,10,12
num=2
[route]
layers=1
[upsample]
[route]
layers=-1,0
[convolutional]
filters=7
size=3
pad=1
activation=linear
[yolo]
classes=2
anchors=4,8,10,12
num=2
mask=0
"""

# A batch norm: 3 -> 4 -> 6 channels, stride 2.
NORMED = """\
[net]
width=8
height=8
channels=3
[convolutional]
batch_normalize=1
filters=4
size=3
pad=1
stride=2
activation=leaky
[convolutional]
filters=6
size=1
activation=linear
[yolo]
classes=1
anchors=3,4
"""
NORMED_VALUES = np.random.default_rng(5).uniform(0.1, 1, 4 * 27 + 4 * 4 + 24 + 6).astype("<f4")

GREEN = 192  # less than 255, so that the two boxes have different scores


def darknet_file(
    values: Sequence[float] | np.ndarray, version: tuple[int, int, int] = (0, 2, 5), seen: int = 7
) -> bytes:
    """Return the bytes of a weights file, its header by Darknet's own rule."""
    wide = version[0] * 10 + version[1] >= 2
    return struct.pack("<3i", *version) + struct.pack("<Q" if wide else "<I", seen) + np.array(values, "<f4").tobytes()


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


RED_SCORE = sigmoid(6) ** 2
GREEN_SCORE = sigmoid(-6 + 12 * GREEN / 255) ** 2


def quadrants(size: int = 64) -> np.ndarray:
    """Return a picture on which the detector finds class 0 at the top left and class 1 at the top right."""
    half = size // 2
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[:half, :half, 0] = 255
    pixels[:half, half:, 1] = GREEN
    pixels[half:, :half, 2] = 255
    return pixels


def picture_file(path: Path, pixels: np.ndarray | None = None) -> Path:
    """Write a picture, by default the quadrants."""
    Image.fromarray(quadrants() if pixels is None else pixels).save(path)
    return path


def model_file(folder: Path, cfg: str, values: Sequence[float] | np.ndarray, *options: str, name: str = "tiny") -> Path:
    """Convert a cfg and its values with the command that users run; return the .h5 file."""
    (folder / f"{name}.cfg").write_text(cfg)
    (folder / f"{name}.weights").write_bytes(darknet_file(values))
    out = folder / f"{name}.h5"
    source, model = str(folder / f"{name}.weights"), str(folder / f"{name}.cfg")
    assert weights_convert([source, "--model", model, "--out", str(out), *options]) == 0
    return out


def detector_file(folder: Path, *options: str, name: str = "tiny") -> Path:
    return model_file(folder, DETECTOR, DETECTOR_VALUES, *options, name=name)


def classifier_file(folder: Path, *options: str, name: str = "tiny-classifier") -> Path:
    return model_file(folder, CLASSIFIER, CLASSIFIER_VALUES, *options, name=name)


def same_detections(a: Detections, b: Detections) -> bool:
    arrays = ("boxes_xyxy", "scores", "class_ids")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays) and a.labels == b.labels


def models_folder(folder: Path) -> Path:
    """Fill a folder with the tiny detector and classifier, their labels, and the cfg of another network."""
    (folder / "names").write_text("red\ngreen\nblue\n")
    detector_file(folder, "--labels", str(folder / "names"))
    classifier_file(folder, "--labels", str(folder / "names"))
    (folder / "small.cfg").write_text(SMALL)
    return folder
