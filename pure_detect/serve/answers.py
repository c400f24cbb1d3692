"""The forms in which detections are answered."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pure_detect.detections import Detections
from pure_detect.draw import draw

FASTEST_PNG = 1  # the compression level: a large photograph takes half a second, not five


class Answer(NamedTuple):
    """A body and its media type."""

    body: bytes
    type: str


def predictions(found: Detections) -> list[dict[str, Any]]:
    """Return detections as the seed's service answers them; the numbers are those of `pure-detect detect`."""
    entries = []
    for entry in found.to_json():
        x1, y1, x2, y2 = entry["box_xyxy"]
        bbox = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
        entries.append({"bbox": bbox, "confidence": entry["score"], "label": entry["label"]})
    return entries


def json_answer(value: Any) -> Answer:
    """Return any value as JSON."""
    return Answer(json.dumps(value, ensure_ascii=False).encode(), "application/json")


def as_list(pixels: NDArray[np.uint8], found: Detections, model: str) -> Answer:
    """Return the list of detections."""
    return json_answer(predictions(found))


def annotated(pixels: NDArray[np.uint8], found: Detections, model: str) -> Answer:
    """Return the picture with the boxes drawn, as a PNG."""
    out = io.BytesIO()
    draw(pixels, found).save(out, "PNG", compress_level=FASTEST_PNG)
    return Answer(out.getvalue(), "image/png")


def full(pixels: NDArray[np.uint8], found: Detections, model: str) -> Answer:
    """Return the detections beside the picture as the detector saw it: encoded anew, never a stranger's own bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    image = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    size = {"width": found.width, "height": found.height}
    return json_answer({"model": model, **size, "detections": predictions(found), "image": image})


ANSWERS: dict[str, Callable[[NDArray[np.uint8], Detections, str], Answer]] = {
    "json": as_list,
    "annotated": annotated,
    "full": full,
}
