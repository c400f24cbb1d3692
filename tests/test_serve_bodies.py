"""Hostile requests against real gunicorn on real sockets: each refused with its own code, the worker none the worse."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.hostile_images import IMAGES, encoded
from tests.service import Reply, Service, read_reply, serve
from tests.tiny_models import write_tiny_detector

MOST_BYTES = 600_000
READ_LIMIT = 3  # seconds
PATH = "/predict/v1"
FORM = "multipart/form-data; boundary=b"
GOOD = encoded("PNG")


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    model = write_tiny_detector(tmp_path_factory.mktemp("models") / "tiny.h5")
    limits = ("--max-bytes", str(MOST_BYTES), "--max-pixels", "1000000", "--read-limit", str(READ_LIMIT))
    with serve("--models", str(model), *limits) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(service):
    """After each hostile request the same worker answers a good one."""
    before = service.workers()
    yield
    assert service.post(PATH, GOOD).status == 200
    assert service.workers() == before


def part(content: bytes, name: str = "image", more: str = '; filename="a.png"') -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join([*parts, b"--b--\r\n"])


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("in_form", [False, True], ids=["raw", "form"])
def test_an_image_that_is_none_is_refused_by_what_is_wrong_with_it(service, name, in_form):
    content, status, code = IMAGES[name]
    body, kind = (form(part(content)), FORM) if in_form else (content, "image/png")
    reply = service.post(PATH, body, **{"Content-Type": kind})
    assert (reply.status, reply.code) == (status, code)


BODIES: dict[str, tuple[str, bytes, int, str]] = {
    "form without a field": (FORM, form(), 400, "missing_image"),
    "form with another field": (FORM, form(part(GOOD, "picture")), 400, "missing_image"),
    "form with two images": (FORM, form(part(GOOD), part(GOOD)), 400, "several_images"),
    "form whose image is a text": (FORM, form(part(b"x", more="")), 400, "missing_image"),
    "form with options": (FORM, form(part(GOOD), part(b"1", "score", "")), 400, "unknown_field"),
    "form of a thousand fields": (FORM, form(*[part(b"", f"f{i}", "") for i in range(1000)]), 413, "form_too_large"),
    "form of a thousand files": (FORM, form(*[part(b"", f"f{i}") for i in range(1000)]), 413, "form_too_large"),
    "form with a long text": (FORM, form(part(bytes(550_000), "text", "")), 413, "form_too_large"),
    "form with a long header": (FORM, form(part(GOOD, more=f'; filename="{"x" * 550_000}"')), 413, "form_too_large"),
    "form that ends early": (FORM, part(GOOD), 400, "malformed_form"),
    "form without its boundary": (FORM, b"--c\r\n\r\n--c--", 400, "malformed_form"),
    "form that names no boundary": ("multipart/form-data", form(part(GOOD)), 400, "malformed_form"),
    "form whose part has no name": (FORM, b"--b\r\n\r\nx\r\n--b--\r\n", 400, "malformed_form"),
    "JSON": ("application/json", b'{"image": "aGk="}', 415, "unsupported_media_type"),
    "a web page by its type": ("text/html", GOOD, 415, "unsupported_media_type"),
    "a type of a megabyte": ("x" * 8000, GOOD, 415, "unsupported_media_type"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_brings_no_image_is_refused_by_its_form(service, name):
    kind, body, status, code = BODIES[name]
    reply = service.post(PATH, body, **{"Content-Type": kind})
    assert (reply.status, reply.code) == (status, code)


def head(*lines: str, path: str = PATH) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Content-Type: image/png", *lines, "", ""]).encode()


def send_and_wait(connection: socket.socket) -> None:
    """Announce a body, and send only a part of it."""
    connection.sendall(head("Content-Length: 1000") + b"\x89PNG")


def drip(connection: socket.socket) -> None:
    """Send one byte after another, each in good time."""
    connection.sendall(head("Content-Length: 100000"))
    send_until_closed(connection, b"\x89", pause=0.1)


def drip_chunks(connection: socket.socket) -> None:
    connection.sendall(head("Transfer-Encoding: chunked"))
    send_until_closed(connection, b"1\r\nx\r\n", pause=0.1)


def endless_chunks(connection: socket.socket) -> None:
    connection.sendall(head("Transfer-Encoding: chunked"))
    send_until_closed(connection, b"10000\r\n" + bytes(0x10000) + b"\r\n")


def send_until_closed(connection: socket.socket, piece: bytes, pause: float = 0) -> None:
    """Go on sending from another thread, for at most ten seconds, while the answer is read."""

    def send() -> None:
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass

    threading.Thread(target=send, daemon=True).start()


def cut_off(connection: socket.socket) -> None:
    send_and_wait(connection)
    connection.shutdown(socket.SHUT_WR)


def cut_off_chunks(connection: socket.socket) -> None:
    connection.sendall(head("Transfer-Encoding: chunked") + b"5\r\nab")
    connection.shutdown(socket.SHUT_WR)


def sends(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)


CONNECTIONS: dict[str, tuple[Callable[[socket.socket], None], int, str]] = {
    "body that stalls": (send_and_wait, 408, "body_too_slow"),
    "body of one byte at a time": (drip, 408, "body_too_slow"),
    "chunks of one byte at a time": (drip_chunks, 408, "body_too_slow"),
    "body without an end": (endless_chunks, 413, "body_too_large"),
    "body announced too large": (sends(head("Content-Length: 99999999999")), 413, "body_too_large"),
    "body cut off": (cut_off, 400, "truncated_body"),
    "chunks cut off": (cut_off_chunks, 400, "truncated_body"),
    "chunks that are none": (sends(head("Transfer-Encoding: chunked") + b"zz\r\nab\r\n"), 400, "malformed_body"),
    "no body": (sends(head("Content-Length: 0")), 400, "empty_body"),
    "neither length nor chunks": (sends(head()), 400, "empty_body"),
    "compressed body": (
        sends(head("Content-Encoding: gzip", "Content-Length: 9")),
        415,
        "unsupported_content_encoding",
    ),
    "unknown model, body without an end": (
        sends(head("Transfer-Encoding: chunked", path=f"{PATH}?model=none") + b"10000\r\n" + bytes(0x10000)),
        404,
        "unknown_model",
    ),
}


def answer_to(service: Service, act: Callable[[socket.socket], None]) -> Reply:
    with service.connection() as connection:
        act(connection)
        return read_reply(connection)


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_client_that_does_not_send_as_it_should_is_refused_in_time(service, name):
    act, status, code = CONNECTIONS[name]
    reply = answer_to(service, act)
    assert (reply.status, reply.code) == (status, code)


HEADS = {
    "two lengths": (head("Content-Length: 5", "Content-Length: 6"), 400),
    "length and chunks": (head("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    "length below zero": (head("Content-Length: -1"), 400),
    "length of 5000 digits": (head("Content-Length: " + "9" * 5000), 400),
    "length in other digits": (head("Content-Length: ٣"), 400),
    "a header of 100 kB": (head("X: " + "x" * 100_000), 431),
    "a thousand headers": (head(*[f"X{i}: x" for i in range(1000)]), 431),
    "a path of 100 kB": (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", 414),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_none_is_refused_before_the_application(service, name):
    content, status = HEADS[name]
    assert answer_to(service, sends(content)).status == status


def test_a_head_that_never_ends_is_cut_off_in_time(service):
    with service.connection() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        send_until_closed(connection, b"X: y\r\n", pause=0.1)
        assert connection.recv(1) == b""


def test_many_slow_clients_do_not_keep_others_from_being_answered(service):
    opened = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    try:
        for connection in opened:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert service.get("/healthz").status == 200
    finally:
        for connection in opened:
            connection.close()


def test_memory_does_not_grow_with_hostile_bodies(service):
    def round_of_all() -> None:
        for content, _, _ in IMAGES.values():
            service.post(PATH, content, **{"Content-Type": "image/png"})
        for kind, body, _, _ in BODIES.values():
            service.post(PATH, body, **{"Content-Type": kind})
        for act, _, _ in (CONNECTIONS["body without an end"], CONNECTIONS["body announced too large"]):
            answer_to(service, act)

    for _ in range(3):
        round_of_all()
    before = service.resident_bytes()
    rounds = 20
    for _ in range(rounds):
        round_of_all()
    sent = rounds * sum(len(content) for content, _, _ in IMAGES.values())
    assert service.resident_bytes() - before < sent / 3  # were the images alone kept, it would be all of that


def test_no_line_of_the_log_is_a_failure_of_the_service(service):
    assert service.lines(severity="ERROR") == []
    assert service.lines(severity="CRITICAL") == []
