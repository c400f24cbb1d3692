"""One engine's process: `compare.py` starts it anew for every conversion, check and block.

    python benchmarks/compare_process.py JOB ENGINE VARIANT CASE_AS_JSON SECONDS

JOB is `convert`, `check` (outputs against the reference, then a short timing) or `block` (timing). What it found is the
last line on standard output, as JSON; the line `first` before it says when the first outputs were there.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from engines.engine import ENGINES, Case, Engine

FEWEST_RUNS = 5
WARM_UP_SHARE = 0.25


def engine_class(name: str) -> type[Engine]:
    """Import an engine's adapter, and with it the engine."""
    module, attribute = ENGINES[name].split(":")
    return getattr(importlib.import_module(f"engines.{module}"), attribute)


def time_runs(run: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Return the median and best time of a run, and how many CPUs others kept busy meanwhile."""
    until = time.perf_counter() + WARM_UP_SHARE * seconds
    while time.perf_counter() < until:
        run()
    times: list[float] = []
    others = OtherCpus()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < FEWEST_RUNS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"median": statistics.median(times), "best": min(times), "runs": len(times), "other_cpus": others.share()}


class OtherCpus:
    """How much of the machine others use: what the kernel counts as busy, less our own. 0 where it does not say."""

    def __init__(self) -> None:
        self._start = (time.perf_counter(), *_busy_and_own())

    def share(self) -> float:
        """Return the mean number of CPUs that others kept busy since the start."""
        wall, busy, own = (now - then for now, then in zip((time.perf_counter(), *_busy_and_own()), self._start))
        return max(0.0, (busy - own) / wall)


def _busy_and_own() -> tuple[float, float]:
    own = os.times()
    try:
        fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return own.user + own.system, own.user + own.system
    user, nice, system, _idle, _iowait, irq, soft_irq, steal = fields
    busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    return busy, own.user + own.system


def peak_memory() -> int:
    """Return this process's greatest resident set in bytes.

    `ru_maxrss` would also count the parent's, which a process that is started by `vfork` begins with.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def convert(name: str, case: Case) -> dict[str, Any]:
    """Convert the network for an engine, unless an earlier run did, and return what the engine is."""
    adapter = engine_class(name)
    stamp = case.path / f"{name}.converted"
    if not stamp.exists() or stamp.read_text() != adapter.version():
        adapter.convert(case)
        stamp.write_text(adapter.version())
    return {"version": adapter.version(), "variants": adapter.variants, "settings": adapter.settings()}


def first_outputs(name: str, variant: str, case: Case) -> tuple[Engine, Any, Any]:
    """Load the engine and run it once; return it, its input and what it gave."""
    engine = engine_class(name)(case, variant)
    x = engine.arrange(np.load(case.path / "input.npy"))
    return engine, x, engine.run(x)


def work(job: str, name: str, variant: str, case: Case, seconds: float, announce: Callable[[], None]) -> dict[str, Any]:
    """Do one job and return what it found."""
    if job == "convert":
        return convert(name, case)
    engine, x, result = first_outputs(name, variant, case)
    announce()
    found: dict[str, Any] = {}
    if job == "check":
        from compare_cases import worst_difference

        found["difference"] = worst_difference(engine.outputs(result), case)
    found |= time_runs(lambda: engine.run(x), seconds)
    return found | {"peak_memory": peak_memory()}


def main() -> None:
    job, name, variant, case, seconds = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # engines may print what they like on standard output
    os.dup2(2, 1)

    def announce() -> None:
        print("first", file=answers, flush=True)

    try:
        found = work(job, name, variant, Case(**json.loads(case)), float(seconds), announce)
    except Exception as error:  # whatever an engine raises is its result
        found = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), file=answers, flush=True)
    with contextlib.suppress(OSError):
        answers.close()
    os._exit(0)  # some engines abort while they are torn down


if __name__ == "__main__":
    main()
