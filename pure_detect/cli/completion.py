"""What a shell offers at the tab key; argcomplete, of the extra `completion`, speaks with the shell."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any

from pure_detect.registry import PUBLISHED

Completer = Callable[..., Iterable[str]]


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, if it is a shell that asks."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:  # the shell was told by another installation
        return
    argcomplete.autocomplete(parser)


def complete_with(action: argparse.Action, completer: Completer) -> None:
    """Say what completes an argument; files complete those of which nothing is said."""
    action.completer = completer  # type: ignore[attr-defined]


def model_completer(*endings: str) -> Completer:
    """Return what completes the name of a model: the registry's names, and files with one of the endings."""

    def completer(prefix: str, **_: Any) -> list[str]:
        from argcomplete.completers import FilesCompleter

        files = FilesCompleter(endings)(prefix) if endings else []
        return [*(name for name in PUBLISHED if name.startswith(prefix)), *files]

    return completer
