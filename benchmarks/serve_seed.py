"""The seed's own design, as `benchmarks/serve.py` measures it: OpenCV's DNN under Flask, an address in, boxes out.

    SEED_CFG=... SEED_WEIGHTS=... SEED_LABELS=... gunicorn --workers 1 --threads 8 serve_seed:app

One network a process, as in the article's `ml_models_api`; it holds state between its calls, so a lock guards it.
"""

from __future__ import annotations

import os
import threading
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from flask import Flask, Response, jsonify, request

SIZE, SCORE, IOU = 320, 0.5, 0.45

net = cv2.dnn.readNetFromDarknet(os.environ["SEED_CFG"], os.environ["SEED_WEIGHTS"])
outputs = net.getUnconnectedOutLayersNames()
labels = Path(os.environ["SEED_LABELS"]).read_text().splitlines()
lock = threading.Lock()
app = Flask(__name__)


def detect(image: np.ndarray) -> list[dict[str, Any]]:
    blob = cv2.dnn.blobFromImage(image, 1 / 255, (SIZE, SIZE), swapRB=True)
    with lock:
        net.setInput(blob)
        rows = np.concatenate(net.forward(outputs))
    classes = rows[:, 5:].argmax(axis=1)
    scores = rows[np.arange(len(rows)), 5 + classes]
    keep = scores > SCORE
    height, width = image.shape[:2]
    centres, sizes = rows[keep, :2] * [width, height], rows[keep, 2:4] * [width, height]
    boxes = np.concatenate([centres - sizes / 2, sizes], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores[keep].tolist(), classes[keep].tolist(), SCORE, IOU)
    return [
        {
            "bbox": boxes[i].round(3).tolist(),
            "confidence": float(scores[keep][i]),
            "label": labels[classes[keep][i]],
        }
        for i in kept
    ]


@app.get("/predict/v1")
def predict() -> Response:
    with urllib.request.urlopen(request.args["image_url"], timeout=10) as answer:
        image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    return jsonify(detect(image))


@app.get("/healthz")
def healthz() -> Response:
    return jsonify(status="ok")
