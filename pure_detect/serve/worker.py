"""Gunicorn's threaded worker, with a time limit on what a client sends and on what it takes."""

from __future__ import annotations

import ctypes
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import TConn, ThreadWorker

from pure_detect.errors import InputError
from pure_detect.serve.settings import SETTINGS

M_ARENA_MAX = -8  # of glibc's malloc.h
WRITE_LIMIT = 30.0  # seconds for a client to take an answer


class SlowClientError(NoMoreData, TimeoutError):
    """A client that has not sent its request in time; to gunicorn, one that has gone."""


class TimedSocket(socket.socket):
    """A connection on which a request must arrive by a deadline, and an answer leave within a limit.

    A limit on each read, which is all that a socket's own timeout is, lets a client send one byte at a time for ever.
    """

    deadline = float("inf")  # on time.monotonic()

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Read what has come, by the deadline."""
        own, left = self.gettimeout(), self.deadline - time.monotonic()
        if left <= 0:
            raise SlowClientError
        self.settimeout(left if own is None else min(own, left))
        try:
            return super().recv(bufsize, flags)
        except TimeoutError:
            raise SlowClientError from None
        finally:
            self.settimeout(own)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Write everything within the limit."""
        own = self.gettimeout()
        self.settimeout(WRITE_LIMIT if own is None else min(own, WRITE_LIMIT))
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise BrokenPipeError("the client does not take the answer") from None
        finally:
            self.settimeout(own)

    def is_closed(self) -> bool:
        """Tell whether the client has closed the connection: then there is something to read, the end."""
        readable = select.poll()
        readable.register(self, select.POLLIN)
        try:
            return bool(readable.poll(0)) and super().recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


class Worker(ThreadWorker):
    """Loads the models before it accepts anything, and holds clients to their time limits."""

    def load_wsgi(self) -> None:
        """Load the application; a model that cannot be loaded ends the server with one line, not in a loop."""
        _limit_arenas()
        try:
            with self._alive():
                super().load_wsgi()
            self.read_limit = self.wsgi.config[SETTINGS].read_limit
        except InputError as error:
            self.log.error("%s", error)
            sys.exit(Arbiter.APP_LOAD_ERROR)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Show the master signs of life while kernels are compiled, which can take longer than its patience."""
        loaded = threading.Event()

        def beat() -> None:
            while not loaded.wait(1):
                self.notify()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            loaded.set()
            thread.join()

    def handle(self, conn: TConn) -> Any:
        """Answer one request of a connection."""
        if not isinstance(conn.sock, TimedSocket):
            conn.sock = TimedSocket(fileno=conn.sock.detach())
        conn.sock.deadline = time.monotonic() + self.read_limit
        answer = super().handle(conn)
        if not answer:
            # Closing waits up to 2 s for the client's last bytes: here, since the main thread would hold up everybody.
            conn.close(graceful=True)
            conn.close = _closed_already
        return answer


def _limit_arenas() -> None:
    """Let all threads share two of glibc's heaps, or each would keep the pieces of large images in one of its own."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def _closed_already(graceful: bool = False) -> None:
    """Stand in for a connection's close, which the main thread calls once more."""
