"""Speed of COCO's protocol at val2017's size: ours, pycocotools and faster-coco-eval.

    python benchmarks/evaluate_speed.py [--rounds 3] [--images 5000] [--out benchmarks/results]

Each engine runs in a process of its own; only one works at a time, in blocks whose order rotates from round to round.
Before anything is timed the arrays of all are compared. Two times are taken: from data loaded into an engine's own
objects to the twelve figures, and from the two JSON files to the twelve figures. Writes `evaluate_speed.json` and
`evaluate_speed.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from evaluate_engines import ENGINES
from evaluate_set import write_set

HERE = Path(__file__).parent
OURS, REFERENCE = "pure-detect", "pycocotools"
LIMIT = 1e-12
MODES = {"evaluate": "loaded data to figures", "files": "JSON files to figures"}


class Process:
    """One engine's process, which waits when it is not asked anything."""

    def __init__(self, engine: str, folder: Path, **environment: str) -> None:
        paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "evaluate_engines.py"), engine, str(folder)],
            env=os.environ | {"PYTHONPATH": paths} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Send one command and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the engine's process ended during {command!r}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def verify(processes: dict[str, Process], folder: Path) -> dict[str, float]:
    """Return each engine's greatest difference from pycocotools; end the run if ours is over the limit."""
    arrays = {}
    for name, process in processes.items():
        process.ask("load")
        print(f"{name}: AP {process.ask('evaluate')['figures'][0]:.6f}", flush=True)
        process.ask(f"save {name}")
        with np.load(folder / f"{name}.npz") as file:
            arrays[name] = dict(file)
    differences = {
        name: max(float(np.abs(own[key] - arrays[REFERENCE][key]).max()) for key in ("precision", "recall"))
        for name, own in arrays.items()
    }
    if differences[OURS] > LIMIT:
        raise SystemExit(f"not timed: our arrays differ from pycocotools' by {differences[OURS]:g}")
    return differences


def measure(processes: dict[str, Process], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds by mode and engine, one a round."""
    seconds: dict[str, dict[str, list[float]]] = {mode: {name: [] for name in processes} for mode in MODES}
    names = list(processes)
    for turn in range(rounds):
        for mode in MODES:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                seconds[mode][name].append(processes[name].ask(mode)["seconds"])
                print(f"round {turn + 1}, {MODES[mode]}, {name}: {seconds[mode][name][-1]:.3f} s", flush=True)
    return seconds


def first_call(folder: Path) -> dict[str, float]:
    """Return the seconds of the first evaluation of a process: without a cache of compiled kernels, and with one."""
    times = {}
    with tempfile.TemporaryDirectory() as cache:
        for state in ("compiling", "from the cache"):
            process = Process(OURS, folder, NUMBA_CACHE_DIR=cache)
            process.ask("load")
            times[state] = process.ask("evaluate")["seconds"]
            process.close()
    return times


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    packages = ("numpy", "numba", "pycocotools", "faster-coco-eval")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: version(name) for name in packages} | {"python": platform.python_version()}
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {"cpu": cpu_name(), "cpus": cpus, "load": load, "system": platform.platform(), "versions": versions}


def markdown(report: dict[str, Any]) -> str:
    """Return the report as it stands in the documentation."""
    size, where = report["set"], report["machine"]
    lines = [
        "# Speed of COCO's evaluation",
        "",
        "Generated by `benchmarks/evaluate_speed.py`; do not edit.",
        "",
        f"{size['images']:,} images, {size['objects']:,} objects, {size['classes']} classes, {size['detections']:,} "
        f"detections, synthetic. Medians of {report['rounds']} rounds, one process an engine, in rotated blocks.",
        "",
        "| Engine | " + " | ".join(f"{text}, s | times ours" for text in MODES.values()) + " | greatest difference |",
        "| --- |" + " ---: | ---: |" * len(MODES) + " ---: |",
    ]
    medians = report["medians"]
    for name, difference in report["difference_from_pycocotools"].items():
        cells = [f"{medians[mode][name]:.2f} | {medians[mode][name] / medians[mode][OURS]:.1f}" for mode in MODES]
        lines.append(f"| {name} | {' | '.join(cells)} | {difference:.0e} |")
    first = report["first_call"]
    versions = ", ".join(f"{name} {text}" for name, text in where["versions"].items())
    return "\n".join([
        *lines,
        "",
        "Loaded data: for pure-detect arrays, for the others their own objects of dictionaries (`COCO`, `loadRes`). "
        "The difference is that of the precision and recall arrays from pycocotools'.",
        "",
        f"Our first evaluation in a process takes {first['compiling']:.1f} s where the kernels are compiled, "
        f"{first['from the cache']:.1f} s where they come from the cache on disk.",
        "",
        f"{where['cpu']}, {where['cpus']} CPUs (load average before the run {where['load']}), {where['system']}; "
        f"{versions}.",
        "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "rounds": options.rounds}
    print(json.dumps(report["machine"]), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["set"] = write_set(folder, options.images)
        processes = {engine: Process(engine, folder) for engine in ENGINES}
        report["difference_from_pycocotools"] = verify(processes, folder)
        report["seconds"] = measure(processes, options.rounds)
        for process in processes.values():
            process.close()
        report["first_call"] = first_call(folder)
    report["medians"] = {
        mode: {engine: statistics.median(times) for engine, times in engines.items()}
        for mode, engines in report["seconds"].items()
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "evaluate_speed.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.out / "evaluate_speed.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
