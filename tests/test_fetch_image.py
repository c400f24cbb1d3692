"""Fetching pictures from real servers on loopback: good ones, and ones that lie, drip, loop and never end."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pure_detect.serve import fetch_connection
from pure_detect.serve.fetch_addresses import LOOKUPS
from pure_detect.serve.fetch_image import AddressPolicy, FetchError, FetchLimits, fetch_image
from tests.loopback import Answer, Handler, Loopback, chunked, endless, file, hang_up, status
from tests.strangers import Connections, Names

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100
HERE = AddressPolicy(("127.0.0.0/8",))
LIMITS = FetchLimits(bytes=100_000, seconds=2.0, redirects=3)
SHORT = LIMITS._replace(seconds=0.3)


def refusal(*answers: Answer, limits: FetchLimits = LIMITS, path: str = "/a.png") -> FetchError:
    """Return the error with which a fetch from a server of these answers ends."""
    with Loopback(*answers) as server, pytest.raises(FetchError) as caught:
        fetch_image(server.url + path, HERE, limits)
    assert str(caught.value).isprintable()
    return caught.value


def raw(*parts: bytes, pause: float = 0.0, repeat: int = 1) -> Answer:
    """Answer with these bytes and nothing else, `repeat` times, waiting before each."""

    def answer(h: Handler) -> None:
        for part in parts * repeat:
            if h.server.released.wait(pause):
                return
            h.wfile.write(part)

    return answer


def headed(body: bytes, **headers: object) -> Answer:
    """Answer with a body under headers of which none is added; underscores stand for hyphens."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return raw(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body)


# ---- what works


@pytest.mark.parametrize(
    "answer",
    [file(PNG), chunked(PNG), chunked(PNG, piece=1), headed(PNG), headed(PNG, Content_Encoding="identity")],
    ids=["announced length", "chunks", "chunks of a byte", "until the connection closes", "identity"],
)
def test_a_picture_arrives_whole(answer: Answer) -> None:
    with Loopback(answer) as server:
        assert fetch_image(f"{server.url}/a.png", HERE, LIMITS) == PNG


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"RIFF\x10\x20\x30\x40WEBP", b"BM6"]
)
def test_every_accepted_format_is_told_by_its_first_bytes_whatever_its_type_says(start: bytes) -> None:
    with Loopback(headed(start + bytes(20), Content_Type="text/plain")) as server:
        assert fetch_image(server.url, HERE, LIMITS) == start + bytes(20)


def test_a_request_says_what_it_wants_and_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(file(PNG)) as proxy, Loopback(file(PNG)) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        fetch_image(f"{server.url}/ä b/?q=ö&x=a+b%20#part", HERE, LIMITS)
        assert not proxy.requests
        path, headers = server.requests[0]
    assert path == "/%C3%A4%20b/?q=%C3%B6&x=a+b%20"
    sent = {name: value for name, value in headers.items() if name != "User-Agent"}
    host = server.url.removeprefix("http://")
    assert sent == {"Host": host, "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
    assert headers["User-Agent"].startswith("pure-detect/")


def test_a_picture_of_exactly_the_limit_is_accepted() -> None:
    limits = LIMITS._replace(bytes=len(PNG))
    for answer in (file(PNG), chunked(PNG), headed(PNG)):
        with Loopback(answer) as server:
            assert fetch_image(server.url, HERE, limits) == PNG


@pytest.mark.parametrize("answer", [file(PNG), chunked(PNG), headed(PNG)], ids=["announced", "chunks", "until closed"])
def test_a_picture_of_a_byte_more_is_refused(answer: Answer) -> None:
    assert refusal(answer, limits=LIMITS._replace(bytes=len(PNG) - 1)).code == "too_large"


def test_international_names_are_resolved_as_the_name_system_spells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names({"xn--bcher-kva.example": "127.0.0.1"})
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with Loopback(file(PNG)) as server:
        assert fetch_image(f"http://BÜCHER.example:{server.server_port}/", HERE, LIMITS) == PNG
        assert server.requests[0].headers["Host"] == f"xn--bcher-kva.example:{server.server_port}"


@pytest.mark.parametrize("silent", [(), ("127.0.0.9",)], ids=["refuses", "is silent"])
def test_an_address_that_does_not_answer_leaves_time_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch, silent: tuple[str, ...]
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names({"pictures.example": "127.0.0.9 127.0.0.1"}))
    connections = Connections(monkeypatch, silent)
    with Loopback(file(PNG)) as server:
        assert fetch_image(f"http://pictures.example:{server.server_port}/", HERE, LIMITS) == PNG
    assert connections.made == ["127.0.0.9", "127.0.0.1"]


