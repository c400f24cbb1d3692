"""The real pretrained Darknet networks that lie beside the project, as the tests use them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pure_detect.graph import BatchNormRule
from weights_convert.cli import main as weights_convert


class RealModel(NamedTuple):
    """Files under `data/weights`, and the size of the network's input; a registry name may stand for the cfg."""

    cfg: str
    weights: str
    labels: str
    size: int
    iou: float = 0.45


COCO_NAMES = "yolo_fastest/coco.names"
FASTEST = RealModel("yolo_fastest/yolo-fastest-1.1-xl.cfg", "yolo_fastest/yolo-fastest-1.1-xl.weights", COCO_NAMES, 320)
NANO = RealModel(
    "yolov3_nano/MobileNetV2-YOLOv3-Nano-coco.cfg", "yolov3_nano/MobileNetV2-YOLOv3-Nano-coco.weights", COCO_NAMES, 320
)
# OpenCV's region layer suppresses at 0.4 before anything else, so ours is asked for the same.
YOLO_LITE = RealModel("yolo_lite/trial6.cfg", "yolo_lite/trial6_653550.weights", COCO_NAMES, 224, iou=0.4)
TINY_DARKNET = RealModel(
    "tiny_darknet/tiny.cfg", "tiny_darknet/tiny.weights", "tiny_darknet/imagenet.shortnames.list", 224
)
SSDLITE_SMALL = RealModel(
    "ssdlite-mobilenetv3-small", "ssdlite_mobilenetv3_small/ssd_mobilenet_v3_int8.tflite", "", 320
)
DETECTORS = {"yolo-fastest-1.1-xl": FASTEST, "yolov3-nano": NANO, "yolo-lite": YOLO_LITE}

OPENCV_RULE = BatchNormRule(1e-6, inside=True)


def convert(data: Path, model: RealModel, out: Path, *options: str) -> Path:
    """Convert a model's weights with the command that users run; return the file."""
    folder = data / "weights"
    cfg = str(folder / model.cfg) if model.cfg.endswith(".cfg") else model.cfg
    labels = ["--labels", str(folder / model.labels)] if model.labels else []
    status = weights_convert([str(folder / model.weights), "--model", cfg, *labels, "--out", str(out), *options])
    assert status == 0
    return out
