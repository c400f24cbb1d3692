"""Downloads from a server that cuts, stalls, lies, redirects and serves the wrong bytes."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pytest

from pure_detect.download import CHUNK, DownloadError, Limits, fetch
from pure_detect.errors import InputError
from pure_detect.http_client import Redirects
from tests.loopback import Answer, Loopback, chunked, endless, file, hang_up, status

CONTENT = np.random.default_rng(0).bytes(700_001)
OTHER = np.random.default_rng(1).bytes(700_001)
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
LIMITS = Limits(timeout=0.2, attempts=3, pause=0.001)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def get(server: Loopback, target: Path, **options: Any) -> Path:
    known = {"size": SIZE, "sha256": SHA256, "limits": LIMITS}
    return fetch(f"{server.url}/x.weights", target, **{**known, **options})


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def ranges(server: Loopback) -> list[str | None]:
    """Return the Range header of every request."""
    return [request.headers["Range"] for request in server.requests]


def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


# ---- what works


@pytest.mark.parametrize("answer", [file(CONTENT), chunked(CONTENT)], ids=["announced length", "chunks"])
@pytest.mark.parametrize("known", [{}, {"size": None}, {"size": None, "sha256": ""}], ids=["known", "sum", "nothing"])
def test_a_file_arrives_whole_and_alone(tmp_path: Path, answer: Answer, known: dict[str, Any]) -> None:
    with Loopback(answer) as server:
        assert get(server, tmp_path / "x", **known) == tmp_path / "x"
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert server.requests[0].headers["User-Agent"].startswith("pure-detect/")


def test_progress_counts_up_to_the_size(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with Loopback(file(CONTENT)) as server:
        get(server, tmp_path / "x", report=lambda *step: seen.append(step))
    assert seen == sorted(seen)
    assert seen[-1] == (SIZE, SIZE)


@pytest.mark.parametrize("etag", ['"1"', None], ids=["etag", "no etag"])
def test_a_cut_connection_is_taken_up_where_it_ended(tmp_path: Path, etag: str | None) -> None:
    with Loopback(file(CONTENT, cut=300_000, etag=etag), file(CONTENT, etag=etag)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-"]
    assert server.requests[1].headers["If-Range"] == etag


def test_a_stalled_connection_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    with Loopback(file(CONTENT, cut=300_000, stall=True), file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-"]


def test_a_server_without_ranges_sends_everything_again(tmp_path: Path) -> None:
    with Loopback(file(CONTENT, cut=300_000), file(CONTENT, ranges=False)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_file_that_changes_between_attempts_is_not_sewn_together(tmp_path: Path) -> None:
    with Loopback(file(OTHER, cut=300_000, etag='"old"'), file(CONTENT, etag='"new"')) as server:
        get(server, tmp_path / "x", sha256="")  # so that only the ETag can tell
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests[1].headers["If-Range"] == '"old"'


def test_a_changed_file_without_etag_is_noticed_by_its_sum_and_fetched_anew(tmp_path: Path) -> None:
    with Loopback(file(OTHER, cut=300_000, etag=None), file(CONTENT, etag=None)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-", None]


def test_a_file_that_has_become_shorter_than_the_part_is_fetched_anew(tmp_path: Path) -> None:
    part_of(tmp_path / "x").write_bytes(bytes(SIZE + 1))
    with Loopback(file(CONTENT)) as server:  # answers 416 to what lies behind the end
        get(server, tmp_path / "x", size=None)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={SIZE + 1}-", None]


@pytest.mark.parametrize("start", [1, SIZE + 5], ids=["earlier", "behind the end"])
def test_an_answer_with_another_range_is_not_used(tmp_path: Path, start: int) -> None:
    wrong = status(206, Content_Range=f"bytes {start}-{SIZE}/{SIZE}")
    with Loopback(file(CONTENT, cut=300_000), wrong, file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-", None]


@pytest.mark.parametrize("failure", [status(500), status(503), status(429), hang_up], ids=["500", "503", "429", "gone"])
def test_a_passing_failure_is_tried_again(tmp_path: Path, failure: Answer) -> None:
    with Loopback(failure, file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("86400", 30.0), ("Fri, 31 Dec 1999", 0.001)])
def test_a_busy_server_says_how_long_to_wait_within_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, waited: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pure_detect.download.time.sleep", waits.append)
    with Loopback(status(429, Retry_After=asked), file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert waits == [waited]


def test_redirects_are_followed_with_the_range(tmp_path: Path) -> None:
    redirect = status(302, Location="/elsewhere")
    with Loopback(redirect, file(CONTENT, cut=300_000), redirect, file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [request.path for request in server.requests] == ["/x.weights", "/elsewhere"] * 2
    assert server.requests[3].headers["Range"] == "bytes=300000-"


def test_the_proxy_of_the_environment_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(file(CONTENT)) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.delenv("no_proxy", raising=False)
        fetch("http://weights.invalid/x", tmp_path / "x", size=SIZE, sha256=SHA256)
    assert server.requests[0].path == "http://weights.invalid/x"


# ---- interrupted runs


class StopError(Exception):
    pass


@pytest.mark.parametrize("stop", [KeyboardInterrupt, StopError])
def test_an_interrupted_run_is_taken_up_by_the_next(tmp_path: Path, stop: type[BaseException]) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise stop

    with Loopback(file(CONTENT)) as server:
        with pytest.raises(stop):
            get(server, tmp_path / "x", report=interrupt)
        have = part_of(tmp_path / "x").stat().st_size
        assert 0 < have < SIZE
        assert not (tmp_path / "x").exists()
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None, f"bytes={have}-"]


def test_a_part_of_a_file_without_sum_is_not_trusted(tmp_path: Path) -> None:
    part_of(tmp_path / "x").write_bytes(OTHER[:1000])
    with Loopback(file(CONTENT)) as server:
        get(server, tmp_path / "x", sha256="")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server) == [None]


@pytest.mark.parametrize(("left", "asked"), [(CONTENT, []), (OTHER, [None]), (OTHER + b"!", [f"bytes={SIZE + 1}-"])])
def test_a_full_part_is_checked_before_anything_is_asked_for(
    tmp_path: Path, left: bytes, asked: list[str | None]
) -> None:
    part_of(tmp_path / "x").write_bytes(left)
    with Loopback(file(CONTENT)) as server:
        get(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert ranges(server)[:1] == asked


# ---- what fails, in one line, and leaves nothing of no use


FAILURES = {
    "wrong bytes": (file(OTHER), f"expected SHA-256 {SHA256}, found {hashlib.sha256(OTHER).hexdigest()}", 1),
    "a shorter file": (file(CONTENT[:-1]), "expected a file of 700,001 bytes, found 700,000 bytes of an unknown", 1),
    "a longer file": (file(CONTENT + b"!"), "found 700,002 bytes", 1),
    "announces too little": (file(CONTENT, length=10), "found 10 bytes", 1),
    "announces too much": (file(CONTENT, length=SIZE + 10), "found 700,011 bytes", 1),
    "more in chunks": (chunked(CONTENT + b"!"), "found more than 700,001 bytes", 1),
    "never ends": (endless, "found more than 700,001 bytes", 1),
    "not found": (status(404), "found status 404, Not Found", 1),
    "forbidden": (status(403), "found status 403, Forbidden", 1),
    "always busy": (status(503), "found status 503, Service Unavailable; 3 attempts", 3),
    "always hangs up": (hang_up, "closed connection without response; 3 attempts", 3),
    "no content": (status(204), "status 204, No Content, with another part than asked for; 3 attempts", 3),
    "redirect loop": (status(302, Location="/x.weights"), "status 302, The HTTP server returned a redirect error", 5),
    "redirect to a file": (status(302, Location="file:///etc/passwd"), "file:///etc/passwd' is not allowed", 1),
    "redirect to ftp": (status(302, Location="ftp://127.0.0.1/x"), "a redirect to ftp://127.0.0.1/x, which is not", 1),
}


@pytest.mark.parametrize(("answer", "message", "requests"), FAILURES.values(), ids=FAILURES)
def test_a_bad_answer_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, answer: Answer, message: str, requests: int
) -> None:
    with Loopback(answer) as server, pytest.raises(DownloadError) as error:
        get(server, tmp_path / "x")
    assert message in str(error.value)
    assert str(error.value).startswith(f"{server.url}/x.weights: expected ")
    assert "\n" not in str(error.value)
    assert len(server.requests) == requests
    assert nothing_in(tmp_path)


def test_a_connection_that_is_always_cut_ends_after_some_attempts_and_can_be_taken_up(tmp_path: Path) -> None:
    with Loopback(file(CONTENT, cut=100_000)) as server, pytest.raises(DownloadError) as error:
        get(server, tmp_path / "x")
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert "a connection that ended after 300,000 of 700,001 bytes; 3 attempts" in str(error.value)
    assert part_of(tmp_path / "x").read_bytes() == CONTENT[:300_000]


def test_a_server_that_always_stalls_is_given_up(tmp_path: Path) -> None:
    with (
        Loopback(file(CONTENT, cut=0, stall=True)) as server,
        pytest.raises(DownloadError, match="silence for"),
    ):
        get(server, tmp_path / "x")
    assert len(server.requests) == LIMITS.attempts


def test_a_body_without_known_length_is_bounded(tmp_path: Path) -> None:
    seen: list[int] = []
    limits = LIMITS._replace(largest=1_000_000)
    with Loopback(endless) as server, pytest.raises(DownloadError, match="more than 1,000,000 bytes"):
        get(server, tmp_path / "x", size=None, sha256="", limits=limits, report=lambda done, _: seen.append(done))
    assert max(seen) <= 1_000_000 + CHUNK
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "data:text/plain,x"])
def test_only_http_addresses_are_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="starts with http"):
        fetch(url, tmp_path / "x")


@pytest.mark.parametrize("url", ["http://weights.invalid/x", "http://127.0.0.1:1/x", "http://127.0.0.1:port/x"])
def test_an_address_that_does_not_answer_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr("pure_detect.download.time.sleep", lambda seconds: pytest.fail("waits to try again"))
    with pytest.raises(DownloadError, match=f"^{url}: expected a file, found "):
        fetch(url, tmp_path / "x")
    assert nothing_in(tmp_path)


def test_a_redirect_never_leaves_https() -> None:
    request = urllib.request.Request("https://weights.invalid/x")
    with pytest.raises(HTTPError, match="which is not https"):
        Redirects().redirect_request(request, None, 302, "Found", Message(), "http://weights.invalid/x")
    assert Redirects().redirect_request(request, None, 302, "Found", Message(), "https://weights.invalid/y")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"a file")
    with Loopback(file(CONTENT)) as server, pytest.raises(InputError, match="folder/x: cannot be written") as error:
        get(server, tmp_path / "folder" / "x")
    assert "PURE_DETECT_HOME" in str(error.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    part_of(tmp_path / "x").symlink_to("/dev/full")
    with Loopback(file(CONTENT)) as server, pytest.raises(InputError, match="No space left on device"):
        get(server, tmp_path / "x")


def test_downloads_in_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    with Loopback(file(CONTENT)) as server:
        threads = [threading.Thread(target=get, args=(server, tmp_path / str(i))) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [(tmp_path / str(i)).read_bytes() == CONTENT for i in range(4)] == [True] * 4
