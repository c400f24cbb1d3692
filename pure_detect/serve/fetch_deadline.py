"""One time limit over everything that a fetch waits for."""

from __future__ import annotations

import time

from pure_detect.serve.fetch_errors import FetchError


class Deadline:
    """The moment at which a fetch gives up, whatever it then waits for.

    Parameters
    ----------
    seconds : float
        From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, target: object) -> float:
        """Return how many seconds are left.

        Raises
        ------
        FetchError
            If none is; it names the target.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.error(target)
        return left

    def error(self, target: object) -> FetchError:
        """Return the error that says that the time is over."""
        return FetchError(
            "timed_out", f"{target}: expected a whole picture within {self.seconds:g} s, found no end of it"
        )
