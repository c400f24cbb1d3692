"""What can be set about the service: once, for the command line's options and the container's environment."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from pure_detect.errors import InputError
from pure_detect.registry import DEFAULT_MODEL

PREFIX = "PURE_DETECT_SERVE_"
SETTINGS = "PURE_DETECT"  # where the application's configuration keeps them
NOTES = "pure_detect.notes"  # where a request's environment keeps what the application adds to its line in the log
PORT = "PORT"  # where serverless platforms say which port they expect


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a parser of integers in a range."""
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= (most or int(text))):
            raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds over 0, found {text!r}")
    return value


def names(text: str) -> tuple[str, ...]:
    """Parse a list, comma between its members."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"expected names with commas between them, found {text!r}")
    return found


def networks(text: str) -> tuple[str, ...]:
    """Parse a list of address ranges such as 10.0.0.0/8."""
    for name in names(text):
        try:
            ipaddress.ip_network(name)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected a range such as 10.0.0.0/8, found {name!r}: {error}") from None
    return names(text)


def _setting(default: Any, parse: Callable[[str], Any], metavar: str, text: str) -> Any:
    return field(default=default, metadata={"parse": parse, "metavar": metavar, "help": text})


@dataclass(frozen=True)
class Settings:
    """How the service runs. Every field is an option of `pure-detect serve` and a variable `PURE_DETECT_SERVE_...`.

    Limits hold for each worker: it has its own models, its own queue and its own threads.
    """

    models: tuple[str, ...] = _setting((DEFAULT_MODEL,), names, "A,B.h5", "registry names and weight files to serve")
    host: str = _setting("127.0.0.1", str, "ADDRESS", "address to listen on")
    port: int = _setting(8080, whole_number(0, 65535), "N", "port to listen on")
    workers: int = _setting(1, whole_number(1, 256), "N", "processes, each with its own models")
    threads: int | None = _setting(None, whole_number(1), "N", "threads of the kernels, a worker (default: all CPUs)")
    concurrency: int = _setting(2, whole_number(1, 256), "N", "detections at the same time, a worker")
    queue: int = _setting(16, whole_number(0, 10_000), "N", "requests that may wait, a worker; more get a 503")
    time_limit: float = _setting(30.0, seconds, "S", "seconds for a request, waiting and fetching included")
    read_limit: float = _setting(10.0, seconds, "S", "seconds for a client to send its request, and for a fetch")
    max_bytes: int = _setting(10_000_000, whole_number(1), "N", "bytes of an image file")
    max_pixels: int = _setting(25_000_000, whole_number(1), "N", "pixels of an image")
    allow_address: tuple[str, ...] = _setting(
        (), networks, "CIDR", "range that images may be fetched from although it is not public; may be repeated"
    )

    @property
    def places(self) -> int:
        """Return how many requests a worker takes in: those at work and those that wait."""
        return self.concurrency + self.queue

    @property
    def address(self) -> str:
        """Return host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings that variables name; an empty one counts as none.

        Raises
        ------
        InputError
            If a variable has a value that cannot be used, or there is no such setting.
        """
        known = {variable(setting): setting for setting in fields(cls)}
        for name in environment:
            if name.startswith(PREFIX) and name not in known:
                raise InputError(f"{name}: expected one of {', '.join(known)}, found no such setting")
        given = {name: environment[name] for name in known if environment.get(name)}
        if environment.get(PORT):
            given.setdefault(f"{PREFIX}PORT", environment[PORT])
        values = {}
        for name, text in given.items():
            try:
                values[known[name].name] = known[name].metadata["parse"](text)
            except argparse.ArgumentTypeError as error:
                raise InputError(f"{name}: {error}") from None
        return cls(**values)


def variable(setting: Field[Any]) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + setting.name.upper()
