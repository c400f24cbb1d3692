"""Draws detections on a picture, whatever its size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pure_detect.boxes.coordinates import clip_boxes
from pure_detect.detections import Detection, Detections
from pure_detect.draw.colors import Color, class_color, text_color
from pure_detect.draw.fonts import legible
from pure_detect.draw.places import place_plates

EDGE = (0, 0, 0, 110)  # a dark rim, half transparent, that sets a bright box off from a bright picture
LONGEST_NAME = 200  # characters; whatever a file of labels may hold


class Sizes(NamedTuple):
    """What depends on the picture's size, in pixels."""

    line: int
    rim: int
    font: int
    padding: int

    @classmethod
    def of(cls, height: int, width: int) -> Sizes:
        """Return lines of 2 and letters of 11 pixels on a picture of 300 x 200, 9 and 54 on one of 4000 x 3000."""
        extent = math.sqrt(height * width)
        font = round(8 + extent / 75)
        rim = max(1, round(extent / 1500))
        return cls(line=round(1.3 + extent / 450), rim=rim, font=font, padding=rim + font // 4)


class Label(NamedTuple):
    """A label ready to be drawn: text, font, and the plate's width and height in pixels."""

    text: str
    font: ImageFont.FreeTypeFont
    size: tuple[int, int]


def draw(pixels: NDArray[np.uint8], detections: Detections) -> Image.Image:
    """Draw boxes and labels; lines, letters and margins follow the picture's size.

    Better boxes and their labels lie upon worse ones. A box wholly outside of the picture is not drawn.

    Parameters
    ----------
    pixels : (H, W, 3) uint8, RGB
    detections : Detections
        In the pixels of this picture.

    Returns
    -------
    PIL image of the same size

    Raises
    ------
    ValueError
        If the detections are those of a picture of another size.
    """
    if pixels.shape[:2] != (detections.height, detections.width):
        found = f"{detections.width} x {detections.height}"
        expected = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise ValueError(f"detections: expected those of a picture of {expected}, got of {found}")
    picture = Image.fromarray(pixels)
    width, height = picture.size
    canvas = ImageDraw.Draw(picture, "RGBA")
    sizes = Sizes.of(height, width)
    boxes, seen = _boxes_to_draw(detections, height, width)
    colors = [class_color(int(class_id)) for class_id in detections.class_ids[seen]]
    for box, color in reversed(list(zip(boxes, colors))):
        _draw_box(canvas, box, color, sizes)
    labels = [_label(detections[int(i)], sizes, width, height) for i in seen]
    with_rims = np.concatenate([boxes[:, :2] - sizes.rim, boxes[:, 2:] + 1 + sizes.rim], axis=1)
    outlines = clip_boxes(with_rims, height, width).astype(np.int64)
    plates = place_plates(outlines, np.array([label.size for label in labels]).reshape(-1, 2), height, width)
    for plate, label, color in reversed(list(zip(plates, labels, colors))):
        _draw_label(canvas, plate, label, color, sizes)
    return picture


def _boxes_to_draw(detections: Detections, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last pixel of each box on both axes, and which boxes can be seen at all.

    Sides outside of the picture stay outside, if not as far away.
    """
    size = np.array([width, height, width, height])
    boxes = np.clip(detections.boxes_xyxy.astype(np.float64), -size, 2 * size)
    seen = np.flatnonzero((boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < size[:2]).all(axis=1))
    first = np.minimum(np.rint(boxes[seen, :2]).astype(np.int64), size[:2] - 1)
    last = np.maximum(np.rint(boxes[seen, 2:]).astype(np.int64) - 1, first)
    return np.concatenate([first, last], axis=1), seen


def _draw_box(canvas: ImageDraw.ImageDraw, box: NDArray[np.int64], color: Color, sizes: Sizes) -> None:
    left, top, right, bottom = box.tolist()
    rim = sizes.rim
    canvas.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=EDGE, width=rim)
    canvas.rectangle((left, top, right, bottom), outline=color, width=sizes.line)


def _label(detection: Detection, sizes: Sizes, width: int, height: int) -> Label:
    """Return name and score; a long name is cut to the picture's width, and where nothing fits the plate is 0 x 0."""
    score = f"{detection.score:.2f}"
    name = detection.label[:LONGEST_NAME]
    text, font = legible(f"{name} {score}", sizes.font)
    while name and font.getlength(text) > width - 2 * sizes.padding:
        name = name[:-1]
        text, font = legible(f"{name.rstrip()}… {score}" if name else score, sizes.font)
    ascent, descent = font.getmetrics()
    plate = (math.ceil(font.getlength(text)) + 2 * sizes.padding, ascent + descent)
    return Label(text, font, plate if plate[0] <= width and plate[1] <= height else (0, 0))


def _draw_label(
    canvas: ImageDraw.ImageDraw, plate: NDArray[np.int64], label: Label, color: Color, sizes: Sizes
) -> None:
    left, top, right, bottom = plate.tolist()
    if right > left:
        canvas.rectangle((left, top, right - 1, bottom - 1), fill=color)
        canvas.rectangle((left, top, right - 1, bottom - 1), outline=EDGE, width=sizes.rim)
        ascent, _ = label.font.getmetrics()
        canvas.text((left + sizes.padding, top + ascent), label.text, text_color(color), label.font, anchor="ls")
