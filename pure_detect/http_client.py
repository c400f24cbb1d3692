"""What Python's urllib leaves to its callers: safe redirects, and answers and failures in plain words."""

from __future__ import annotations

import re
import socket
import ssl
from http.client import HTTPResponse
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pure_detect import __version__


class Redirects(HTTPRedirectHandler):
    """Follows a few redirects, only to http and https, and never from https to http."""

    max_redirections = 5

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request that follows a redirect, or refuse it."""
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise HTTPError(newurl, code, f"a redirect to {newurl}, which is not {allowed[0]}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def get(url: str, headers: dict[str, str], timeout: float) -> HTTPResponse:
    """Ask for an address and return the answer, its body unread.

    Raises
    ------
    urllib.error.HTTPError
        If the answer is not a success.
    urllib.error.URLError, OSError, http.client.HTTPException, ValueError
        If there is none; :func:`reason` puts it in words.
    """
    # Some hosts, pjreddie.com among them, turn away urllib's own name.
    headers = {"User-Agent": f"pure-detect/{__version__}", "Accept-Encoding": "identity", **headers}
    response: HTTPResponse = build_opener(Redirects).open(Request(url, headers=headers), timeout=timeout)
    return response


def validator(response: HTTPResponse) -> str:
    """Return what `If-Range` may name to mean this very version of a file: a strong ETag, else the date."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def content_length(response: HTTPResponse) -> int | None:
    """Return the announced length of the body."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def content_range(response: HTTPResponse) -> tuple[int, int | None] | None:
    """Return the first byte and the length of the whole file that an answer in part announces."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""), re.ASCII)
    return found and (int(found[1]), None if found[2] == "*" else int(found[2]))


def reason(error: Exception, timeout: float) -> str:
    """Return why there was no answer, or no more of it."""
    cause = getattr(error, "reason", error)  # urllib wraps what the socket raised
    if isinstance(cause, socket.gaierror):
        return "no such host, or no network"
    if isinstance(cause, TimeoutError):
        return f"silence for {timeout:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"a certificate that cannot be verified: {cause.verify_message}"
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return " ".join(text.split()).lower()
