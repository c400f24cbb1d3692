"""From an image to the tensor a network takes, and from the network's boxes back to the image.

Three steps: :func:`read_image` gives RGB pixels, :func:`prepare` fits them to a network's size and scale, and the
:class:`Placement` it returns leads boxes back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pure_detect.image_file import checked_pixels, read_image
from pure_detect.resize import align_corners, bilinear, resize_half_pixel, sample

__all__ = ["RESIZE_MODES", "Placement", "Preprocessing", "prepare", "read_image"]

RESIZE_MODES: tuple[str, ...] = (
    "stretch",
    "stretch-float",
    "tensorflow",
    "letterbox",
    "letterbox-darknet",
    "top-left",
    "top-left-pillow",
    "crop",
    "crop-darknet",
)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of R, G and B from 0 to 1
GREY = 127.5  # Darknet's letterbox fill: 0.5 at scale 1/255


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its input: value = (pixel · scale - mean) / std, after `resize`.

    Parameters
    ----------
    resize : str
        `stretch`: both axes to the network's size by half-pixel bilinear on 8-bit pixels, as OpenCV's blobFromImage.
        `stretch-float`: the same on floats, not rounded to 8 bits, as torchvision's detectors.
        `tensorflow`: both axes by TensorFlow 1's bilinear, input = output · in/out, no half pixel.
        `letterbox`: the whole picture at its own proportions on grey, by align-corners bilinear, as Darknet.
        `letterbox-darknet`: the same with the almost black last row Darknet's C code makes at some sizes.
        `top-left`: the whole picture at its own proportions in the top left corner, zeros (after `mean`) around it, by
        half-pixel bilinear on floats, as google/automl's EfficientDet.
        `top-left-pillow`: the same by Pillow's bicubic on 8-bit pixels, on the mean colour, as effdet.
        `crop`: for classifiers, the shorter side to the network's by the sampling of `stretch`, then the centre.
        `crop-darknet`: the same by align-corners bilinear, as Darknet.
    scale : float
        Multiplies pixel values 0 ... 255.
    mean, std : three floats
        For R, G and B: subtracted after `scale`, then divided by.

    Raises
    ------
    ValueError
        If the mode is unknown, or a number is not finite, or `scale` or `std` not positive.
    """

    resize: str = "stretch"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the values; numbers may come as NumPy scalars and arrays, as from a weight file."""
        if self.resize not in RESIZE_MODES:
            raise ValueError(f"resize: expected one of {', '.join(RESIZE_MODES)}, found {self.resize!r}")
        object.__setattr__(self, "scale", _finite("scale", (self.scale,), count=1, positive=True)[0])
        object.__setattr__(self, "mean", _finite("mean", self.mean, count=3, positive=False))
        object.__setattr__(self, "std", _finite("std", self.std, count=3, positive=True))


def _finite(name: str, numbers: Any, *, count: int, positive: bool) -> tuple[float, ...]:
    kind = "positive finite" if positive else "finite"
    try:
        values = tuple(float(number) for number in numbers)
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not all(math.isfinite(v) and (v > 0 or not positive) for v in values):
        raise ValueError(f"{name}: expected {count} {kind} number{'s' * (count > 1)}, found {numbers!r}")
    return values


@dataclass(frozen=True)
class Placement:
    """Where the picture lies inside the network input, all in pixels.

    The picture was resized to `resized_height` × `resized_width`, and its corner put at (`top`, `left`) of the input:
    halves under letterbox where a margin is odd, negative under crop. Where `scale` is given, boxes go back by it, and
    not by the resized size, which was cut from it to whole pixels.
    """

    picture_height: int
    picture_width: int
    input_height: int
    input_width: int
    resized_height: int
    resized_width: int
    top: float
    left: float
    scale: float | None = None

    def to_picture(self, boxes_xyxy_unit: ArrayLike) -> NDArray:
        """Return boxes in pixels of the picture, not clipped to it.

        x_pixels = (x_unit · input_width - left) · picture_width / resized_width, and the same for y; or over `scale`.

        Parameters
        ----------
        boxes_xyxy_unit : (M, 4) floating
            x1, y1, x2, y2 as fractions of the network input.

        Returns
        -------
        (M, 4), of the same floating dtype
            x1, y1, x2, y2 in pixels.

        Source
        ------
        pjreddie/darknet f6afaab `src/yolo_layer.c` `correct_yolo_boxes`. Under letterbox its margin is a float half,
        although the picture was put at a whole pixel.
        """
        boxes = np.asarray(boxes_xyxy_unit)
        inputs = np.array([self.input_width, self.input_height] * 2, np.float64)
        corners = np.array([self.left, self.top] * 2, np.float64)
        pictures = np.array([self.picture_width, self.picture_height] * 2, np.float64)
        dtype = boxes.dtype if np.issubdtype(boxes.dtype, np.floating) else np.float64
        return ((boxes * inputs - corners) * (pictures / self._filled())).astype(dtype)

    def clip_to_picture(self, boxes_xyxy_unit: NDArray) -> NDArray:
        """Return boxes (M, 4), as fractions of the network input, clipped to the part that the picture fills."""
        inputs = np.array([self.input_width, self.input_height] * 2, np.float64)
        low = np.array([self.left, self.top] * 2) / inputs
        high = low + self._filled() / inputs
        return np.clip(boxes_xyxy_unit, low.clip(0, 1), high.clip(0, 1)).astype(boxes_xyxy_unit.dtype)

    def _filled(self) -> NDArray[np.float64]:
        """Return (width, height, width, height) of the resized picture, as boxes see it."""
        if self.scale is not None:
            return np.array([self.picture_width, self.picture_height] * 2) * self.scale
        return np.array([self.resized_width, self.resized_height] * 2, np.float64)


def prepare(
    pixels: NDArray[np.uint8], height: int, width: int, preprocessing: Preprocessing
) -> tuple[NDArray[np.float32], Placement]:
    """Fit RGB pixels to a network's input size and scale.

    `stretch` and `crop` resize 8-bit pixels, then scale them: equal to OpenCV in every bit. The other modes scale
    first and resize floats: Darknet's are equal to it at scale 1/255 in every bit, where `letterbox` and
    `crop-darknet` differ only in the last row of the resized picture (see
    :func:`pure_detect.resize.align_corners`). `top-left-pillow` leaves 8-bit pixels to Pillow. Mean and std follow.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB.
    height, width : int
        Size of the network input.
    preprocessing : Preprocessing

    Returns
    -------
    tensor : (3, height, width) float32, C-contiguous
    placement : Placement

    Raises
    ------
    InputError
        If the pixels have another shape or dtype.
    ValueError
        If the size is not positive.
    """
    if height < 1 or width < 1:
        raise ValueError(f"network input: expected a positive height and width, found {height} x {width}")
    pixels = checked_pixels(pixels)
    mode, scale = preprocessing.resize, preprocessing.scale
    H, W = pixels.shape[:2]
    placement = PLACE[mode](H, W, height, width)
    if mode in ("stretch", "crop"):
        tensor = _half_pixel(pixels, placement) * np.float32(scale)
    elif mode in ("stretch-float", "tensorflow"):
        tensor = _stretched(pixels, placement, scale, half_pixel=mode == "stretch-float")
    elif mode == "crop-darknet":
        tensor = _cropped(pixels, placement, scale)
    elif mode == "top-left":
        tensor = _top_left(pixels, placement, preprocessing)
    elif mode == "top-left-pillow":
        tensor = _top_left_pillow(pixels, placement, preprocessing)
    else:
        tensor = _letterboxed(pixels, placement, scale, darknet_last=mode == "letterbox-darknet")
    tensor -= np.array(preprocessing.mean, np.float32)[:, None, None]
    tensor /= np.array(preprocessing.std, np.float32)[:, None, None]
    return tensor, placement


def _place_stretch(H: int, W: int, height: int, width: int) -> Placement:
    return Placement(H, W, height, width, height, width, top=0, left=0)


def _place_letterbox(H: int, W: int, height: int, width: int) -> Placement:
    """Let the tighter axis decide, compared in float32 as in Darknet's `letterbox_image`.

    Of a picture so long that Darknet would leave no row or column of it, one is kept.
    """
    if np.float32(width) / np.float32(W) < np.float32(height) / np.float32(H):
        resized_height, resized_width = max(1, H * width // W), width
    else:
        resized_height, resized_width = height, max(1, W * height // H)
    top, left = (height - resized_height) / 2, (width - resized_width) / 2
    return Placement(H, W, height, width, resized_height, resized_width, top, left)


def _place_top_left(H: int, W: int, height: int, width: int) -> Placement:
    """Scale by the tighter axis in float32, and cut both sizes to whole pixels: some long sides lose one.

    Source: google/automl 6a54c87 `efficientdet/dataloader.py`, set_scale_factors_to_output_size.
    """
    scale = min(np.float32(height) / np.float32(H), np.float32(width) / np.float32(W))
    resized_height, resized_width = int(np.float32(H) * scale), int(np.float32(W) * scale)
    return Placement(H, W, height, width, max(1, resized_height), max(1, resized_width), 0, 0, float(scale))


def _place_top_left_pillow(H: int, W: int, height: int, width: int) -> Placement:
    """Do the same in float64. Source: effdet 0.4.1 `data/transforms.py`, ResizePad."""
    scale = min(height / H, width / W)
    return Placement(H, W, height, width, max(1, int(H * scale)), max(1, int(W * scale)), 0, 0, scale)


def _place_crop(H: int, W: int, height: int, width: int) -> Placement:
    """Cover the input with the picture, as small as that goes, and take the centre; odd margins floor at the left."""
    if W * height >= H * width:
        resized_height, resized_width = height, max(width, round(W * height / H))
    else:
        resized_height, resized_width = max(height, round(H * width / W)), width
    top, left = -((resized_height - height) // 2), -((resized_width - width) // 2)
    return Placement(H, W, height, width, resized_height, resized_width, top, left)


def _place_crop_darknet(H: int, W: int, height: int, width: int) -> Placement:
    """Bring the shorter side to the input's *width*, then take the centre, as AlexeyAB's `predict_classifier`.

    That is `resize_min` and `crop_image`, also used by both forks' validation. (pjreddie's `predict_classifier`
    letterboxes; his `validate_classifier_single` crops the largest square and then resizes it.)
    """
    if W < H:
        resized_height, resized_width = H * width // W, width
    else:
        resized_height, resized_width = width, W * width // H
    top, left = -int((resized_height - height) / 2), -int((resized_width - width) / 2)  # C rounds towards zero
    return Placement(H, W, height, width, resized_height, resized_width, top, left)


PLACE = {
    "stretch": _place_stretch,
    "stretch-float": _place_stretch,
    "tensorflow": _place_stretch,
    "letterbox": _place_letterbox,
    "letterbox-darknet": _place_letterbox,
    "top-left": _place_top_left,
    "top-left-pillow": _place_top_left_pillow,
    "crop": _place_crop,
    "crop-darknet": _place_crop_darknet,
}


def _scaled_values(scale: float) -> NDArray[np.float32]:
    """Return what each of the 256 pixel values becomes: one table instead of a float copy of the picture."""
    return (np.arange(256) * scale).astype(np.float32)


def _half_pixel(pixels: NDArray[np.uint8], placement: Placement) -> NDArray[np.float32]:
    """Resize 8-bit pixels, only the part that the network sees: all of it under `stretch`."""
    top, left = -int(placement.top), -int(placement.left)
    rows, columns = slice(top, top + placement.input_height), slice(left, left + placement.input_width)
    height, width = placement.resized_height, placement.resized_width
    return resize_half_pixel(pixels, height, width, rows=rows, columns=columns).astype(np.float32)


def _stretched(
    pixels: NDArray[np.uint8], placement: Placement, scale: float, *, half_pixel: bool
) -> NDArray[np.float32]:
    """Sample the whole picture in floats."""
    rows = bilinear(placement.input_height, placement.picture_height, half_pixel=half_pixel)
    columns = bilinear(placement.input_width, placement.picture_width, half_pixel=half_pixel)
    return sample(pixels, _scaled_values(scale), rows, columns)


def _letterboxed(
    pixels: NDArray[np.uint8], placement: Placement, scale: float, *, darknet_last: bool
) -> NDArray[np.float32]:
    """Sample the whole picture onto grey."""
    H, W = placement.resized_height, placement.resized_width
    rows = align_corners(np.arange(H), H, placement.picture_height, darknet_last=darknet_last)
    columns = align_corners(np.arange(W), W, placement.picture_width)
    canvas = np.full((3, placement.input_height, placement.input_width), GREY * scale, np.float32)
    top, left = int(placement.top), int(placement.left)
    canvas[:, top : top + H, left : left + W] = sample(pixels, _scaled_values(scale), rows, columns)
    return canvas


def _top_left(pixels: NDArray[np.uint8], placement: Placement, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Sample the whole picture onto what the mean will turn into zeros."""
    H, W = placement.resized_height, placement.resized_width
    rows = bilinear(H, placement.picture_height, half_pixel=True)
    columns = bilinear(W, placement.picture_width, half_pixel=True)
    canvas = np.empty((3, placement.input_height, placement.input_width), np.float32)
    canvas[:] = np.array(preprocessing.mean, np.float32)[:, None, None]
    canvas[:, :H, :W] = sample(pixels, _scaled_values(preprocessing.scale), rows, columns)
    return canvas


