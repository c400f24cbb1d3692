"""A server on this machine that answers as servers on the internet do, bad ones included."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

Answer = Callable[["Handler"], None]

ENDLESS = 1 << 26  # bytes at which even the endless body ends, so that a failing test does


class Request(NamedTuple):
    """What a client asked for."""

    path: str
    headers: Message


class Handler(BaseHTTPRequestHandler):
    """Gives the server's next answer to every request."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_GET(self) -> None:
        number = len(self.server.requests)
        self.server.requests.append(Request(self.path, self.headers))
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client has gone
            self.server.answers[min(number, len(self.server.answers) - 1)](self)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send_head(self, status: int, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()


class Loopback(ThreadingHTTPServer):
    """A server on a free port; `answers` are given one a request, the last one again and again."""

    daemon_threads = True

    def __init__(self, *answers: Answer, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


def file(
    content: bytes,
    *,
    ranges: bool = True,
    etag: str | None = '"1"',
    cut: int | None = None,
    length: int | None = None,
    stall: bool = False,
) -> Answer:
    """Answer with a file.

    `cut` sends only so many bytes of what is announced, and then closes the connection or, with `stall`, holds it;
    `length` lies about the length of the whole body.
    """

    def answer(h: Handler) -> None:
        start, condition = 0, h.headers.get("If-Range")
        if ranges and "Range" in h.headers and condition in (None, etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", h.headers["Range"])[1])  # type: ignore[index]
        body = content[start:]
        headers: dict[str, object] = {"ETag": etag, "Content-Length": len(body) if length is None else length}
        if "Range" in h.headers and start >= len(content):
            return h.send_head(416, {"Content-Length": 0})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        h.send_head(206 if start else 200, headers)
        h.wfile.write(body[:cut])
        h.wfile.flush()
        if stall:
            h.server.released.wait(5)

    return answer


def chunked(content: bytes, piece: int = 1000) -> Answer:
    """Answer with a file whose length is not announced, in chunks."""

    def answer(h: Handler) -> None:
        h.send_head(200, {"Transfer-Encoding": "chunked"})
        for i in range(0, len(content), piece):
            part = content[i : i + piece]
            h.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        h.wfile.write(b"0\r\n\r\n")

    return answer


def endless(h: Handler) -> None:
    """Answer with a body that does not end."""
    h.send_head(200, {})
    for _ in range(ENDLESS // 65536):
        h.wfile.write(bytes(65536))


def status(code: int, **headers: object) -> Answer:
    """Answer with a status and no body; underscores in header names stand for hyphens."""

    def answer(h: Handler) -> None:
        h.send_head(code, {"Content-Length": 0, **{name.replace("_", "-"): v for name, v in headers.items()}})

    return answer


def hang_up(h: Handler) -> None:
    """Close the connection without an answer."""
    h.connection.close()
