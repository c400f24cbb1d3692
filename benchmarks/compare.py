"""Speed of whole networks: ours beside onnxruntime, OpenVINO, ncnn, PyTorch, OpenCV and TensorFlow Lite on the CPU.

    python benchmarks/compare.py [--networks yolov3-tiny,...] [--engines ours,onnxruntime,...] [--threads 1,2]
                                 [--batch 1,4,8] [--blocks 5] [--out benchmarks/results/NAME]

Same network, weights, input, float32 and number of threads. An engine whose outputs differ from the float64 reference
executor's by more than the bound is reported and not timed. Every block is a fresh process of one engine, warmed up and
then timed; each round runs all engines, in an order that rotates. Writes NAME.json, NAME.md and NAME.png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compare_cases import prepare_case
from compare_machine import machine
from compare_report import write_report
from engines.engine import ENGINES, Case

from pure_detect.cli.common import positive
from pure_detect.jit import home
from pure_detect.registry import find_network

HERE = Path(__file__).parent
NETWORKS = (
    "yolov3", "yolov3-tiny", "ssdlite-mobilenetv3-large", "ssdlite320-mobilenetv3-large", "ssdlite-mobilenetv3-small",
    "efficientdet-d0",
)  # fmt: skip
BOUND = 1e-3
CHECK_SECONDS = 0.5
DISTURBED = 0.1  # CPUs that other processes kept busy during a block


def report(message: str) -> None:
    """Print progress on standard error."""
    print(message, file=sys.stderr, flush=True)


class EngineError(Exception):
    """An engine could not do its job; the message says why."""


def run_process(job: str, engine: str, variant: str, case: Case, seconds: float, timeout: float) -> dict[str, Any]:
    """Run one job in a fresh process and return what it found, with the time from its start to its first outputs.

    Raises
    ------
    EngineError
        With the engine's own message.
    """
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(HERE / "compare_process.py"), job, engine, variant, case.to_json(), str(seconds)]
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(case.threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # caches are warm, Python's too, as after an installation
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=case.folder
    )
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    first, last = None, ""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line == "first\n":
                first = time.perf_counter() - start
            else:
                last = line
        process.wait()
    finally:  # an interrupted comparison leaves no engine running
        watchdog.cancel()
        process.kill()
    if time.perf_counter() - start >= timeout:
        raise EngineError(f"{job}: not done within {timeout:.0f} s")
    if not last:
        raise EngineError(f"{job}: the process ended with status {process.returncode}")
    found = json.loads(last)
    if "failure" in found:
        raise EngineError(f"{job}: {found['failure']}")
    return found | {"first_outputs": first}


def qualify(engine: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Convert the network for an engine and check it; return the engine's entry of the report, with its best variant.

    Variants are settings between which the engine's documentation leaves the choice; a short timing makes it.
    """
    entry: dict[str, Any] = {"blocks": []}
    try:
        entry |= run_process("convert", engine, "", case, 0, options.timeout)
    except EngineError as failure:
        return entry | {"failure": str(failure)}
    tried: dict[str, Any] = {}
    for variant in entry.pop("variants"):
        try:
            tried[variant] = run_process("check", engine, variant, case, CHECK_SECONDS, options.timeout)
        except EngineError as failure:
            tried[variant] = {"failure": str(failure)}
            continue
        difference = tried[variant]["difference"]
        if not difference <= options.bound:
            tried[variant]["failure"] = f"outputs differ from the reference by {difference:.1e}"
    right = {variant: found for variant, found in tried.items() if "failure" not in found}
    entry["tried"] = {variant: found.get("failure") or found["median"] for variant, found in tried.items()}
    if not right:
        return entry | {"failure": next(iter(tried.values()))["failure"]}
    best = min(right, key=lambda variant: right[variant]["median"])
    return entry | {"variant": best, "difference": right[best]["difference"]}


def measure(entries: dict[str, Any], case: Case, options: argparse.Namespace) -> None:
    """Run the blocks: in each round every engine once, in an order that rotates from round to round."""
    names = [name for name, entry in entries.items() if "failure" not in entry]
    for turn in range(options.blocks):
        shift = turn % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            if "failure" in entries[name]:
                continue
            try:
                block = undisturbed_block(name, entries[name]["variant"], case, options)
            except EngineError as failure:
                entries[name]["failure"] = str(failure)
                continue
            entries[name]["blocks"].append(block)
            report(f"  block {turn + 1}/{options.blocks}  {name:12}{1e3 * block['median']:9.2f} ms{note(block)}")


