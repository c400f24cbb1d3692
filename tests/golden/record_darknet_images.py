"""Record what Darknet's own C code makes of small pictures: letterbox, crop, and boxes led back.

    python tests/golden/record_darknet_images.py LIBDARKNET.so "pjreddie/darknet f6afaab"

LIBDARKNET.so is built from that commit for the CPU without OpenCV (for AlexeyAB's fork: LIBSO=1 AVX=0). The text names
program and commit; its owner names the file: `darknet_images_pjreddie.npz`. Recorded:

* `letterbox H W h w`: `letterbox_image` of an H × W picture to an h × w input;
* `crop H W h w`: `resize_min` to w, then `crop_image` of the centre, as the classifier programs call them;
* `... last row`: what the last row of the picture should be and at some sizes is not: the first row that the same calls
  make of the picture upside down, whose weights are exactly 1 and 0;
* `boxes`, one row a case of LETTERBOX: what `correct_yolo_boxes` makes of BOXES, in pixels.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Height and width of the picture, then of the network input.
LETTERBOX = [
    (24, 32, 16, 16),  # wide
    (32, 24, 16, 16),  # tall
    (20, 33, 16, 16),  # 9 rows of 16: an odd margin
    (33, 20, 12, 17),  # 7 columns of 17, on an input that is not square
    (7, 5, 19, 15),  # enlarged
    (12, 10, 12, 10),  # the size it has
    (6, 1, 12, 9),  # one pixel wide
    (1, 4, 9, 8),  # one pixel high
    (1, 1, 5, 7),
    (480, 2, 240, 1),  # the last row is almost black, as for 640 x 480 to 320
    (427, 2, 405, 2),  # the same, as for 640 x 427 to 608
    (14, 10, 12, 12),  # the same
    (9, 8, 15, 8),  # margins above and below the picture, none beside it
]
CROP = [
    (24, 32, 16, 16),
    (32, 24, 16, 16),
    (20, 33, 15, 15),
    (7, 5, 12, 12),
    (12, 12, 12, 12),
    (6, 1, 4, 4),
    (14, 20, 12, 12),  # the last row is almost black
    (24, 32, 19, 12),  # 7 rows more than the resized picture has: its edge rows are repeated
    (40, 24, 11, 14),
]
# Centre x, centre y, width, height in fractions of the network input.
BOXES = np.array([[0.5, 0.5, 1, 1], [0.25, 0.4, 0.1, 0.3], [0.9, 0.7, 0.35, 0.05]], np.float32)


class CImage(ctypes.Structure):
    """Darknet's `image`: a CHW float picture."""

    _fields_ = [
        ("w", ctypes.c_int),
        ("h", ctypes.c_int),
        ("c", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_float)),
    ]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return an (height, width, 3) picture of scrambled values, the same on every machine."""
    y, x, c = np.ogrid[:height, :width, :3]
    return ((y * y * 31 + x * x * 7 + x * y * 13 + y * 57 + x * 91 + c * 101) % 256).astype(np.uint8)


def load_darknet(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(str(Path(path).resolve()))
    for name, integers in {"letterbox_image": 2, "resize_min": 1, "crop_image": 4}.items():
        getattr(library, name).argtypes = [CImage] + [ctypes.c_int] * integers
        getattr(library, name).restype = CImage
    return library


def call(function: Callable, pixels: NDArray, *arguments: int) -> NDArray[np.float32]:
    """Call a function of Darknet on HWC values and return the CHW picture it makes."""
    values = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
    data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    result = function(CImage(pixels.shape[1], pixels.shape[0], 3, data), *arguments)
    return np.ctypeslib.as_array(result.data, (3, result.h, result.w)).copy()


def letterbox(darknet: ctypes.CDLL, values: NDArray, height: int, width: int) -> NDArray[np.float32]:
    return call(darknet.letterbox_image, values, width, height)


def crop(darknet: ctypes.CDLL, values: NDArray, height: int, width: int) -> NDArray[np.float32]:
    resized = call(darknet.resize_min, values, width).transpose(1, 2, 0)
    left, top = int((resized.shape[1] - width) / 2), int((resized.shape[0] - height) / 2)
    return call(darknet.crop_image, resized, left, top, width, height)


def boxes_in_pixels(darknet: ctypes.CDLL, H: int, W: int, height: int, width: int) -> NDArray[np.float32]:
    """Lead BOXES back, one at a time: both forks' `detection` begins with its box and is shorter than this buffer."""
    corrected = []
    for box in BOXES:
        detection = np.zeros(256, np.float32)
        detection[:4] = box
        relative, letterboxed = 0, 1  # only AlexeyAB's takes the second; pjreddie's does not look at it
        darknet.correct_yolo_boxes(
            detection.ctypes.data_as(ctypes.c_void_p), 1, W, H, width, height, relative, letterboxed
        )
        corrected.append(detection[:4])
    return np.array(corrected)


def last_row(darknet: ctypes.CDLL, function: Callable, values: NDArray, height: int, width: int) -> NDArray[np.float32]:
    """Return what the picture's last row should be: the first row of the picture upside down."""
    upside_down = function(darknet, values[::-1], height, width)
    first = next(y for y in range(height) if not np.all(upside_down[:, y] == 0.5))  # below the grey rows
    return upside_down[:, first]


def main(library: str, program: str) -> None:
    darknet = load_darknet(library)
    recorded = {
        "generator": np.array(f"{program}, CPU; tests/golden/record_darknet_images.py LIBDARKNET.so '{program}'")
    }
    for name, function, cases in (("letterbox", letterbox, LETTERBOX), ("crop", crop, CROP)):
        for H, W, height, width in cases:
            key = f"{name} {H} {W} {height} {width}"
            values = (picture(H, W) / 255.0).astype(np.float32)  # as load_image_stb
            recorded[key] = function(darknet, values, height, width)
            if name == "letterbox" or (H <= W and height == width):  # else the crop leaves the last row out
                recorded[f"{key} last row"] = last_row(darknet, function, values, height, width)
    recorded["boxes"] = np.array([boxes_in_pixels(darknet, *case) for case in LETTERBOX])
    owner = program.split("/")[0].lower()
    np.savez_compressed(Path(__file__).parent / f"darknet_images_{owner}.npz", **recorded)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