def _top_left_pillow(
    pixels: NDArray[np.uint8], placement: Placement, preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Let Pillow resize, which averages where it shrinks, onto the mean colour in whole numbers."""
    H, W = placement.resized_height, placement.resized_width
    resized = Image.fromarray(pixels).resize((W, H), Image.Resampling.BICUBIC)
    canvas = np.empty((placement.input_height, placement.input_width, 3), np.uint8)
    canvas[:] = [min(max(round(value / preprocessing.scale), 0), 255) for value in preprocessing.mean]
    canvas[:H, :W] = np.asarray(resized)
    return canvas.transpose(2, 0, 1).astype(np.float32, order="C") * np.float32(preprocessing.scale)


def _cropped(pixels: NDArray[np.uint8], placement: Placement, scale: float) -> NDArray[np.float32]:
    """Sample only the cropped part; where the input is larger than the resized picture, repeat the picture's edge."""
    H, W = placement.resized_height, placement.resized_width
    y = np.clip(np.arange(placement.input_height) - int(placement.top), 0, H - 1)
    x = np.clip(np.arange(placement.input_width) - int(placement.left), 0, W - 1)
    rows, columns = align_corners(y, H, placement.picture_height), align_corners(x, W, placement.picture_width)
    return sample(pixels, _scaled_values(scale), rows, columns)
