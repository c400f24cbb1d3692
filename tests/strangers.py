"""A machine with private servers, names that lead to them, and sockets that tell whether anybody came."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PUBLIC = "93.184.216.34"


class Names:
    """Stands in for the system's resolver.

    Parameters
    ----------
    answers : dict of str to str
        The addresses of each name with spaces between them; after a `|` those of the next question.

    Attributes
    ----------
    asked : list of str
        The name of every question.
    """

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = {name: [text.split() for text in found.split("|")] for name, found in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        left = self.answers[host]
        return [self._entry(address, port) for address in (left.pop(0) if len(left) > 1 else left[0])]

    @staticmethod
    def _entry(address: str, port: int) -> tuple[Any, ...]:
        v6 = ":" in address
        place = (address, port, 0, 0) if v6 else (address, port)
        return (socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM, 6, "", place)


class Connections:
    """Every address that is connected to; only loopback really is, anything else is refused on the spot.

    `silent` are addresses that answer nothing, not even that they refuse.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, silent: tuple[str, ...] = ()) -> None:
        self.made: list[str] = []
        connect = socket.socket.connect

        def recorded(connection: socket.socket, place: Any) -> None:
            self.made.append(place[0])
            if place[0] in silent:
                time.sleep(connection.gettimeout() or 60)
                raise TimeoutError("timed out")
            if not ipaddress.ip_address(place[0]).is_loopback:
                raise ConnectionRefusedError(111, "Connection refused")
            connect(connection, place)

        monkeypatch.setattr(socket.socket, "connect", recorded)


@contextmanager
def listening(*hosts: str) -> Iterator[list[socket.socket]]:
    """Listen at one port of several loopback addresses."""
    sockets: list[socket.socket] = []
    try:
        for host in hosts:
            listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sockets.append(listener)
            listener.bind((host, sockets[0].getsockname()[1] if len(sockets) > 1 else 0))
            listener.listen()
            listener.setblocking(False)
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


def has_visitor(listener: socket.socket) -> bool:
    """Return whether anybody has connected."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
