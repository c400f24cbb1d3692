"""YOLO heads and non-maximum suppression against OpenCV's DNN module."""

from __future__ import annotations

import numpy as np
import pytest

from pure_detect.boxes.coordinates import xyxy_to_cxcywh
from pure_detect.boxes.decode_yolo import RegionHead, YoloHead, decode_yolo
from pure_detect.boxes.nms import nms

cv2 = pytest.importorskip("cv2", reason="needs the extra parity")
pytestmark = pytest.mark.parity

H, W, STRIDE, CLASSES, THRESHOLD = 3, 5, 8, 4, 0.001
ANCHORS = ((20.0, 14.0), (34.0, 30.0), (60.0, 26.0))
CELL_ANCHORS = ((1.25, 0.75), (2.5, 2.0), (3.5, 1.5))
PLANES = 3 * (5 + CLASSES)
CHANNELS = 2


def cfg(section, anchors, keys="", activation="linear"):
    """Return a Darknet network of one strided 1x1 convolution and a head, as OpenCV takes it from memory."""
    pairs = ", ".join(f"{width},{height}" for width, height in anchors)
    text = f"""
[net]
width={W * STRIDE}
height={H * STRIDE}
channels={CHANNELS}
[convolutional]
filters={PLANES}
size=1
stride={STRIDE}
activation={activation}
[{section}]
anchors={pairs}
num=3
classes={CLASSES}
thresh={THRESHOLD}
{keys}
"""
    return np.frombuffer(text.encode(), np.uint8)


def weights(random):
    """Return a .weights file: header, then the convolution's biases and weights."""
    header = np.array([0, 2, 5, 0, 0], np.int32).tobytes()
    numbers = random.normal(0, 0.7, PLANES * (1 + CHANNELS)).astype(np.float32)
    return np.frombuffer(header + numbers.tobytes(), np.uint8)


def opencv_head(network_cfg, seed):
    """Return the raw head (planes, h, w) and OpenCV's rows (cx, cy, w, h, objectness, scores)."""
    random = np.random.default_rng(seed)
    network = cv2.dnn.readNetFromDarknet(network_cfg, weights(random))
    network.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    image = random.normal(0, 1, (1, CHANNELS, H * STRIDE, W * STRIDE)).astype(np.float32)
    network.setInput(image)
    convolution, _permute, head = network.getLayerNames()[-3:]
    raw, rows = (output.copy() for output in network.forward([convolution, head]))
    return raw.reshape(PLANES, H, W), rows.reshape(-1, 5 + CLASSES)


YOLO_KEYS = "mask=0,1,2"
CASES = {
    "yolo": (cfg("yolo", ANCHORS, YOLO_KEYS), YoloHead("head", ANCHORS, CLASSES)),
    "yolo scaled": (
        cfg("yolo", ANCHORS, f"{YOLO_KEYS}\nscale_x_y=1.2"),
        YoloHead("head", ANCHORS, CLASSES, scale_x_y=1.2),
    ),
    "yolo new_coords": (
        cfg("yolo", ANCHORS, f"{YOLO_KEYS}\nscale_x_y=2.0\nnew_coords=1", activation="logistic"),
        YoloHead("head", ANCHORS, CLASSES, scale_x_y=2.0, new_coords=True),
    ),
    "region": (cfg("region", CELL_ANCHORS, "softmax=1"), RegionHead("head", CELL_ANCHORS, CLASSES)),
}


@pytest.mark.parametrize("case", CASES)
def test_opencv_decodes_the_same_rows_in_the_same_order(case):
    network_cfg, head = CASES[case]
    raw, rows = opencv_head(network_cfg, seed=list(CASES).index(case))
    boxes, scores = decode_yolo(raw.astype(np.float64), head, H * STRIDE, W * STRIDE)
    scores[scores <= THRESHOLD] = 0  # as OpenCV does
    if isinstance(head, RegionHead):
        scores = suppressed(boxes, scores, 0.4)
    assert len(rows) == H * W * 3
    np.testing.assert_allclose(xyxy_to_cxcywh(boxes), rows[:, :4], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(scores, rows[:, 5:], rtol=0, atol=1e-6)


def suppressed(boxes, scores, iou_threshold):
    """Return the scores with 0 for what per-class NMS drops: OpenCV's region layer does that by itself."""
    box_ids, class_ids = np.nonzero(scores)
    keep = nms(boxes[box_ids], scores[box_ids, class_ids], class_ids, iou_threshold)
    result = np.zeros_like(scores)
    result[box_ids[keep], class_ids[keep]] = scores[box_ids[keep], class_ids[keep]]
    return result


def test_opencv_reports_the_objectness_that_the_scores_already_hold():
    raw, rows = opencv_head(CASES["yolo"][0], seed=0)
    logits = raw.reshape(3, 5 + CLASSES, H, W)[:, 4].transpose(1, 2, 0).ravel()
    np.testing.assert_allclose(rows[:, 4], 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)


def random_boxes(seed, count):
    """Return pixel boxes (K, 4), one of them without area, and scores of which many are equal."""
    random = np.random.default_rng(seed)
    corners, sizes = random.integers(0, 300, (count, 2)), random.integers(8, 120, (count, 2))
    sizes[count // 2] = 0
    return np.concatenate([corners, corners + sizes], axis=1) / 1.0, random.integers(1, 33, count) / 32


def opencv_nms(boxes, scores, threshold):
    """Return what NMSBoxes keeps of boxes given by their corners."""
    left_top_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.array(cv2.dnn.NMSBoxes(left_top_size.tolist(), scores.tolist(), 0.0, threshold))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_opencv_keeps_the_same_boxes_in_the_same_order(threshold, seed):
    boxes, scores = random_boxes(seed, 200)
    ours = nms(boxes, scores, np.arange(200), threshold, class_agnostic=True)
    np.testing.assert_array_equal(ours, opencv_nms(boxes, scores, threshold))
    assert threshold > 0.5 or len(ours) < 200


def test_opencv_alone_lets_boxes_without_area_suppress_each_other():
    boxes = np.array([[0, 0, 0, 0], [50, 50, 50, 50], [80, 80, 80, 80], [10, 10, 20, 20]], np.float64)
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    np.testing.assert_array_equal(opencv_nms(boxes, scores, 0.5), [0, 3])
    np.testing.assert_array_equal(nms(boxes, scores, np.zeros(4, int), 0.5), [0, 1, 2, 3])
