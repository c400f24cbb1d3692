"""From an image file to RGB pixels as a viewer shows them, or one line that says why not."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from pure_detect.errors import InputError

# The file names that a folder's images have.
ENDINGS = frozenset(".jpg .jpeg .jpe .jfif .png .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2".split())
LARGEST_STREAM = 1 << 28  # bytes; a picture within Pillow's limits takes less even where it is not compressed

STRIP = 1 << 22  # pixels converted at a time: a second copy of the largest pictures would take a gigabyte

# How the pixels of a picture of each EXIF orientation are turned upright; 1 is upright already.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: np.rot90(pixels),
}


def read_image(source: str | os.PathLike | Image.Image | np.ndarray) -> NDArray[np.uint8]:
    """Return the RGB pixels of an image file, a Pillow image or an array.

    The EXIF orientation is applied, transparency dropped, 16-bit grey cut to its high byte and every other mode
    converted to RGB; of an animation the first frame counts.

    Parameters
    ----------
    source : path, PIL.Image.Image, or (H, W, 3) uint8 array of RGB pixels
        A fitting array is returned as it is, not copied.

    Returns
    -------
    (H, W, 3) uint8, RGB, C-contiguous and writable

    Raises
    ------
    InputError
        If the file is missing, empty, truncated, no image or a decompression bomb, or the array of another shape or
        dtype.

    Source
    ------
    OpenCV 4.14 `imread(IMREAD_COLOR)`, whose pixels these are; CMYK differs by its rounding, at most 2 levels.
    """
    if isinstance(source, np.ndarray):
        return checked_pixels(source)
    if isinstance(source, Image.Image):
        with _decoding("the Pillow image"):
            return _upright(*_stored(source))
    try:
        path = Path(os.fsdecode(source))
    except TypeError:
        message = f"expected an image: a path, a Pillow image or an array, found {type(source).__name__}"
        raise InputError(message) from None
    with _decoding(str(path)):
        _check_file(path)
        # Of a name, Pillow would map the file into memory, and take an uncompressed TIFF on its side for another shape.
        with open(path, "rb") as file, Image.open(file) as image:
            stored, orientation = _stored(image)
        return _upright(stored, orientation)  # with the picture's own memory given back


def read_image_bytes(content: bytes, name: str) -> NDArray[np.uint8]:
    """Return the RGB pixels of a picture file that was read already, as :func:`read_image` does; `name` is for errors.

    Raises
    ------
    InputError
        If the bytes are no picture, or more than `LARGEST_STREAM`.
    """
    with _decoding(name):
        if not content:
            raise ValueError("nothing")
        if len(content) > LARGEST_STREAM:
            raise ValueError(f"more than {LARGEST_STREAM:,} bytes")
        with Image.open(io.BytesIO(content)) as image:
            stored, orientation = _stored(image)
        return _upright(stored, orientation)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bytes it did not expect into an InputError that names the image."""
    try:
        yield
    except Exception as error:  # Pillow's decoders raise anything: OSError, SyntaxError, struct.error, KeyError, ...
        printable = name if name.isprintable() else ascii(name)
        message = f"{printable}: expected an image such as JPEG or PNG, found {_found(error)}"
        raise InputError(message) from None


def _found(error: Exception) -> str:
    """Say on one line what was found instead of an image."""
    if isinstance(error, UnidentifiedImageError):
        return "bytes of no image format known here"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(reason.split())


def _check_file(path: Path) -> None:
    """Refuse what no decoder should be asked to open; a pipe, for one, would block."""
    if path.is_dir():
        raise ValueError("a folder")
    if path.stat().st_size == 0 or not path.is_file():
        raise ValueError("an empty file" if path.is_file() else "something other than a regular file")


def _stored(image: Image.Image) -> tuple[NDArray[np.uint8], int]:
    """Decode a Pillow image to RGB pixels as they are stored; return them with their EXIF orientation."""
    image.load()
    width, height = image.size
    if 0 in image.size:
        raise ValueError(f"a picture of {width} x {height} pixels")
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        pixels[top : top + rows] = _rgb(strip)
    return pixels, image.getexif().get(ExifTags.Base.Orientation, 1)


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(UPRIGHT[orientation](pixels)) if orientation in UPRIGHT else pixels


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return RGB pixels, or one value in place of three that are equal."""
    if image.mode.startswith("I"):
        return _grey_of_16_bits(np.asarray(image))
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns
    return np.asarray(image.convert("RGB"))


def _grey_of_16_bits(grey: np.ndarray) -> NDArray[np.uint8]:
    """Take the high byte of 16-bit grey, which some versions of Pillow hold in 32 bits; (H, W, 1)."""
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise ValueError(f"grey values from {grey.min()} to {grey.max()}, outside 16 bits")
    return (grey >> 8).astype(np.uint8)[:, :, None]


def checked_pixels(pixels: np.ndarray) -> NDArray[np.uint8]:
    """Return the pixels C-contiguous and writable, a copy only where they are not."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        expected = "expected an array of RGB pixels, uint8 of shape (height, width, 3)"
        raise InputError(f"{expected}, found {pixels.dtype} of shape {pixels.shape}")
    return np.require(pixels, requirements=["C", "W", "E"])
