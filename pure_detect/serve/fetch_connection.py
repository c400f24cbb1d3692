"""One HTTP request on a connection to an address that was checked before.

`http.client` speaks the protocol. What it leaves open is done here: the socket is made for the checked address and
handed to it, so that nothing resolves the name a second time; every wait ends at the deadline, also for an answer of
which one byte a second drips in; and what a server may send has an end. Proxies of the environment have no say.
"""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from pure_detect import __version__
from pure_detect.serve.fetch_addresses import Address
from pure_detect.serve.fetch_deadline import Deadline
from pure_detect.serve.fetch_errors import FetchError
from pure_detect.serve.fetch_url import Target

LARGEST_HEAD = 1 << 16  # bytes of status line and headers
MOST_ADDRESSES = 4  # of a name: so many are tried
BUFFER = 1 << 16

# Some hosts turn away clients without a name. `http.client` itself adds "Accept-Encoding: identity".
HEADERS = {"User-Agent": f"pure-detect/{__version__}", "Accept": "image/*", "Connection": "close"}


@contextmanager
def request(target: Target, addresses: list[Address], deadline: Deadline, largest: int) -> Iterator[HTTPResponse]:
    """Ask for the target at one of the addresses, and close the connection afterwards.

    Parameters
    ----------
    target : Target
    addresses : list of Address
        Its host's, each permitted.
    deadline : Deadline
    largest : int
        Bytes of the body that the caller will accept.

    Yields
    ------
    HTTPResponse
        Its body unread.

    Raises
    ------
    FetchError
        If no connection comes about, the other side is not who it should be, or does not speak HTTP; what goes wrong
        while the caller reads the body is said the same way.
    """
    with _in_plain_words(target, deadline), _connected(target, addresses, deadline) as connected:
        wire = _Wire(connected, target, deadline)
        kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
        connection = kind(target.host, target.port)
        connection.sock = wire
        connection.request("GET", target.path, headers=HEADERS)
        with connection.getresponse() as response:
            wire.start_body(largest)
            yield response


@contextmanager
def _in_plain_words(target: Target, deadline: Deadline) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into a FetchError."""
    try:
        yield
    except TimeoutError:
        raise deadline.error(target) from None
    except ssl.SSLError as error:
        found = getattr(error, "verify_message", "") or error.reason or "something else"
        raise FetchError(
            "tls_failed", f"{target}: expected TLS and a certificate of this host, found {found}"
        ) from None
    except OSError as error:
        found = (error.strerror or str(error) or type(error).__name__).lower()
        raise FetchError("connection_failed", f"{target}: expected an answer, found {found}") from None
    except (HTTPException, ValueError) as error:
        raise FetchError("bad_answer", f"{target}: expected an answer in HTTP, found {type(error).__name__}") from None


@contextmanager
def _connected(target: Target, addresses: list[Address], deadline: Deadline) -> Iterator[socket.socket]:
    """Connect, over TLS where the target says so."""
    plain = _first_that_answers(target, addresses, deadline)
    with plain:
        if target.scheme == "http":
            yield plain
        else:
            plain.settimeout(deadline.left(target))
            with _tls().wrap_socket(plain, server_hostname=target.host) as encrypted:
                yield encrypted


def _first_that_answers(target: Target, addresses: list[Address], deadline: Deadline) -> socket.socket:
    """Try the addresses one after another; none may use up the time of those after it."""
    tried = addresses[:MOST_ADDRESSES]
    for i, address in enumerate(tried, start=1):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(deadline.left(target) / (len(tried) - i + 1))
            connection.connect((str(address), target.port))
            return connection
        except OSError:
            connection.close()
            if i == len(tried):
                raise
        except BaseException:
            connection.close()
            raise
    raise AssertionError("a name without an address is refused before")


@cache
def _tls() -> ssl.SSLContext:
    """Return the settings of TLS: the system's authorities, the host's name checked."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Wire:
    """What `http.client` asks of a socket, with a deadline and an end.

    Parameters
    ----------
    connection : socket
        The caller closes it.
    target : Target
    deadline : Deadline
    """

    def __init__(self, connection: socket.socket, target: Target, deadline: Deadline) -> None:
        self._connection, self._target, self._deadline = connection, target, deadline
        self._budget, self._over = (
            LARGEST_HEAD,
            FetchError("bad_answer", f"{target}: expected headers of at most {LARGEST_HEAD:,} bytes, found more"),
        )

    def start_body(self, largest: int) -> None:
        """Allow a body of `largest` bytes, and as much again for the frames that it may come in."""
        self._budget, self._over = 2 * largest + LARGEST_HEAD, too_large(self._target, largest)

    def sendall(self, data: Any) -> None:
        """Send the request."""
        self._connection.settimeout(self._deadline.left(self._target))
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the bytes that come."""
        return io.BufferedReader(_Incoming(self), BUFFER)

    def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes; return how many came, 0 at their end."""
        if not self._budget:
            raise self._over
        self._connection.settimeout(self._deadline.left(self._target))
        count = self._connection.recv_into(buffer[: self._budget])
        self._budget -= count
        return count

    def close(self) -> None:
        """Leave the connection open: the answer is still read from it."""


class _Incoming(io.RawIOBase):
    """A wire as the file that a BufferedReader reads."""

    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next."""
        return self._wire.receive_into(memoryview(buffer))


def too_large(target: Target, largest: int) -> FetchError:
    """Return the error that says that a body exceeds what is accepted."""
    return FetchError("too_large", f"{target}: expected a picture of at most {largest:,} bytes, found more")
