"""The threads that walk a plan together: made once a process, woken once an inference, made anew after a fork.

The calling thread walks the plan itself and never waits for anybody to wake up: threads that come late find less to
do. One inference runs at a time, since each uses all threads; others wait for their turn.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

_lock = threading.Lock()
_helpers: list[queue.SimpleQueue[Any]] = []


def together(work: Callable[[int], None], threads: int) -> None:
    """Call `work(number)` on this thread with number 0 and on threads - 1 others; return when this one is done.

    `work` must be such that when one call returns, all that matters is done; the others may come late, or see
    nothing. An exception of this thread's call is raised.
    """
    with _lock:
        while len(_helpers) < threads - 1:
            _helpers.append(_new_helper(len(_helpers) + 1))
        for helper in _helpers[: threads - 1]:
            helper.put(work)
        work(0)


def _new_helper(number: int) -> queue.SimpleQueue[Any]:
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def serve() -> None:
        while True:
            work = jobs.get()
            work(number)
            del work  # what it holds is not kept until the next one comes

    threading.Thread(target=serve, name=f"pure-detect-{number}", daemon=True).start()
    return jobs


def _forget_threads_after_fork() -> None:
    """Start a forked child with a free lock and no threads: the parent's do not exist there."""
    global _lock
    _lock = threading.Lock()
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads_after_fork)
