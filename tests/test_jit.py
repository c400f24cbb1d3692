"""Threads: every index exactly once, the same result for any number of threads, and no deadlock anywhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pure_detect import jit, ops
from pure_detect.ops.activation import activation_reference
from pure_detect.ops.add import add_scaled_reference
from pure_detect.ops.conv2d import conv2d_reference
from tests.adversarial_shapes import signed
from tests.subprocesses import run_python

COUNTS = (1, 2, 3, 5, 7, 8, 64, 1001)


@jit.kernel
def visit(start, stop, visits, starts):
    """Count a visit to every index of the range, and note where its range began."""
    for i in range(start, stop):
        visits[i] += 1
        starts[i] = start


@jit.kernel
def fail_at(start, stop, where):
    """Raise where the range holds the index."""
    if start <= where < stop:
        raise ValueError("this range fails")


@pytest.fixture
def restored_threads():
    """Give the process its own number of threads back."""
    yield
    jit.set_threads(None)


def visits_and_starts(count):
    visits, starts = np.zeros(count + 3, np.int64), np.full(count + 3, -1)
    jit.parallel_for(visit, count, visits, starts)
    return visits, starts


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("count", COUNTS)
def test_parallel_for_visits_every_index_exactly_once_and_none_beyond(count, threads):
    jit.set_threads(threads)
    visits, _ = visits_and_starts(count)
    assert visits.tolist() == [1] * count + [0] * 3


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("count", COUNTS)
def test_parallel_for_gives_each_thread_one_range_of_almost_equal_size(count, threads):
    jit.set_threads(threads)
    _, starts = visits_and_starts(count)
    _, sizes = np.unique(starts[:count], return_counts=True)
    assert len(sizes) == min(count, threads)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("count", [0, -1])
def test_parallel_for_over_nothing_does_nothing(count):
    visits = np.zeros(3, np.int64)
    jit.parallel_for(visit, count, visits, visits.copy())
    assert not visits.any()


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    jit.set_threads(1)
    alone = layers(0)
    jit.set_threads(threads)
    for value, expected in zip(layers(0), alone):
        np.testing.assert_array_equal(value, expected)


def layers(seed):
    """Return what a few kernels make of a random map."""
    x = signed((2, 7, 9, 6), seed)
    conv = ops.conv2d(x, signed((5, 7, 3, 3), seed + 1), padding=(1, 1, 1, 1))
    pool = ops.average_pool(conv, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    return conv, pool, ops.activation(conv, function="mish"), ops.connected(x, signed((4, 378), seed + 2))


@pytest.mark.usefixtures("restored_threads")
def test_eight_python_threads_share_the_pool():
    jit.set_threads(3)
    expected = [layers(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as callers:
        for found, values in zip(callers.map(layers, [*range(8)] * 5), expected * 5):
            for value, other in zip(found, values):
                np.testing.assert_array_equal(value, other)


def test_eight_threads_may_be_the_first_to_call_a_kernel():
    @jit.kernel
    def double(start, stop, out):
        for i in range(start, stop):
            out[i] *= 2

    barrier = threading.Barrier(8)

    def first_call(seed):
        out = np.arange(seed, seed + 100.0)
        barrier.wait(timeout=30)
        jit.parallel_for(double, 100, out)
        return out

    with ThreadPoolExecutor(8) as callers:
        for seed, out in enumerate(callers.map(first_call, range(8))):
            np.testing.assert_array_equal(out, 2 * np.arange(seed, seed + 100.0))


@pytest.mark.usefixtures("restored_threads")
def test_the_number_of_threads_may_change_while_others_compute():
    expected = layers(0)
    with ThreadPoolExecutor(4) as callers:
        running = [callers.submit(layers, 0) for _ in range(40)]
        for threads in (1, 2, 5, 3) * 10:
            jit.set_threads(threads)
        for future in running:
            np.testing.assert_array_equal(future.result(timeout=60)[0], expected[0])


@pytest.mark.usefixtures("restored_threads")
def test_a_new_number_of_threads_takes_effect_at_once():
    for threads in (2, 5, 3):
        jit.set_threads(threads)
        visits_and_starts(100)
        together = threading.Barrier(threads - 1)  # the caller is the last of the threads
        waiting = [jit._shared_pool().submit(together.wait, timeout=30) for _ in range(threads - 1)]
        assert sorted(future.result() for future in waiting) == list(range(threads - 1))


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("where", [0, 50, 99], ids=["first_range", "middle_range", "last_range"])
def test_an_error_in_any_range_reaches_the_caller_and_the_pool_goes_on(where):
    jit.set_threads(3)
    with pytest.raises(ValueError, match="this range fails"):
        jit.parallel_for(fail_at, 100, where)
    assert visits_and_starts(9)[0][:9].tolist() == [1] * 9


@pytest.mark.skipif(bool(jit.config.DISABLE_JIT), reason="nothing is compiled")
def test_a_read_only_array_does_not_compile_a_kernel_a_second_time():
    x, weight = signed((1, 3, 5, 4), 0), signed((2, 3), 1, np.float64)

    def run_all():
        ops.conv2d(x, signed((2, 3, 1, 1), 2))
        ops.weighted_add(x, x, weight=weight)
        ops.activation(x, function="relu")

    run_all()
    kernels = (conv2d_reference, add_scaled_reference, activation_reference)
    before = [len(kernel.overloads) for kernel in kernels]
    x.flags.writeable = weight.flags.writeable = False
    run_all()
    assert [len(kernel.overloads) for kernel in kernels] == before


def test_run_returns_what_the_kernel_returns():
    @jit.kernel
    def add(a, b):
        return a + b

    assert jit.run(add, 2, 3) == 5
    assert jit.run(add, 0.5, 1) == 1.5


@pytest.mark.usefixtures("restored_threads")
def test_set_threads_is_checked_and_none_means_every_cpu():
    jit.set_threads(5)
    assert jit.threads() == 5
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        jit.set_threads(0)
    assert jit.threads() == 5
    jit.set_threads(None)
    assert jit.threads() == jit.available_cpus() >= 1


SETUP = """
import os, signal, sys, threading, time
import numpy as np
from pure_detect import jit

