"""From the bytes of a stranger's image file to upright RGB pixels, or an error that says what is wrong with it."""

from __future__ import annotations

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, MpoImagePlugin, UnidentifiedImageError, WebPImagePlugin  # registers what Pillow loads late

from pure_detect.errors import InputError
from pure_detect.image_file import read_image
from pure_detect.serve.errors import ServiceError

# Decoders that strangers' bytes may reach: small, and fuzzed by many. EPS would start Ghostscript, for one.
FORMATS = ("JPEG", MpoImagePlugin.MpoImageFile.format, "PNG", WebPImagePlugin.WebPImageFile.format, "GIF", "BMP")
EXPECTED = "a JPEG, PNG, WebP, GIF or BMP image"

# What people send instead, told from how it begins, so that the error can name it.
OTHERS = {
    "SVG": rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg\b",
    "TIFF": rb"II\*\0|MM\0\*",
    "HEIC or AVIF": rb"....ftyp(hei|hev|mif|msf|avi)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "Photoshop": rb"8BPS",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "PDF": rb"%PDF",
    "icon": rb"\0\0[\x01\x02]\0",
}


def decode(content: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Return the pixels of an image file as :func:`pure_detect.image_file.read_image` does.

    The size that the file states is checked before a pixel is decoded.

    Parameters
    ----------
    content : bytes
    max_pixels : int

    Returns
    -------
    (H, W, 3) uint8, RGB

    Raises
    ------
    ServiceError
        If it is no image of an accepted format, too large or damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(max_pixels, f"{image.width} x {image.height}")
            return read_image(image)
    except ServiceError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(max_pixels, "a file that states far more") from None
    except UnidentifiedImageError:
        raise _not_accepted(content) from None
    except InputError as error:
        raise _damaged(str(error).rpartition("found ")[2]) from None
    except Exception as error:  # a header that one of Pillow's plugins stumbles over, each in its own way
        raise _damaged(" ".join(str(error).split()) or type(error).__name__) from None


def _too_large(most: int, found: str) -> ServiceError:
    return ServiceError("too_many_pixels", 413, f"expected at most {most} pixels, found {found}")


def _damaged(found: str) -> ServiceError:
    return ServiceError("damaged_image", 422, f"expected {EXPECTED} that is whole, found {found}")


def _not_accepted(content: bytes) -> ServiceError:
    head = content[:4096]
    for name, pattern in OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return ServiceError("unsupported_format", 415, f"expected {EXPECTED}, found {name}")
    return ServiceError("not_an_image", 415, f"expected {EXPECTED}, found bytes of none of these")
