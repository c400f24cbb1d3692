"""A lock between processes, which the system gives back when its holder dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pure_detect.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SECONDS_BETWEEN_TRIES = 0.1


@contextmanager
def locked(path: str | Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file, which stays behind empty: to remove it would pull it away from under a waiting process.

    Parameters
    ----------
    path : path
    waiting : callable
        Called once if another process, or another thread, holds the lock.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    try:
        file = open(path, "ab")  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}; PURE_DETECT_HOME names another folder"
        ) from None
    with file:
        if not _try_lock(file):
            waiting()
            while not _try_lock(file):
                time.sleep(SECONDS_BETWEEN_TRIES)
        yield  # closing the file gives the lock back


def _try_lock(file: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a network file system without locks: better to go on than to never start
        return True
    return True
