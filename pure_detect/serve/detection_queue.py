"""Few detections at a time, few requests that wait, and no request that takes for ever."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import TypeVar

from pure_detect.serve.errors import ServiceError

Answer = TypeVar("Answer")

LONGEST_RETRY = 60  # seconds

# Seconds before a refusal. Clients that ask again at once, whatever Retry-After says, would else take the processor and
# Python's global lock from the detections at work: with 128 of them a service that did 2.4 a second did none at all.
PAUSE = 0.1


class Deadline:
    """The moment by which a request must be answered."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        ServiceError
            If there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed()
        return left

    def missed(self) -> ServiceError:
        """Return the error of a request that was not done in time."""
        return ServiceError("time_limit", f"expected an answer within {self.seconds:g} s, found none by then")


class DetectionQueue:
    """Takes in a bounded number of requests, and lets a few of them work at a time.

    Parameters
    ----------
    concurrency : int
        Detections at the same time.
    places : int
        Requests taken in, those at work included.
    time_limit : float
        Seconds for each, from when it is taken in.
    """

    def __init__(self, concurrency: int, places: int, time_limit: float) -> None:
        self.places, self.taken = places, 0
        self._time_limit, self._concurrency = time_limit, concurrency
        self._lock = threading.Lock()
        self._benches = threading.Semaphore(concurrency)
        self._pool = futures.ThreadPoolExecutor(concurrency, "detection")
        self._mean_seconds = 0.0

    @contextmanager
    def admit(self) -> Iterator[Deadline]:
        """Take a request in until the block ends.

        Raises
        ------
        ServiceError
            If every place is taken.
        """
        if not self._take_a_place():
            time.sleep(PAUSE)
            raise self._full()
        try:
            yield Deadline(self._time_limit)
        finally:
            with self._lock:
                self.taken -= 1

    def _take_a_place(self) -> bool:
        with self._lock:
            free = self.taken < self.places
            self.taken += free
            return free

    def run(
        self, work: Callable[[], Answer], deadline: Deadline, is_wanted: Callable[[], bool] = lambda: True
    ) -> Answer:
        """Do work when its turn has come.

        Work that misses the deadline is given up by its request, and keeps its bench until it ends: no more than
        `concurrency` pieces are ever at work, and none waits that nobody waits for.

        Parameters
        ----------
        work : callable
        deadline : Deadline
        is_wanted : callable
            Asked when the turn has come: whether anybody still waits for the answer.

        Raises
        ------
        ServiceError
            If the deadline passes, or nobody waits any more.
        """
        if not self._benches.acquire(timeout=deadline.remaining()):
            raise deadline.missed()
        if not is_wanted():
            self._benches.release()
            raise ServiceError("client_gone", "expected a client that waits for its answer, found a closed connection")
        started = time.monotonic()
        future: futures.Future[Answer] = self._pool.submit(work)
        future.add_done_callback(lambda _: self._done(time.monotonic() - started))
        try:
            return future.result(timeout=deadline.remaining())
        except futures.TimeoutError:
            raise deadline.missed() from None
        finally:
            del future  # which holds the work's error, whose traceback holds this frame: and so the image, for long

    def _done(self, seconds: float) -> None:
        self._benches.release()
        with self._lock:
            self._mean_seconds += (seconds - self._mean_seconds) / 8

    def _full(self) -> ServiceError:
        """Return the error of a request that finds no place, with the seconds after which there may be one."""
        expected = self._mean_seconds * self.places / self._concurrency
        wait = min(max(1, math.ceil(expected)), LONGEST_RETRY)
        message = f"expected one of {self.places} places, found all taken; try again in {wait} s"
        return ServiceError("overloaded", message, {"Retry-After": str(wait)})
