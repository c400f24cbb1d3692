"""One file a source format; here, how a file's content tells its format."""

from __future__ import annotations

from pathlib import Path

from pure_detect.errors import InputError

# First bytes of formats that could be mistaken for weights; Darknet's own files have no magic number.
MAGIC = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PK\x03\x04": "a zip archive (PyTorch's .pth?)",
    **{bytes([0x80, protocol]): "a Python pickle (PyTorch's legacy .pth?)" for protocol in range(2, 6)},
    b"GGUF": "a GGUF file",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
}
TEXT = {
    b"[net]": "a Darknet cfg",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
}


def source_format(path: str | Path) -> str:
    """Return "hdf5" for a weight file of ours, else "darknet".

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or is known to be something else.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not start:
        raise InputError(f"{path}: expected Darknet .weights or a .h5 weight file, found an empty file")
    for magic, kind in MAGIC.items():
        if start.startswith(magic):
            if kind == "hdf5":
                return kind
            raise InputError(f"{path}: expected Darknet .weights or a .h5 weight file, found {kind}")
    for text, kind in TEXT.items():
        if start.lstrip().lower().startswith(text):
            raise InputError(f"{path}: expected Darknet .weights or a .h5 weight file, found {kind}")
    return "darknet"