def undisturbed_block(engine: str, variant: str, case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Run one block, again where other processes took CPU time from it; the quietest of the attempts counts."""
    attempts: list[dict[str, Any]] = []
    while len(attempts) <= options.retries:
        attempts.append(run_process("block", engine, variant, case, options.seconds, options.timeout))
        if attempts[-1]["other_cpus"] <= DISTURBED:
            break
    return min(attempts, key=lambda block: block["other_cpus"]) | {"attempts": len(attempts)}


def note(block: dict[str, Any]) -> str:
    """Return what progress says of a block that was not alone."""
    return f"  (others used {block['other_cpus']:.2f} CPUs)" if block["other_cpus"] > DISTURBED else ""


def summarise(entry: dict[str, Any]) -> None:
    """Add the medians over the blocks to an engine's entry; disturbed blocks count only where there are no others."""
    if not entry["blocks"] or "failure" in entry:
        return
    blocks = [block for block in entry["blocks"] if block["other_cpus"] <= DISTURBED] or entry["blocks"]
    for key in ("median", "first_outputs", "peak_memory"):
        entry[key] = statistics.median(block[key] for block in blocks)
    entry["best"] = min(block["best"] for block in blocks)


def compare(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Return a case's part of the report."""
    report(f"{case.network} {case.width}x{case.height}, batch {case.batch}, threads {case.threads}")
    entries = {}
    for engine in options.engines:
        entries[engine] = entry = qualify(engine, case, options)
        said = entry.get("failure") or f"differs by {entry['difference']:.1e}, {entry['variant']}"
        report(f"  {engine:12} {said}")
    measure(entries, case, options)
    for entry in entries.values():
        summarise(entry)
    what = {key: value for key, value in asdict(case).items() if key not in ("folder", "weights")}
    return what | {"engines": entries}


def comma_list(allowed: Any) -> Any:
    """Return a parser of comma-separated names, all of them among `allowed`."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in allowed]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(allowed)}")
        return names

    return parse


def counts(text: str) -> list[int]:
    """Parse comma-separated positive integers."""
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of at least 1, found {text}")
    return values


def networks(text: str) -> list[tuple[str, tuple[int, int] | None]]:
    """Parse comma-separated networks: `yolov3`, `yolov3:608` or `yolov3:608x416`, width x height."""
    chosen = []
    for part in text.split(","):
        name, _, size = part.partition(":")
        try:
            find_network(name)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        width, _, height = size.partition("x")
        chosen.append((name, (int(height or width), int(width)) if size else None))
    return chosen


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [(name, None) for name in NETWORKS]
    p.add_argument("--networks", type=networks, default=default, metavar="NAME[:SIZE],...", help="default: six")
    p.add_argument(
        "--engines", type=comma_list(ENGINES), default=list(ENGINES), metavar="NAME,...", help="default: all"
    )
    p.add_argument("--threads", type=counts, default=[2], metavar="N,...", help="default: 2")
    p.add_argument("--batch", type=counts, default=[1], metavar="N,...", help="default: 1")
    p.add_argument("--blocks", type=positive, default=5, metavar="N", help="processes an engine and case (default: 5)")
    p.add_argument("--seconds", type=float, default=1.5, metavar="S", help="timed in each block (default: 1.5)")
    p.add_argument("--retries", type=int, default=3, metavar="N", help="of a block that was disturbed (default: 3)")
    p.add_argument("--timeout", type=float, default=900, metavar="S", help="of one process (default: 900)")
    p.add_argument("--bound", type=float, default=BOUND, metavar="X", help=f"on the outputs (default: {BOUND:g})")
    p.add_argument("--work", type=Path, default=home() / "compare", metavar="DIR", help="for networks and conversions")
    p.add_argument("--out", type=Path, default=HERE / "results" / "compare", metavar="NAME", help="without its suffix")
    return p.parse_args()


def main() -> int:
    """Compare case by case; the files are complete after each. Return 1 if a case could not be made."""
    options = parse()
    result: dict[str, Any] = {
        "machine": machine(),
        "blocks": options.blocks,
        "seconds": options.seconds,
        "bound": options.bound,
        "disturbed": DISTURBED,
        "cases": [],
    }
    status = 0
    report(json.dumps(result["machine"]))
    for threads, batch, (name, size) in itertools.product(options.threads, options.batch, options.networks):
        try:
            case = prepare_case(name, size, batch, threads, options.work)
        except ValueError as error:  # a size that does not fit the network, a folder that cannot be written
            report(f"error: {error}")
            status = 1
            continue
        result["cases"].append(compare(case, options))
        write_report(result, options.out)
    if result["cases"]:
        print(options.out.with_suffix(".md").read_text())
    return status


if __name__ == "__main__":
    sys.exit(main())
