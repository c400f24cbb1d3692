"""One picture of several results on one scene, side by side under their titles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pure_detect.demo.scenes import Scene
from pure_detect.detections import Detections
from pure_detect.draw import draw
from pure_detect.draw.fonts import legible

# A scene is shown enlarged until its labels have room.
SHORTER_SIDE = 400
GAP, PAPER, INK = 16, (255, 255, 255), (30, 30, 30)


class Panel(NamedTuple):
    """A result and what stands above it."""

    title: str
    detections: Detections


def draw_panels(scene: Scene, panels: Sequence[Panel]) -> Image.Image:
    """Draw the results, each on its own copy of the scene."""
    scale = max(1, math.ceil(SHORTER_SIDE / min(scene.pixels.shape[:2])))
    pixels = np.ascontiguousarray(scene.pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    height, width = pixels.shape[:2]
    font_size = round(8 + math.sqrt(height * width) / 40)
    title_height = 2 * font_size
    sheet = Image.new("RGB", (len(panels) * (width + GAP) + GAP, title_height + height + GAP), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for i, panel in enumerate(panels):
        left = GAP + i * (width + GAP)
        text, font = legible(panel.title, font_size)
        canvas.text((left + width / 2, title_height / 2), text, INK, font, anchor="mm")
        sheet.paste(draw(pixels, _enlarged(panel.detections, scale)), (left, title_height))
    return sheet


def _enlarged(found: Detections, scale: int) -> Detections:
    boxes = found.boxes_xyxy * np.float32(scale)
    return Detections(boxes, found.scores, found.class_ids, found.labels, found.height * scale, found.width * scale)
