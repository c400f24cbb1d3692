"""Getting one file over HTTP: resumable, checked, whole or not at all.

The bytes gather in `<target>.part`, which takes the target's place once length and SHA-256 are right. A connection
that breaks is taken up where it ended (`Range`); the server's validator (`If-Range`) makes sure that it still is the
same file. A part that an earlier run left is taken up only if a SHA-256 is known, since nothing else could tell
whether the two halves belong together.

Proxies are those of the environment (`http_proxy`, `https_proxy`, `no_proxy`), as Python's urllib reads them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError, URLError

from pure_detect import http_client
from pure_detect.errors import InputError

CHUNK = 1 << 18
LONGEST_WAIT = 30.0  # seconds that a busy server may ask us to wait before the next attempt

Report = Callable[[int, "int | None"], None]


class Limits(NamedTuple):
    """How long a download may take to fail, and how large it may grow."""

    timeout: float = 20.0  # seconds without an answer, or without another byte
    attempts: int = 5
    pause: float = 1.0  # seconds before the second attempt, twice as many before each further one
    largest: int = 1 << 30  # bytes, of a file whose size nobody states


DEFAULT_LIMITS = Limits()


class DownloadError(InputError):
    """An address that does not give the expected file; another address may."""


class _Interrupted(Exception):  # noqa: N818
    """What another attempt may mend."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def fetch(
    url: str,
    target: str | Path,
    *,
    size: int | None = None,
    sha256: str = "",
    report: Report | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Path:
    """Download a file.

    Parameters
    ----------
    url : str
        http or https.
    target : path
        In a folder that exists. Two processes must not fetch the same target at once: see `pure_detect/lock.py`.
    size : int, optional
        In bytes. Never more is kept than this, or than the server announces.
    sha256 : str
        Empty if unknown.
    report : callable, optional
        Called with (bytes so far, bytes in all or None) as they come.
    limits : Limits

    Returns
    -------
    Path
        The target.

    Raises
    ------
    DownloadError
        If the address does not give that file. A part stays behind only where it is good for another attempt.
    InputError
        If the file cannot be written.
    """
    target = Path(target)
    download = _Download(url, target, size, sha256, report, limits)
    try:
        download.run()
        os.replace(download.part, target)
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written: {error.strerror or error}; PURE_DETECT_HOME names another folder"
        ) from None
    return target


def check(path: Path, size: int | None, sha256: str, name: str | None = None) -> None:
    """Compare a file with its published length and SHA-256.

    Raises
    ------
    DownloadError
        If it is another file; the message calls it `name`, else by its path.
    """
    name, found = name or str(path), path.stat().st_size
    if size is not None and found != size:
        raise DownloadError(f"{name}: expected {size:,} bytes, found {found:,}")
    if sha256:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise DownloadError(f"{name}: expected SHA-256 {sha256}, found {digest.hexdigest()}: another file")


class _Download:
    """One file on its way.

    Attributes
    ----------
    part : Path
        The bytes so far.
    validator : str
        What the server calls this version of the file.
    answered : bool
        Whether the server has ever answered; if not, there probably is no network, and trying again is waiting.
    joined : bool
        Whether the part may come from more than one answer.
    """

    def __init__(
        self, url: str, target: Path, size: int | None, sha256: str, report: Report | None, limits: Limits
    ) -> None:
        self.url, self.size, self.sha256, self.report, self.limits = url, size, sha256, report, limits
        self.part = target.with_name(f"{target.name}.part")
        self.validator, self.answered, self.joined = "", False, True

    def run(self) -> None:
        """Fill the part with the whole file, or raise."""
        if not self.url.startswith(("http://", "https://")):
            raise DownloadError(f"{self.url}: expected an address that starts with http:// or https://")
        if not self.sha256:
            self._discard()
        for attempt in range(1, self.limits.attempts + 1):
            try:
                return self._attempt()
            except _Interrupted as interruption:
                if attempt == self.limits.attempts:
                    raise self._error(f"{interruption}; {attempt} attempts") from None
                time.sleep(max(interruption.wait, self.limits.pause * 2 ** (attempt - 1)))

    def _attempt(self) -> None:
        have = self.part.stat().st_size if self.part.is_file() else 0
        if self.size is None or have != self.size:
            with self._ask(have) as response:
                self._receive(response, have)
        try:
            check(self.part, self.size, self.sha256, self.url)
        except DownloadError:
            self._discard()
            if self.joined:
                raise _Interrupted("parts that do not belong together") from None
            raise

    def _ask(self, have: int) -> HTTPResponse:
        """Ask for the file, or for what is missing of it."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self.validator:
            headers["If-Range"] = self.validator
        try:
            response = http_client.get(self.url, headers, self.limits.timeout)
        except HTTPError as error:
            self.answered = True
            with error:
                raise self._refusal(error) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = http_client.reason(error, self.limits.timeout)
            if not self.answered and isinstance(error, (URLError, InvalidURL, ValueError)):
                raise self._error(reason) from None
            raise _Interrupted(reason) from None
        self.answered = True
        return response

    def _refusal(self, error: HTTPError) -> Exception:
        """Return what an answer other than the file means."""
        found = f"status {error.code}, {' '.join(str(error.reason).split())}"
        if error.code == 416:  # the file ends before the part does
            self._discard()
            return _Interrupted(found)
        if error.code == 429 or error.code >= 500:
            wait = error.headers.get("Retry-After", "")
            return _Interrupted(found, min(float(wait), LONGEST_WAIT) if wait.isdecimal() else 0.0)
        return self._error(found)

    def _receive(self, response: HTTPResponse, have: int) -> None:
        announced = self._announced(response, have)
        if self.size is not None and announced is not None and announced != self.size:
            self._discard()
            raise self._error(f"{announced:,} bytes of {response.headers.get('Content-Type', 'an unknown type')}")
        self.joined = response.status == 206
        have = have if self.joined else 0
        self.validator = http_client.validator(response) or (self.validator if self.joined else "")
        total = announced if self.size is None else self.size
        limit = self.limits.largest if total is None else total
        with open(self.part, "ab" if have else "wb") as file:
            have = self._copy(response, file, have, total, limit)
        if have > limit:
            self._discard()
            raise self._error(f"more than {limit:,} bytes")
        if total is not None and have < total:
            raise _Interrupted(f"a connection that ended after {have:,} of {total:,} bytes")

    def _announced(self, response: HTTPResponse, have: int) -> int | None:
        """Return the length of the whole file as the server announces it."""
        if response.status == 200:
            return http_client.content_length(response)
        found = http_client.content_range(response) if response.status == 206 else None
        if found is None or found[0] != have:
            self._discard()
            raise _Interrupted(f"status {response.status}, {response.reason}, with another part than asked for")
        return found[1]

    def _copy(self, response: HTTPResponse, file: BinaryIO, have: int, total: int | None, limit: int) -> int:
        """Append the answer's body to the part; return how many bytes have then come, more than `limit` at once."""
        while have <= limit:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, HTTPException, ValueError) as error:
                raise _Interrupted(http_client.reason(error, self.limits.timeout)) from None
            if not chunk:
                break
            have += len(chunk)
            file.write(chunk)
            if self.report:
                self.report(have, total)
        return have

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)

    def _error(self, found: str) -> DownloadError:
        expected = "a file" if self.size is None else f"a file of {self.size:,} bytes"
        return DownloadError(f"{self.url}: expected {expected}, found {found}")
