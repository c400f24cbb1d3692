"""Fetching the picture at an address that a stranger named, safely.

    text ──> Target ──> checked addresses ──> answer ──> bytes     fetch_url.py, fetch_addresses.py,
      ^                                         │                  fetch_connection.py, here
      └─────────────── redirect ────────────────┘

Each redirect goes the whole way again. What comes out is bytes that begin as a picture does and are no more than was
allowed; how many *pixels* they hold, the reader of the picture has to limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPResponse
from typing import NamedTuple

from pure_detect.errors import shown
from pure_detect.serve.fetch_addresses import AddressPolicy, resolve
from pure_detect.serve.fetch_connection import request, too_large
from pure_detect.serve.fetch_deadline import Deadline
from pure_detect.serve.fetch_errors import FetchError
from pure_detect.serve.fetch_url import Target, follow, parse_url

__all__ = ["AddressPolicy", "FetchError", "FetchLimits", "fetch_image"]

CHUNK = 1 << 16
REDIRECTS = (301, 302, 303, 307, 308)

# How the formats begin that the service decodes; ? is any byte.
SIGNATURES = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"RIFF????WEBP",
    b"BM",
)
LONGEST_SIGNATURE = max(len(signature) for signature in SIGNATURES)


class FetchLimits(NamedTuple):
    """How much a picture may cost.

    Attributes
    ----------
    bytes : int
        Of the picture, whatever its server announces.
    seconds : float
        From the address to the last byte: names, connections, redirects and all.
    redirects : int
    """

    bytes: int = 16 << 20
    seconds: float = 10.0
    redirects: int = 5


def fetch_image(url: str, policy: AddressPolicy = AddressPolicy(), limits: FetchLimits = FetchLimits()) -> bytes:  # noqa: B008
    """Return the bytes of the picture at an address.

    Parameters
    ----------
    url : str
        http or https.
    policy : AddressPolicy
        Which machines may be asked.
    limits : FetchLimits

    Returns
    -------
    bytes
        They begin as JPEG, PNG, WebP, GIF or BMP does; the rest is not looked at.

    Raises
    ------
    FetchError
        If the address may not be asked, or gives no such picture within the limits.
    """
    deadline, target = Deadline(limits.seconds), parse_url(url)
    for _ in range(limits.redirects + 1):
        addresses = resolve(target, policy, deadline)
        with request(target, addresses, deadline, limits.bytes) as response:
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return _picture(response, target, limits.bytes)
        target = follow(target, location.encode("latin-1", "replace").decode("utf-8", "replace"))
    raise FetchError(
        "too_many_redirects", f"{target}: expected at most {limits.redirects} redirects on the way here, found more"
    )


def _picture(response: HTTPResponse, target: Target, largest: int) -> bytes:
    """Read a body that is a picture, or find out as early as can be that it is none."""
    if response.status != 200:
        raise FetchError(
            "answer_status", f"{target}: expected status 200 and a picture, found status {response.status}"
        )
    announced = _announced(response, target)
    if announced is not None and announced > largest:
        raise too_large(target, largest)
    body = bytearray()
    for part in _parts(response):
        body += part
        if len(body) > largest:
            raise too_large(target, largest)
        if len(body) - len(part) < LONGEST_SIGNATURE <= len(body):
            _check_signature(body, response, target)
    if announced is not None and len(body) < announced:
        message = (
            f"{target}: expected {announced:,} bytes as announced, found the connection closed after {len(body):,}"
        )
        raise FetchError("bad_answer", message)
    _check_signature(body, response, target)
    return bytes(body)


def _announced(response: HTTPResponse, target: Target) -> int | None:
    """Return the announced length of a body that comes as it is, not compressed: what expands has no length.

    Raises
    ------
    FetchError
        If it comes in another coding than none. It was asked for none.
    """
    for header, plain in (("Content-Encoding", ("", "identity")), ("Transfer-Encoding", ("", "chunked"))):
        found = ", ".join(response.headers.get_all(header, ())).strip().lower()
        if found not in plain:
            message = f"{target}: expected no {header} other than {plain[1]}, found {shown(found)}"
            raise FetchError("content_encoding", message)
    return response.length


def _parts(response: HTTPResponse) -> Iterator[bytes]:
    while part := response.read1(CHUNK):
        yield part


def _check_signature(body: bytearray, response: HTTPResponse, target: Target) -> None:
    if not any(_starts(body, signature) for signature in SIGNATURES):
        kind = response.headers.get("Content-Type", "an unknown type")
        found = f"other bytes, of {shown(kind)}" if body else "an empty body"
        message = f"{target}: expected a JPEG, PNG, WebP, GIF or BMP image, found {found}"
        raise FetchError("not_an_image", message)


def _starts(body: bytearray, signature: bytes) -> bool:
    """Return whether the body begins so; a question mark in the signature is any byte."""
    start = body[: len(signature)]
    return len(start) == len(signature) and all(s in (b, 0x3F) for b, s in zip(start, signature))