@jit.kernel
def fill(start, stop, out):
    for i in range(start, stop):
        out[i] = i

def filled():
    out = np.zeros(100)
    jit.parallel_for(fill, 100, out)
    return out.sum() == 4950

jit.set_threads(3)
"""


def test_a_call_from_inside_the_pools_own_threads_does_not_deadlock():
    nested = SETUP + "print(all([f.result() for f in [jit._shared_pool().submit(filled) for _ in range(20)]]))"
    assert run_python(nested, timeout=60) == "True"


FORK = """
{before}
child = os.fork()
if child == 0:
    signal.alarm(20)  # ends a child that hangs
    os._exit(0 if filled() else 3)
print("child", os.waitpid(child, 0)[1], "parent", filled())
"""


START_EVERY_WORKER = """
together = threading.Barrier(2)
started = [jit._shared_pool().submit(together.wait) for _ in range(2)]
print([worker.result() for worker in started], filled())
"""


def test_a_forked_child_can_compute_after_the_parent_did():
    code = SETUP + FORK.format(before=START_EVERY_WORKER)
    assert run_python(code, timeout=60) == "child 0 parent True"


def test_a_child_forked_by_one_of_the_pools_threads_can_compute():
    code = SETUP + "def fork():\n" + "".join(f"    {line}\n" for line in FORK.format(before="").splitlines())
    assert run_python(code + "jit._shared_pool().submit(fork).result()", timeout=60) == "child 0 parent True"


# The parent's other thread is inside Numba, whose own lock a child forked just then inherits locked for ever.
FORK_WHILE_COMPILING = """
@jit.kernel
def other(start, stop, out):
    for i in range(start, stop):
        for j in range(out.size):
            out[i] = np.sqrt(out[j]) + np.sin(out[i])

compiling = threading.Thread(target=jit.parallel_for, args=(other, 1, np.zeros(1)))
compiling.start()
while compiling.is_alive() and jit._compile_lock.acquire(blocking=False):
    jit._compile_lock.release()
    time.sleep(0.001)
"""


def test_a_child_forked_while_another_thread_compiles_does_not_hang():
    code = SETUP + FORK.format(before=FORK_WHILE_COMPILING)
    assert run_python(code, timeout=60) == "child 0 parent True"