def test_of_many_addresses_only_a_few_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"127.0.0.{i}" for i in range(100, 150)]
    monkeypatch.setattr(socket, "getaddrinfo", Names({"pictures.example": " ".join(addresses)}))
    connections = Connections(monkeypatch)
    with pytest.raises(FetchError, match="connection refused"):
        fetch_image("http://pictures.example:1999/", HERE, LIMITS)
    assert connections.made == addresses[:4]


# ---- redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/b.png", "b.png", "?c", "//{host}/b.png", "http://{host}/b.png"])
def test_a_redirect_is_followed(code: int, location: str) -> None:
    with Loopback() as server:
        location = location.replace("{host}", server.url.removeprefix("http://"))
        server.answers = [status(code, Location=location), file(PNG)]
        assert fetch_image(f"{server.url}/a.png", HERE, LIMITS) == PNG
        assert server.requests[1].path == ("/a.png?c" if location == "?c" else "/b.png")


def test_a_redirect_loop_ends_after_the_allowed_number() -> None:
    with Loopback(status(302, Location="/a.png")) as server, pytest.raises(FetchError) as caught:
        fetch_image(f"{server.url}/a.png", HERE, LIMITS)
    assert caught.value.code == "too_many_redirects"
    assert len(server.requests) == 1 + LIMITS.redirects


def test_no_redirect_is_followed_where_none_is_allowed() -> None:
    answers = (status(302, Location="/b.png"), file(PNG))
    assert refusal(*answers, limits=LIMITS._replace(redirects=0)).code == "too_many_redirects"


def test_a_redirect_into_utf_8_is_percent_encoded() -> None:
    with Loopback() as server:
        server.answers = [raw("HTTP/1.1 302 Found\r\nLocation: /ä.png\r\n\r\n".encode()), file(PNG)]
        assert fetch_image(server.url, HERE, LIMITS) == PNG
        assert server.requests[1].path == "/%C3%A4.png"


# ---- answers that are refused


@pytest.mark.parametrize("code", [204, 206, 304, 400, 401, 404, 418, 500, 503])
def test_any_other_status_is_named(code: int) -> None:
    error = refusal(status(code))
    assert (error.code, error.status) == ("answer_status", 422)
    assert f"found status {code}" in str(error)


def test_a_redirect_without_a_location_is_an_answer_like_any_other() -> None:
    assert refusal(status(302)).code == "answer_status"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<!DOCTYPE html><html>", "of 'text/html'"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "of 'text/html'"),
        (b"%PDF-1.7 and so on", "of 'text/html'"),
        (b"PK\x03\x04 and so on", "of 'text/html'"),
        (gzip.compress(PNG), "of 'text/html'"),
        (b"\x89PNG", "of 'text/html'"),
        (b"", "an empty body"),
    ],
)
def test_what_does_not_begin_as_a_picture_is_named_by_its_type(body: bytes, found: str) -> None:
    error = refusal(headed(body, Content_Type="text/html", Content_Length=len(body)))
    assert (error.code, error.status) == ("not_an_image", 415)
    assert str(error).endswith(found)


def test_a_body_that_is_no_picture_is_left_after_its_first_bytes() -> None:
    assert refusal(file(b"<!DOCTYPE html>", length=50_000, stall=True)).code == "not_an_image"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "GZIP", "identity, gzip", "gzip, gzip, gzip"])
