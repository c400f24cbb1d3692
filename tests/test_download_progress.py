"""What a user sees while a download runs."""

from __future__ import annotations

import io
import sys

import pytest

from pure_detect.download_progress import DownloadProgress
from pure_detect.progress import SECONDS_BETWEEN_LINES

MB = 1_000_000


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pure_detect.download_progress.time.monotonic", clock)
    return clock


class Screen(io.StringIO):
    """A terminal that remembers what it was told."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_with_percent_size_speed_and_time_left(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = DownloadProgress("yolov3.weights")
    progress(0, 248 * MB)
    clock.now += 20
    progress(62 * MB, 248 * MB)
    assert screen.getvalue() == "\r\x1b[Kyolov3.weights: 25 %, 62.0 of 248.0 MB, 3.1 MB/s, 1 min 00 s left"
    progress.close()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_the_line_fits_a_terminal_of_80_columns(clock: Clock):
    progress = DownloadProgress("yolo-fastest-1.1-xl.weights")
    progress(0, 257 * MB)
    assert len(progress.line(257 * MB - 1, 257 * MB, 3600 * 20)) < 80


def test_speed_does_not_count_what_an_earlier_run_fetched(clock: Clock):
    progress = DownloadProgress("x")
    progress(90 * MB, 100 * MB)
    assert progress.line(91 * MB, 100 * MB, 1.0) == "x: 91 %, 91.0 of 100.0 MB, 1.0 MB/s, 9 s left"


def test_a_start_from_the_beginning_counts_anew(clock: Clock):
    progress = DownloadProgress("x")
    progress(90 * MB, 100 * MB)
    progress(1 * MB, 100 * MB)
    assert progress.line(2 * MB, 100 * MB, 1.0) == "x: 2 %, 2.0 of 100.0 MB, 1.0 MB/s, 1 min 38 s left"


def test_without_a_known_size_there_is_no_percentage(clock: Clock):
    progress = DownloadProgress("x")
    progress(0, None)
    assert progress.line(2 * MB, None, 1.0) == "x: 2.0 MB, 2.0 MB/s"


def test_elsewhere_lines_are_plain_and_sparse(clock: Clock, capsys: pytest.CaptureFixture[str]):
    progress = DownloadProgress("x")
    for second in range(31):
        clock.now = 100.0 + second
        progress(second * MB, 100 * MB)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 30 // SECONDS_BETWEEN_LINES
    assert lines[0] == "x: 10 %, 10.0 of 100.0 MB, 1.0 MB/s, 1 min 30 s left"
