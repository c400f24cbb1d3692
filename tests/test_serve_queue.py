"""The bounded queue: how many are taken in, how many work at a time, and what happens when time is up."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from pure_detect.serve.detection_queue import DetectionQueue
from pure_detect.serve.errors import ServiceError

LONG = 60.0  # seconds, never waited for


@pytest.fixture
def release():
    """Return an event that work waits for; it is set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def start(queue: DetectionQueue, work, results: list) -> threading.Thread:
    """Do work on another thread as a request does; its result, or its error, is added to a list."""

    def request() -> None:
        try:
            with queue.admit() as deadline:
                results.append(queue.run(work, deadline))
        except ServiceError as error:
            results.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    return thread


def blocking(release: threading.Event) -> tuple:
    """Return work that waits for an event, and an event that says that it has begun."""
    begun = threading.Event()

    def work() -> str:
        begun.set()
        release.wait(LONG)
        return "done"

    return work, begun


def test_work_gives_its_result_and_its_errors():
    queue = DetectionQueue(1, 1, LONG)
    with queue.admit() as deadline:
        assert queue.run(lambda: 7, deadline) == 7
        with pytest.raises(ZeroDivisionError):
            queue.run(lambda: 1 // 0, deadline)
        assert queue.run(lambda: 8, deadline) == 8
    assert queue.taken == 0


def test_one_more_than_there_are_places_is_refused_with_a_time_to_come_back(release):
    queue, results = DetectionQueue(1, 2, LONG), []
    work, begun = blocking(release)
    threads = [start(queue, work, results)]
    assert begun.wait(LONG)
    with queue.admit():
        with pytest.raises(ServiceError) as caught, queue.admit():
            pytest.fail("a third was taken in")
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
        assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    with queue.admit():
        pass  # the place is free again
    release.set()
    for thread in threads:
        thread.join(LONG)
    assert results == ["done"]


def test_no_more_work_at_a_time_than_allowed_and_all_of_it_is_done():
    queue, results = DetectionQueue(2, 20, LONG), []
    lock, running, most = threading.Lock(), 0, 0

    def work() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return "done"

    threads = [start(queue, work, results) for _ in range(20)]
    for thread in threads:
        thread.join(LONG)
    assert results == ["done"] * 20
    assert most == 2


def test_who_waits_too_long_is_told_so_and_leaves_the_queue(release):
    queue, results = DetectionQueue(1, 2, LONG), []
    work, begun = blocking(release)
    first = start(queue, work, results)
    assert begun.wait(LONG)
    queue._time_limit = 0.05
    start(queue, lambda: "never", results).join(LONG)
    assert [(error.code, error.status) for error in results] == [("time_limit", 504)]
    assert queue.taken == 1
    release.set()
    first.join(LONG)
    assert results[1:] == ["done"]


def test_work_that_takes_too_long_keeps_its_bench_until_it_ends(release):
    queue, results = DetectionQueue(1, 3, 0.05), []
    work, begun = blocking(release)
    start(queue, work, results).join(LONG)
    assert begun.is_set()
    assert [error.code for error in results] == ["time_limit"]
    start(queue, lambda: "beside it", results).join(LONG)
    assert [error.code for error in results] == ["time_limit"] * 2
    release.set()
    queue._time_limit = LONG
    start(queue, lambda: "after it", results).join(LONG)
    assert results[2:] == ["after it"]


def test_a_deadline_that_has_passed_starts_no_work():
    queue, done = DetectionQueue(1, 1, 1e-9), []
    with queue.admit() as deadline, pytest.raises(ServiceError, match="expected an answer within"):
        queue.run(lambda: done.append(1), deadline)
    assert done == []


def test_the_time_to_come_back_grows_with_what_work_takes():
    queue = DetectionQueue(2, 10, LONG)
    queue._mean_seconds = 1.5
    with ExitStack() as taken:
        for _ in range(10):
            taken.enter_context(queue.admit())
        with pytest.raises(ServiceError) as caught:
            taken.enter_context(queue.admit())
    assert caught.value.headers["Retry-After"] == "8"  # 10 places, 2 at a time, 1.5 s each


def test_work_that_nobody_waits_for_any_more_is_not_done_and_keeps_no_bench():
    queue, done = DetectionQueue(1, 1, LONG), []
    with queue.admit() as deadline:
        with pytest.raises(ServiceError) as caught:
            queue.run(lambda: done.append(1), deadline, lambda: False)
        assert (caught.value.code, done) == ("client_gone", [])
        assert queue.run(lambda: 7, deadline) == 7
