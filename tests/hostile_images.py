"""Image files that do harm, or none at all: what strangers send."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

NOISE = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encoded(kind: str, pixels: np.ndarray = NOISE, **options: Any) -> bytes:
    """Return a whole image file of a format."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes = b"", *extra: bytes) -> bytes:
    """Return an 8-bit grey PNG that states a size, whatever its pixel data are."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", head), *extra, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def zeros(count: int) -> bytes:
    """Return zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join([*pieces, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])


def png_bomb() -> bytes:
    """Return a valid PNG of 8000 x 8000 pixels in 62 kB."""
    return png(8000, 8000, zeros(8000 * 8001))


def text_bomb() -> bytes:
    """Return a PNG whose comment grows to 80 MB."""
    return png(8, 8, zlib.compress(bytes(8 * 9)), png_chunk(b"zTXt", b"Comment\0\0" + zeros(80_000_000)))


def cut_pixels() -> bytes:
    """Return a PNG that states 600 x 600 pixels and holds a tenth of them."""
    return png(600, 600, zlib.compress(bytes(36_000)))


def flipped_bits() -> bytes:
    """Return a PNG whose checksum is wrong."""
    content = bytearray(encoded("PNG"))
    content[40] ^= 0xFF
    return bytes(content)


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a JPEG whose header states another size than its data have."""
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def scan_bomb() -> bytes:
    """Return a progressive JPEG of 1000 x 1000 pixels that goes over all of them 50,000 times."""
    content = encoded("JPEG", np.zeros((1000, 1000), np.uint8), progressive=True)
    last = content.rindex(b"\xff\xda")
    scan = content[last : last + 10] + b"\0"
    return content[:-2] + scan * 50_000 + content[-2:]


def gif_of_size(width: int, height: int, frame: tuple[int, int] = (8, 8)) -> bytes:
    """Return a GIF whose canvas, and whose first frame, have stated sizes."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0;"


def bmp_of_size(width: int, height: int) -> bytes:
    """Return a BMP that states a size and holds nothing."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 16, 0, 0, 54) + head + bytes(16)


def webp_of_size(width: int, height: int) -> bytes:
    """Return the head of a lossless WebP of a size up to 16384 x 16384."""
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14)
    body = b"WEBPVP8L" + struct.pack("<I", 20) + b"\x2f" + bits + bytes(15)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def floating_point_tiff() -> bytes:
    return encoded("TIFF", NOISE[:, :, 0].astype(np.float32))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="http://169.254.169.254/"/></svg>'
ENTITIES = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>'
HTML = b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\nshowpage\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
PSD = b"8BPS\0\x01" + bytes(64)
PDF = b"%PDF-1.7\n" + bytes(64)
ICON = b"\0\0\x01\0\x01\0" + bytes(64)
POLYGLOT = b"GIF89a" + HTML

# name: (content, status, code); a service that takes at most a million pixels refuses each so.
IMAGES = {
    "nothing": (b"", 400, "empty_body"),
    "text": (b"hello", 415, "not_an_image"),
    "zeros": (bytes(5000), 415, "not_an_image"),
    "a web page": (HTML, 415, "not_an_image"),
    "an archive": (b"PK\x03\x04" + bytes(64), 415, "not_an_image"),
    "SVG that fetches": (SVG, 415, "unsupported_format"),
    "SVG of entities": (ENTITIES, 415, "unsupported_format"),
    "EPS that runs a program": (EPS, 415, "unsupported_format"),
    "PDF": (PDF, 415, "unsupported_format"),
    "TIFF": (floating_point_tiff(), 415, "unsupported_format"),
    "HEIC": (HEIC, 415, "unsupported_format"),
    "Photoshop": (PSD, 415, "unsupported_format"),
    "icon": (ICON, 415, "unsupported_format"),
    "GIF that is a web page": (POLYGLOT, 422, "damaged_image"),
    "JPEG cut in half": (encoded("JPEG")[:1500], 422, "damaged_image"),
    "JPEG of three bytes": (b"\xff\xd8\xff", 422, "damaged_image"),
    "JPEG of 50000 scans": (scan_bomb(), 422, "too_many_scans"),
    "JPEG that states 65500 x 65500": (jpeg_of_size(65500, 65500), 413, "too_many_pixels"),
    "PNG cut in half": (encoded("PNG")[:4000], 422, "damaged_image"),
    "PNG with a wrong checksum": (flipped_bits(), 422, "damaged_image"),
    "PNG that states more than it holds": (cut_pixels(), 422, "damaged_image"),
    "PNG of no pixels": (png(0, 0), 422, "damaged_image"),
    "PNG bomb": (png_bomb(), 413, "too_many_pixels"),
    "PNG bomb in a comment": (text_bomb(), 422, "damaged_image"),
    "PNG that states 2147483647 x 2147483647": (png(2**31 - 1, 2**31 - 1), 413, "too_many_pixels"),
    "PNG of one row of two million": (png(2_000_000, 1, zeros(2_000_001)), 413, "too_many_pixels"),
    "GIF canvas of 65535 x 65535": (gif_of_size(65535, 65535), 413, "too_many_pixels"),
    "GIF frame larger than its canvas": (gif_of_size(8, 8, (30000, 30000)), 413, "too_many_pixels"),
    "BMP of 40000 x 40000": (bmp_of_size(40000, 40000), 413, "too_many_pixels"),
    "BMP of 500 x 500 that is empty": (bmp_of_size(500, 500), 422, "damaged_image"),
    "WebP of 16383 x 16383": (webp_of_size(16383, 16383), 413, "too_many_pixels"),
    "WebP cut in half": (encoded("WEBP")[:500], 422, "damaged_image"),
}
