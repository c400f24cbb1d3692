"""The service as a process of its own: real gunicorn, real sockets, on a free port of this machine."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.subprocesses import ROOT

START_LIMIT = 120  # seconds: where nothing is cached, kernels are compiled first


class Reply(NamedTuple):
    """An answer: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Return the code of an error, which is always JSON of the same form."""
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"code", "message"}
        assert "\n" not in self.json["error"]["message"]
        return self.json["error"]["code"]


class Service(NamedTuple):
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 60
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            return _reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.request("POST", path, body, headers)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """Open a connection for bytes that no client library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as opened:
            yield opened

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the lines of the log that have these fields; every line is JSON, but for the one for people."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if not line.startswith("serving ")]
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def resident_bytes(self) -> int:
        """Return the memory of the first worker."""
        pages = Path(f"/proc/{self.workers()[0]}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM, timeout: float = 120) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


def read_reply(connection: socket.socket) -> Reply:
    """Read one answer from a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return _reply(answer)


def _reply(answer: http.client.HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, headers, answer.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(*arguments: str, command: tuple[str, ...] | None = None, **options: Any) -> Iterator[Service]:
    """Run `pure-detect serve` with these arguments, wait until it answers, and end it afterwards.

    `command` replaces the command, the port is the last argument; `options` go to Popen.
    """
    port = free_port()
    command = command or (sys.executable, "-m", "pure_detect", "serve", *arguments, "--port")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        options = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, **options}
        with log.open("wb") as out:
            process = subprocess.Popen([*command, str(port)], stdout=out, stderr=out, **options)
        service = Service(process, port, log)
        try:
            _wait(service)
            yield service
        finally:
            if process.poll() is None:
                service.stop(signal.SIGKILL if _is_stuck(service) else signal.SIGTERM)


def _wait(service: Service) -> None:
    end = time.monotonic() + START_LIMIT
    while True:
        if service.process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the service did not start:\n{service.log.read_text()}")
        try:
            if service.request("GET", "/healthz").status == 200:
                return
        except OSError:
            time.sleep(0.05)


def _is_stuck(service: Service) -> bool:
    try:
        return service.request("GET", "/healthz", timeout=5).status != 200
    except OSError:
        return True