def test_a_compressed_body_is_not_even_read(coding: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    error = refusal(headed(bomb, Content_Encoding=coding, Content_Length=len(bomb)))
    assert error.code == "content_encoding"


def test_two_content_codings_in_two_headers_are_two() -> None:
    error = refusal(raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n" + PNG))
    assert error.code == "content_encoding"


def test_a_compressed_transfer_is_refused() -> None:
    assert refusal(headed(PNG, Transfer_Encoding="gzip, chunked")).code == "content_encoding"


def test_an_announced_length_over_the_limit_is_refused_unread() -> None:
    with Loopback(file(PNG, length=10**15, stall=True)) as server, pytest.raises(FetchError) as caught:
        fetch_image(server.url, HERE, LIMITS)
    assert (caught.value.code, caught.value.status) == ("too_large", 413)


@pytest.mark.parametrize(
    "head", ["", "Transfer-Encoding: chunked\r\n", "Content-Length: -1\r\n", "Content-Length: x\r\n"]
)
def test_a_picture_without_end_is_left_at_the_limit_and_not_held_in_memory(head: str) -> None:
    block = bytes(1 << 16)
    frame = b"%x\r\n%s\r\n" % (len(block), block) if "chunked" in head else block
    start = b"8\r\n" + PNG[:8] + b"\r\n" if "chunked" in head else PNG[:8]

    def answer(h: Handler) -> None:
        h.wfile.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + start)
        for _ in range(1000):
            h.wfile.write(frame)

    tracemalloc.start()
    try:
        error = refusal(answer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.code == "too_large"
    assert peak < 2_000_000


def test_frames_that_outweigh_the_picture_count_too() -> None:
    frame = b"1;" + b"x" * 60_000 + b"\r\n\x00\r\n"
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n" + PNG[:8] + b"\r\n"
    assert refusal(raw(start, *[frame] * 50)).code == "too_large"


def test_a_body_that_ends_before_its_announced_length_is_refused() -> None:
    error = refusal(file(PNG, cut=1000))
    assert error.code == "bad_answer"
    assert str(error).endswith(f"expected {len(PNG):,} bytes as announced, found the connection closed after 1,000")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOT_HTTP = {
    "a chunk's length that is no number": raw(CHUNKED + b"zz\r\n" + PNG),
    "a negative length": raw(CHUNKED + b"-5\r\n" + PNG),
    "a chunk cut short": raw(CHUNKED + b"100\r\n" + PNG[:8]),
    "no last chunk": raw(CHUNKED + b"8\r\n" + PNG[:8] + b"\r\n"),
    "no head": raw(PNG),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "another version": raw(b"HTTP/9.9 200 OK\r\n\r\n" + PNG),
    "a status that is no number": raw(b"HTTP/1.1 abc OK\r\n\r\n" + PNG),
    "a long header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n" + PNG),
    "many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n" + PNG),
    "many long headers": raw(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"a" * 60_000 + b"\r\n"] * 50),
    "an endless promise": raw(b"HTTP/1.1 100 Continue\r\n\r\n", repeat=10_000),
}


@pytest.mark.parametrize("answer", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_refused(answer: Answer) -> None:
    assert refusal(answer).code == "bad_answer"


def test_a_server_that_hangs_up_is_refused() -> None:
    assert refusal(hang_up).code == "connection_failed"


def test_a_port_where_nobody_listens_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(FetchError, match="connection refused") as caught:
            fetch_image(url, HERE, LIMITS)
    assert caught.value.code == "connection_failed"


# ---- time


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + PNG, pause=5),
        raw(*[bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"], pause=0.05),
        raw(b"HTTP/1.1 200 OK\r\n", *[b"X: a\r\n"] * 50, pause=0.05),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + PNG[:20], *[b"x"] * 100, pause=0.05),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\n\x89\r\n"] * 100, pause=0.05),
        file(PNG, cut=1000, stall=True),
        raw(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", pause=0.15),
    ],
    ids=["no answer", "slow status", "slow headers", "slow body", "slow chunks", "stalled body", "slow redirects"],
)
def test_one_time_limit_holds_over_everything(answer: Answer) -> None:
    error = refusal(answer, limits=SHORT)
    assert (error.code, error.status) == ("timed_out", 422)


def test_a_resolver_that_does_not_answer_is_waited_for_no_longer_than_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(5) and [])
    try:
        with pytest.raises(FetchError) as caught:
            fetch_image("http://pictures.example/", HERE, SHORT)
    finally:
        released.set()
    assert caught.value.code == "timed_out"


