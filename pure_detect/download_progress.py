"""The progress of a download on standard error: one line that is rewritten on a terminal, few lines elsewhere."""

from __future__ import annotations

import sys
import time

from pure_detect.progress import SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_UPDATES, duration


class DownloadProgress:
    """What :func:`pure_detect.download.fetch` reports to.

    Parameters
    ----------
    name : str
        Of the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()
        self._at_start: int | None = None
        self._open_line = False

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far it is, if it is time."""
        if self._at_start is None or done < self._at_start:  # the first bytes, or a start from the beginning
            self._at_start, self._started = done, time.monotonic()
        now = time.monotonic()
        pause = SECONDS_BETWEEN_UPDATES if self._terminal else SECONDS_BETWEEN_LINES
        if now - self._shown >= pause:
            self._shown = now
            self._print(self.line(done, total, now - self._started))

    def line(self, done: int, total: int | None, seconds: float) -> str:
        """Return what is shown: `yolov3.weights: 45 %, 112.0 of 248.0 MB, 3.2 MB/s, 43 s left`."""
        pace = (done - (self._at_start or 0)) / seconds if seconds > 0 else 0.0
        speed = f", {1e-6 * pace:.1f} MB/s" if pace else ""
        if total is None:
            return f"{self.name}: {1e-6 * done:.1f} MB{speed}"
        left = f", {duration((total - done) / pace)} left" if pace else ""
        percent = 100 * done // max(1, total)
        return f"{self.name}: {percent} %, {1e-6 * done:.1f} of {1e-6 * total:.1f} MB{speed}{left}"

    def close(self) -> None:
        """Clear the terminal's line."""
        if self._open_line:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open_line = False

    def _print(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open_line = True
        else:
            print(text, file=sys.stderr, flush=True)
