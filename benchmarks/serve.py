"""The service's throughput, its latency under load and its cold start, beside the seed's own design.

    python benchmarks/serve.py [--rounds 3] [--seconds 20] [--connections 1,4,16] [--load 600]

Needs wrk, OpenCV 4, the extra `serve` and the data of `../shared`. The same network (YOLO-Fastest 1.1 XL), the same
picture, the same request `GET /predict/v1?image_url=...`; the picture is served by the benchmark. Before anything is
timed the answers of both are compared. Blocks rotate; only one server runs at a time. `--load` holds the service for
that many seconds under more connections than its queue has places. Writes `serve.json` and `serve.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from machine import machine

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
YOLO = DATA / "weights" / "yolo_fastest"
OURS, SEED = "pure-detect", "OpenCV under Flask"
PORT, PICTURES = 9310, 9311
OVERLOAD = 128  # connections; the queue has 18 places

# A thread of wrk has variables of its own: each counts, and the sum is made at the end.
SCRIPT = """
local threads = {}
setup = function(thread) table.insert(threads, thread) end
init = function(args) ok, busy, other = 0, 0, 0 end
response = function(status, headers, body)
  if status == 200 then ok = ok + 1 elseif status == 503 then busy = busy + 1 else other = other + 1 end
end
done = function(summary, latency, requests)
  local ok, busy, other = 0, 0, 0
  for _, thread in ipairs(threads) do
    ok, busy, other = ok + thread:get("ok"), busy + thread:get("busy"), other + thread:get("other")
  end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d %.0f %.0f\\n", ok, busy, other, errors, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve_pictures() -> None:
    """Serve the pictures until the benchmark ends."""
    handler = partial(Quiet, directory=str(DATA / "images"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PICTURES), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def commands(model: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return the command of each server, and the variables that it needs."""
    python = [sys.executable, "-m"]
    ours = [*python, "pure_detect", "serve", "--models", str(model), "--port", str(PORT)]
    seed = [*python, "gunicorn", "--workers", "1", "--threads", "8", "--bind", f"127.0.0.1:{PORT}", "serve_seed:app"]
    files = {
        "SEED_CFG": str(YOLO / "yolo-fastest-1.1-xl.cfg"),
        "SEED_WEIGHTS": str(YOLO / "yolo-fastest-1.1-xl.weights"),
        "SEED_LABELS": str(YOLO / "coco.names"),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
    }
    return {OURS: ([*ours, "--allow-address", "127.0.0.0/8"], {"PYTHONPATH": str(HERE.parent)}), SEED: (seed, files)}


@contextlib.contextmanager
def running(command: tuple[list[str], dict[str, str]]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start a server, wait for its first answer to a prediction, give that time, and end it."""
    started = time.perf_counter()
    process = subprocess.Popen(command[0], env=os.environ | command[1], cwd=HERE, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                predict()
                break
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with status {process.returncode}")
            time.sleep(0.01)
        yield process, time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def address() -> str:
    return f"http://127.0.0.1:{PORT}/predict/v1?image_url=http://127.0.0.1:{PICTURES}/dog.jpg"


def predict() -> list[dict[str, Any]]:
    with urllib.request.urlopen(address(), timeout=60) as answer:
        return json.load(answer)


def load(connections: int, seconds: int, script: Path) -> dict[str, float]:
    """Return what wrk counted."""
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script)]
    printed = subprocess.run([*command, address()], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (.*)", printed)
    if found is None:
        raise SystemExit(f"wrk: expected a result, found\n{printed}")
    names = ("answered", "busy", "other", "errors", "microseconds", "median", "p99")
    counts = dict(zip(names, map(float, found[1].split())))
    return {
        **{name: counts[name] for name in ("answered", "busy", "other", "errors")},
        "per_second": counts["answered"] / counts["microseconds"] * 1e6,
        "median_ms": counts["median"] / 1000,
        "p99_ms": counts["p99"] / 1000,
    }


def worker(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def verify(servers: dict[str, tuple[list[str], dict[str, str]]]) -> None:
    """End the run if the two do not find the same objects."""
    found = {}
    for name, command in servers.items():
        with running(command):
            found[name] = predict()
    ours, theirs = found[OURS], found[SEED]
    same = [o["label"] for o in ours] == [o["label"] for o in theirs] and all(
        abs(a["confidence"] - b["confidence"]) < 0.01 for a, b in zip(ours, theirs)
    )
    if not same or not ours:
        raise SystemExit(f"not timed: the answers differ\n{ours}\n{theirs}")


def measure(servers: dict[str, Any], options: argparse.Namespace, script: Path) -> list[dict[str, Any]]:
    """Return one row a server, number of connections and round."""
    rows = []
    names = list(servers)
    for turn in range(options.rounds):
        for name in names[turn % 2 :] + names[: turn % 2]:
            with running(servers[name]) as (_, cold):
                for connections in options.connections:
                    row = {"server": name, "connections": connections, "cold": cold}
                    rows.append(row | load(connections, options.seconds, script))
                    print(rows[-1], flush=True)
    return rows


def overload(command: Any, seconds: int, script: Path) -> dict[str, Any]:
    """Hold the service under more connections than it has places, in ten parts, and watch its worker and memory."""
    total: dict[str, Any] = {"seconds": seconds, "connections": OVERLOAD, "megabytes": []}
    with running(command) as (process, _):
        before = worker(process)
        for _ in range(10):
            part = load(OVERLOAD, max(1, seconds // 10), script)
            for name in ("answered", "busy", "other", "errors"):
                total[name] = total.get(name, 0) + part[name]
            total["megabytes"].append(round(megabytes(worker(process)), 1))
            print(part, total["megabytes"][-1], flush=True)
        total["same_worker"] = worker(process) == before
    return total


def markdown(report: dict[str, Any]) -> str:
    where = report["machine"]
    lines = [
        "# The service beside the seed's design",
        "",
        "Generated by `benchmarks/serve.py`; do not edit.",
        "",
        "`GET /predict/v1?image_url=...` of `dog.jpg` (768 x 576), YOLO-Fastest 1.1 XL at 320 x 320, one worker each. "
        f"Medians of {report['rounds']} rounds of {report['seconds']} s, servers in rotated blocks, wrk on the same "
        "machine. OpenCV under Flask: 8 threads of gunicorn, one network behind a lock.",
        "",
        "| Server | connections | answers a second | median, ms | 99 %, ms | other than 200 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['server']} | {row['connections']} | {row['per_second']:.1f} | {row['median_ms']:.0f} | "
        f"{row['p99_ms']:.0f} | {row['refused']:.0f} |"
        for row in report["table"]
    ]
    held = report["overload"]
    memory = held["megabytes"]
    versions = ", ".join(f"{name} {text}" for name, text in where["versions"].items())
    cold = " and ".join(f"{seconds:.2f} s for {name}" for name, seconds in report["cold"].items())
    return "\n".join([
        *lines,
        "",
        f"From the start of the process to the first answer, kernels in the cache: {cold} (medians).",
        "",
        f"{held['connections']} connections for {held['seconds']} s on {report['places']} places: "
        f"{held['answered']:.0f} answers, {held['busy']:.0f} times 503, {held['other']:.0f} other answers, "
        f"{held['errors']:.0f} broken connections; the worker {'lived' if held['same_worker'] else 'died'}; its memory "
        f"after each tenth of the time: {', '.join(f'{value:.0f}' for value in memory)} MB.",
        "",
        f"{where['cpu']}, {where['cpus']} CPUs (load average before the run {where['load']}), {where['system']}; "
        f"{versions}.",
        "",
    ])  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians over the rounds."""
    table = []
    for name, connections in dict.fromkeys((row["server"], row["connections"]) for row in rows):
        own = [row for row in rows if (row["server"], row["connections"]) == (name, connections)]
        entry = {key: statistics.median(row[key] for row in own) for key in ("per_second", "median_ms", "p99_ms")}
        refused = sum(row["busy"] + row["other"] + row["errors"] for row in own)
        table.append({"server": name, "connections": connections, **entry, "refused": refused})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4, 16])
    parser.add_argument("--load", type=int, default=600)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    from pure_detect.serve.settings import Settings
    from weights_convert.cli import main as weights_convert

    packages = ("flask", "gunicorn", "numba", "numpy", "opencv-python-headless", "pillow")
    report: dict[str, Any] = {"machine": machine(*packages), "rounds": options.rounds, "seconds": options.seconds}
    report["places"] = Settings().places
    serve_pictures()
    with tempfile.TemporaryDirectory() as folder:
        model, script = Path(folder) / "xl.h5", Path(folder) / "count.lua"
        script.write_text(SCRIPT)
        files = [str(YOLO / f"yolo-fastest-1.1-xl.{ending}") for ending in ("weights", "cfg")]
        labels = str(YOLO / "coco.names")
        weights_convert([files[0], "--model", files[1], "--labels", labels, "--out", str(model)])
        servers = commands(model)
        verify(servers)
        report["rows"] = measure(servers, options, script)
        report["overload"] = overload(servers[OURS], options.load, script)
    report["table"] = summary(report["rows"])
    report["cold"] = {
        name: statistics.median({row["cold"] for row in report["rows"] if row["server"] == name}) for name in servers
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "serve.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.out / "serve.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