def test_look_ups_that_hang_are_bounded_in_number_and_give_their_places_back(monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), []

    def hanging(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        released.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    most = LOOKUPS._initial_value  # type: ignore[attr-defined]
    errors: list[str] = []

    def fetch(number: int) -> None:
        with pytest.raises(FetchError) as caught:
            fetch_image(f"http://n{number}.example/", HERE, SHORT)
        errors.append(caught.value.code)

    threads = [threading.Thread(target=fetch, args=(i,)) for i in range(most + 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    released.set()
    assert errors == ["timed_out"] * len(threads)
    assert len(asked) <= most
    monkeypatch.setattr(socket, "getaddrinfo", Names({}))
    end = time.monotonic() + 5
    while LOOKUPS._value < most and time.monotonic() < end:  # type: ignore[attr-defined]
        time.sleep(0.01)
    with pytest.raises(FetchError, match="no such name"):
        fetch_image("http://nowhere.example/", HERE, LIMITS)


def test_no_connection_and_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    for answer in (file(PNG), file(PNG, length=10**9), status(404), endless):
        with Loopback(answer) as server:
            with contextlib.suppress(FetchError):
                fetch_image(server.url, HERE, LIMITS)
            made = len(server.requests)
        assert made == 1
    # Threads of earlier tests may still be ending, and so may the loopback server's own: only those that stay count.
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


# ---- TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """Yield an authority that this process trusts, and no other."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    fetch_connection._tls.cache_clear()
    names = Names({"pictures.example": "127.0.0.1", "other.example": "127.0.0.1"})
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield authority
    fetch_connection._tls.cache_clear()


def encrypted(authority: trustme.CA, *names: str, seen: list[str | None]) -> Loopback:
    """Return a server that speaks TLS under a certificate of these names, and notes the name it was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.sni_callback = lambda _, name, __: seen.append(name)
    server = Loopback(file(PNG))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # a handshake that the client breaks off is what some tests are about
    return server


def test_tls_goes_to_the_checked_address_and_asks_for_the_host_by_name(authority: trustme.CA) -> None:
    seen: list[str | None] = []
    with encrypted(authority, "pictures.example", seen=seen) as server:
        port = server.server_port
        assert fetch_image(f"https://pictures.example:{port}/", HERE, LIMITS) == PNG
        assert server.requests[0].headers["Host"] == f"pictures.example:{port}"
    assert seen == ["pictures.example"]


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    with encrypted(authority, "pictures.example", seen=[]) as server, pytest.raises(FetchError) as caught:
        fetch_image(f"https://other.example:{server.server_port}/", HERE, LIMITS)
    assert (caught.value.code, server.requests) == ("tls_failed", [])
    assert "not valid for 'other.example'" in str(caught.value)


def test_a_certificate_of_an_address_is_good_for_that_address_alone(authority: trustme.CA) -> None:
    with encrypted(authority, "127.0.0.1", seen=[]) as server:
        assert fetch_image(f"https://127.0.0.1:{server.server_port}/", HERE, LIMITS) == PNG
        with pytest.raises(FetchError) as caught:
            fetch_image(f"https://pictures.example:{server.server_port}/", HERE, LIMITS)
    assert caught.value.code == "tls_failed"


@pytest.mark.usefixtures("authority")
def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    with encrypted(trustme.CA(), "pictures.example", seen=[]) as server, pytest.raises(FetchError) as caught:
        fetch_image(f"https://pictures.example:{server.server_port}/", HERE, LIMITS)
    assert caught.value.code == "tls_failed"


@pytest.mark.usefixtures("authority")
def test_a_server_that_speaks_no_tls_or_never_finishes_its_handshake_is_refused() -> None:
    with Loopback(file(PNG)) as server, pytest.raises(FetchError) as caught:
        fetch_image(f"https://127.0.0.1:{server.server_port}/", HERE, LIMITS)
    assert caught.value.code == "tls_failed"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchError) as caught:
        fetch_image(f"https://127.0.0.1:{silent.getsockname()[1]}/", HERE, SHORT)
    assert caught.value.code == "timed_out"


def test_a_redirect_from_https_to_http_is_refused(authority: trustme.CA) -> None:
    with Loopback(file(PNG)) as plain, encrypted(authority, "pictures.example", seen=[]) as server:
        server.answers = [status(302, Location=plain.url)]
        with pytest.raises(FetchError) as caught:
            fetch_image(f"https://pictures.example:{server.server_port}/", HERE, LIMITS)
        assert not plain.requests
    assert caught.value.code == "url_scheme"
