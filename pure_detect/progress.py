"""Progress of long work on standard error: one line that is rewritten on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_UPDATES = 0.1


class Progress:
    """Counts finished pieces of work and estimates the time left from the pace so far.

    Parameters
    ----------
    total : int
        How many pieces there are.
    what : str
        What a piece is called: "images".
    done : int
        How many an earlier run has finished; they do not count for the pace.
    """

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self.total, self.what = total, what
        self.done = self._at_start = done
        self._started = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self) -> None:
        """Count one more piece, and show it if it is time."""
        self.done += 1
        now = time.monotonic()
        pause = SECONDS_BETWEEN_UPDATES if self._terminal else SECONDS_BETWEEN_LINES
        if now - self._shown >= pause or self.done == self.total:
            self._shown = now
            end = "" if self._terminal and self.done < self.total else "\n"
            start = "\r\x1b[K" if self._terminal else ""
            print(f"{start}{self.line(now)}", end=end, file=sys.stderr, flush=True)

    def line(self, now: float) -> str:
        """Return what is shown: `12 of 80 images, 0.21 s each, 14 s left`."""
        each = (now - self._started) / max(1, self.done - self._at_start)
        text = f"{self.done} of {self.total} {self.what}, {each:.2g} s each"
        return f"{text}, {duration(each * (self.total - self.done))} left" if self.done < self.total else text


def duration(seconds: float) -> str:
    """Return a time as people say it: `14 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
