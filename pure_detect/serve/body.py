"""The image in the body of a request: raw, or the field `image` of a form; bounded in bytes and in time."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header
from werkzeug.wrappers import Request

from pure_detect.errors import shown
from pure_detect.serve.errors import ServiceError

FIELD = "image"
FORM = "multipart/form-data"
FORM_OVERHEAD = 64 * 1024  # bytes around the image: boundaries, headers, other fields
FORM_MEMORY = 500_000  # bytes of a text, and of what werkzeug's parser holds while it looks for a boundary
MOST_PARTS = 8
PIECE = 64 * 1024

# Types under which an image may come as it is; the second is what curl says of --data-binary, "" that nothing was said.
RAW = ("application/octet-stream", "application/x-www-form-urlencoded", "")


def read_image_bytes(request: Request, most: int) -> bytes:
    """Return the bytes of the image that a request brings.

    Parameters
    ----------
    request : werkzeug.wrappers.Request
        Its body unread.
    most : int
        Bytes of the image.

    Raises
    ------
    ServiceError
        If there is none, it is too large, cut off or too slow, or the request is none that brings an image.
    """
    kind = request.mimetype
    if kind != FORM and kind not in RAW and not kind.startswith("image/"):
        expected = f"{FORM} with the field {FIELD}, or image/... or application/octet-stream"
        raise ServiceError("unsupported_media_type", f"Content-Type: expected {expected}, found {shown(kind)}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        found = request.headers["Content-Encoding"]
        message = f"Content-Encoding: expected none, found {shown(found)}: an image is compressed already"
        raise ServiceError("unsupported_content_encoding", message)
    if kind != FORM:
        return _checked(_read(request, most), most)
    body = _read(request, most + FORM_OVERHEAD)
    return _checked(_image_of_form(body, request.headers["Content-Type"]), most)


def _checked(image: bytes, most: int) -> bytes:
    if len(image) > most:
        raise _too_large(most)
    if not image:
        raise ServiceError("empty_body", "expected an image, found no bytes")
    return image


def _too_large(most: int) -> ServiceError:
    return ServiceError("body_too_large", f"expected an image of at most {most} bytes, found more")


def _read(request: Request, most: int) -> bytes:
    """Read a body, whether its length was announced or it comes in chunks."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    stream, pieces, length = request.environ["wsgi.input"], [], 0
    while piece := _read_piece(stream, PIECE):
        length += len(piece)
        if length > most:
            raise _too_large(most)
        pieces.append(piece)
        if announced and length >= int(announced):
            break
    if announced and length < int(announced):
        raise ServiceError("truncated_body", f"expected {announced} bytes, found {length} and then the end")
    return b"".join(pieces)


def _read_piece(stream: Any, size: int) -> bytes:
    try:
        piece: bytes = stream.read(size)
    except TimeoutError:  # from worker.py
        raise ServiceError("body_too_slow", "expected a whole request sooner, found a slow one") from None
    except OSError:
        raise ServiceError("truncated_body", "expected a whole request, found the end of the connection") from None
    except Exception as error:  # what a server raises on chunks that are none is its own
        message = f"expected a body in chunks, found a malformed one: {' '.join(str(error).split())}"
        raise ServiceError("malformed_body", message) from None
    return piece


def _image_of_form(body: bytes, content_type: str) -> bytes:
    files = _parse(body, content_type).getlist(FIELD)
    if len(files) != 1:
        found = f"{len(files)} of that name" if files else "none"
        code = "several_images" if files else "missing_image"
        raise ServiceError(code, f"expected one file in the form's field {FIELD}, found {found}")
    return files[0].stream.read()


def _parse(body: bytes, content_type: str) -> MultiDict[str, FileStorage]:
    """Return the files of a form; everything stays in memory, since the container's disk is read-only."""
    boundary = parse_options_header(content_type)[1].get("boundary", "").encode("ascii", "replace")
    parser = MultiPartParser(_in_memory, max_form_memory_size=FORM_MEMORY, max_form_parts=MOST_PARTS)
    try:
        if not boundary:
            raise ValueError("no boundary in Content-Type")
        form, files = parser.parse(io.BytesIO(body), boundary, len(body))
    except RequestEntityTooLarge:
        message = f"expected a form of at most {MOST_PARTS} fields, found more, or a long text"
        raise ServiceError("form_too_large", message) from None
    except (ValueError, UnicodeError) as error:
        message = f"expected {FORM}, found one that is malformed: {' '.join(str(error).split())}"
        raise ServiceError("malformed_form", message) from None
    if FIELD in form:
        message = f"expected a file in the form's field {FIELD}, found a text: the part has no filename"
        raise ServiceError("missing_image", message)
    if form:
        found = shown(sorted(form))
        raise ServiceError("unknown_field", f"expected options in the query, found them in the form: {found}")
    return files


def _in_memory(*_arguments: Any, **_named: Any) -> io.BytesIO:
    return io.BytesIO()
