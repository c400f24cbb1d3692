"""A lock between threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pure_detect.errors import InputError
from pure_detect.lock import locked
from tests.subprocesses import ROOT


def fail() -> None:
    raise AssertionError("nobody else holds the lock")


def test_one_at_a_time(tmp_path: Path):
    inside, most, waited = 0, 0, threading.Event()
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with locked(tmp_path / "lock", waited.set):
            with guard:
                inside += 1
                most = max(most, inside)
            waited.wait(1)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waited.is_set()
    assert most == 1


def test_it_is_free_after_use_and_after_an_error(tmp_path: Path):
    with pytest.raises(KeyError), locked(tmp_path / "lock", fail):
        raise KeyError
    for _ in range(2):
        with locked(tmp_path / "lock", fail):
            pass


def test_it_is_free_when_its_holder_was_killed(tmp_path: Path):
    code = "import sys, time; from pure_detect.lock import locked\n"
    code += "with locked(sys.argv[1], print): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], cwd=ROOT, stdout=subprocess.PIPE)
    waits: list[int] = []

    def kill() -> None:
        waits.append(1)
        holder.kill()

    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with locked(tmp_path / "lock", kill):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert waits == [1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    with (
        pytest.raises(InputError, match=r"absent/lock: cannot be written: .*PURE_DETECT_HOME"),
        locked(tmp_path / "absent" / "lock", fail),
    ):
        pass
