"""OpenCV's Darknet importer as the framework on the other side, run as the seed's notebooks run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="needs the extra parity")


def with_low_threshold(cfg: str) -> str:
    """Return the cfg with `thresh=0.001` in every head: by itself OpenCV zeroes cells whose scores stay under 0.2."""
    cfg = re.sub(r"(?m)^thresh\s*=.*$", "", cfg)
    return re.sub(r"(?m)^\[(yolo|region)\]", r"[\1]\nthresh=0.001", cfg)


def read_net(cfg: str, weights: Path) -> Any:
    """Return OpenCV's network of a cfg's text and a weights file."""
    buffers = (np.frombuffer(content, np.uint8) for content in (cfg.encode(), weights.read_bytes()))
    net = cv2.dnn.readNetFromDarknet(*buffers)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableWinograd(False)  # its float32 transforms cost an order of accuracy, which an oracle should have
    return net


def blob(image: Path, height: int, width: int) -> np.ndarray:
    """Return the network input of an image file: stretched, RGB, 0 to 1."""
    return cv2.dnn.blobFromImage(cv2.imread(str(image)), 1 / 255, (width, height), swapRB=True, crop=False)


def detect(
    cfg: str, weights: Path, image: Path, height: int, width: int, score: float, iou: float = 0.45
) -> list[tuple[int, float, np.ndarray]]:
    """Return (class, score, clipped box in pixels) of OpenCV's own detection, per-class NMS, best first."""
    net = read_net(with_low_threshold(cfg), weights)
    net.setInput(blob(image, height, width))
    rows = np.concatenate([out.reshape(-1, out.shape[-1]) for out in net.forward(net.getUnconnectedOutLayersNames())])
    picture_height, picture_width = cv2.imread(str(image)).shape[:2]
    scale = np.array([picture_width, picture_height, picture_width, picture_height])
    centre, size = rows[:, :2], rows[:, 2:4]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * scale
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    found = []
    for class_id in range(rows.shape[1] - 5):
        scores = rows[:, 5 + class_id].tolist()
        kept = np.ravel(cv2.dnn.NMSBoxes(xywh, scores, score, iou)).astype(int)
        found += [(class_id, scores[i], np.clip(boxes[i], 0, scale)) for i in kept]
    return sorted(found, key=lambda item: -item[1])
