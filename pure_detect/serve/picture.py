"""From the bytes of a stranger's image file to upright RGB pixels, or an error that says what is wrong with it."""

from __future__ import annotations

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pure_detect.errors import InputError
from pure_detect.image_file import read_image
from pure_detect.serve.errors import ServiceError

# Decoders that strangers' bytes may reach: small, and fuzzed by many. EPS would start Ghostscript, for one.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# A progressive JPEG has about ten scans, each a pass over all pixels; a hostile one can hold a million in 10 MB.
MOST_SCANS = 500
JPEG, SCAN = b"\xff\xd8", b"\xff\xda"

EXPECTED = "a JPEG, PNG, WebP, GIF or BMP image"

BEGINNINGS = rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM"

# What people send instead, told from how it begins, so that the error can name it.
OTHERS = {
    "SVG": rb"(\xef\xbb\xbf)?\s*<(.*<)?svg\b",
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
    if content.startswith(JPEG) and content.count(SCAN) > MOST_SCANS:
        raise ServiceError("too_many_scans", f"expected a JPEG of at most {MOST_SCANS} scans, found more")
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
    return ServiceError("too_many_pixels", f"expected at most {most} pixels, found {found}")


def _damaged(found: str) -> ServiceError:
    return ServiceError("damaged_image", f"expected {EXPECTED} that is whole, found {found}")


def _not_accepted(content: bytes) -> ServiceError:
    head = content[:4096]
    if re.match(BEGINNINGS, head, re.DOTALL):
        return _damaged("a header that cannot be read")
    for name, pattern in OTHERS.items():
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return ServiceError("unsupported_format", f"expected {EXPECTED}, found {name}")
    return ServiceError("not_an_image", f"expected {EXPECTED}, found bytes of none of these")
