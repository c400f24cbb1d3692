"""`demo-yolo` in two frameworks with post-processing of their own: what its average precision here is compared with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from darknet_module import DarknetModule
from scenes_folder import LIMIT, SCORE
from yolo import IOU, detect, write_weights

from pure_detect.loading import read_file

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes_xyxy in pixels, scores, class ids from 0, the best first
Detect = Callable[[np.ndarray], Found]


def module_of(weights: Path) -> tuple[DarknetModule, str]:
    """Return a weight file's network in PyTorch, and its cfg's text."""
    header, network, parameters = read_file(weights)
    module = DarknetModule(network.build(rule=header.batch_norm_rule)).eval()
    module.load(parameters)
    return module, str(network.cfg)


def pytorch(weights: Path) -> Detect:
    """Return a function from a picture (H, W, 3), RGB, as large as the network's input, to its objects."""
    module, _ = module_of(weights)
    return lambda pixels: detect(module, torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)))[0]


def opencv(weights: Path) -> Detect:
    """Return the same on OpenCV's DNN, which reads the cfg and Darknet's `.weights`, and has its own NMSBoxes.

    OpenCV's batch norm has an epsilon of 1e-6 in place of the 1e-5 of training.
    """
    module, cfg = module_of(weights)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demo-yolo.weights"
        write_weights(module, file, pictures=0)
        # By itself OpenCV zeroes the scores of cells whose objectness stays under 0.2.
        text = cfg.replace("[yolo]", "[yolo]\nthresh=0.001")
        net = cv2.dnn.readNetFromDarknet(np.frombuffer(text.encode(), np.uint8), np.fromfile(file, np.uint8))
    return lambda pixels: _run_opencv(net, pixels)


def _run_opencv(net: cv2.dnn.Net, pixels: np.ndarray) -> Found:
    height, width = pixels.shape[:2]
    net.setInput(cv2.dnn.blobFromImage(pixels, 1 / 255, (width, height)))
    rows = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))  # centre, size, objectness, class scores
    sizes = rows[:, 2:4] * [width, height]
    corners = rows[:, :2] * [width, height] - sizes / 2
    indices, class_ids = (rows[:, 5:] > SCORE).nonzero()
    scores = rows[indices, 5 + class_ids]
    xywh = np.concatenate([corners, sizes], axis=1)[indices]
    kept = np.ravel(cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), class_ids.tolist(), SCORE, IOU))
    kept = kept[np.argsort(-scores[kept.astype(int)], kind="stable")][:LIMIT].astype(int)
    boxes = np.concatenate([xywh[kept, :2], xywh[kept, :2] + xywh[kept, 2:]], axis=1)
    return boxes.clip(0, [width, height, width, height]), scores[kept], class_ids[kept]


DETECTORS: dict[str, Callable[[Path], Detect]] = {"PyTorch": pytorch, "OpenCV": opencv}
