"""Picture files that a drawing can be saved as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from pure_detect.errors import InputError
from pure_detect.files import atomic_path

# What holds a whole photograph in colour, and how coloured lines stay sharp in it.
SHARP_JPEG = {"quality": 92, "subsampling": 0}
OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": SHARP_JPEG,
    ".jpeg": SHARP_JPEG,
    ".webp": {"quality": 92},
    ".bmp": {},
    ".gif": {},
    ".tif": {"compression": "tiff_lzw"},
    ".tiff": {"compression": "tiff_lzw"},
    ".ppm": {},
}


def check_picture_path(path: Path) -> None:
    """Refuse a file name whose ending is none of a picture format that can be written here.

    Raises
    ------
    InputError
        If it is.
    """
    registered = Image.registered_extensions()
    endings = [ending for ending in OPTIONS if registered.get(ending) in Image.SAVE]  # Pillow may lack WebP
    if path.suffix.lower() not in endings:
        found = repr(path.suffix) if path.suffix else "no ending"
        raise InputError(f"{path}: expected a file name ending in {', '.join(endings)}, found {found}")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Save a picture in the format of the path's ending; nothing half-written stays behind.

    Raises
    ------
    InputError
        If the ending is unknown or the file cannot be written.
    """
    check_picture_path(path)
    ending = path.suffix.lower()
    with atomic_path(path) as temporary:
        try:
            picture.save(temporary, format=Image.registered_extensions()[ending], **OPTIONS[ending])
        except ValueError as error:  # a picture too large for its format
            raise InputError(f"{path}: cannot be written in this format: {error}") from None
