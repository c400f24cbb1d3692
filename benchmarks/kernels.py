"""Every kernel at every layer shape of a network, on one thread, as a share of what the machine can do.

    python benchmarks/kernels.py [--networks yolov3,...] [--precision bf16x3] [--seconds 0.05]
                                 [--out benchmarks/results/kernels]

The machine's limits are measured in the same process, anew before each network, since neighbours slow down a shared
machine for minutes: multiply-adds of the register tile on numbers in the first-level cache, the same on tile registers
(AMX) where there are any, and copying memory beyond the caches. A layer's share is the larger of its two; Winograd's
method counts as the direct sum that it replaces, so it can pass 100 %. A layer's inputs lie in whatever cache the last
run left them in, as they do in a network. The layers themselves are checked against the reference by
`tests/test_engine.py`. Writes NAME.json and NAME.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from compare import NETWORKS
from compare_machine import machine

from pure_detect.engine import amx
from pure_detect.engine.conv2d_direct import BEST, CHANNELS_AT_ONCE, tile
from pure_detect.engine.emitter import Step
from pure_detect.engine.executor import FastExecutor
from pure_detect.engine.plan import PRECISIONS, Plan
from pure_detect.engine.run import COUNTERS, walk
from pure_detect.engine.simd import ISA, LANES
from pure_detect.engine.step import CLAMP
from pure_detect.engine.weights import aligned
from pure_detect.files import atomic_path
from pure_detect.random_weights import random_parameters
from pure_detect.registry import find_network

HERE = Path(__file__).parent


def best_time(work: Callable[[], None], seconds: float) -> float:
    """Return the median of the faster half of the calls that fit into `seconds`."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(sorted(times)[: max(1, len(times) // 2)])


@numba.njit(nogil=True)
def _multiply(n, vectors, rows, x, w, y, table, count):  # type: ignore[no-untyped-def]
    one, infinity = np.float32(1), np.float32(np.inf)
    for _ in range(n):
        tile(vectors, rows, x, 0, LANES, table, 0, count, w, 0, 0, y, 0, 64 * LANES, CLAMP, one, infinity)


def multiply_add_peak() -> float:
    """Return FLOP a second of the widest tile on one thread, everything in the first-level cache."""
    count, repeats, (vectors, rows) = 32, 2000, BEST
    x, w, y = (np.zeros(8192, np.float32) for _ in range(3))
    table = np.arange(count) * CHANNELS_AT_ONCE
    _multiply(1, vectors, rows, x, w, y, table, count)
    taken = best_time(lambda: _multiply(repeats, vectors, rows, x, w, y, table, count), 0.3)
    return 2 * repeats * count * CHANNELS_AT_ONCE * rows * vectors * LANES / taken


@numba.njit(nogil=True)
def _multiply_on_tiles(n, x, w, pairs, pair):  # type: ignore[no-untyped-def]
    amx.set_tiles(amx.ROWS)
    block, target = pairs * amx.WEIGHT_TILES * amx.TILE, pairs * pair
    for _ in range(n):
        amx.product(2, 2, x, 0, pair, pairs, 0, (0, amx.ROWS, 0), w, 0, block, 0, target, 2 * amx.TILE)
    amx.set_tiles(0)


def tile_register_peak() -> float | None:
    """Return FLOP a second, of float32, on the tile registers of one thread; numbers other than zero run slower."""
    if not amx.is_available():
        return None
    repeats, pairs, pair = 10_000, 2, 2 * amx.ROWS * amx.PIXEL
    first, second, _ = amx.apart(np.random.default_rng(0).normal(0, 1, 16384).astype(np.float32))
    x, w = amx.words(first, second), amx.words(second, first)
    _multiply_on_tiles(1, x, w, pairs, pair)
    taken = best_time(lambda: _multiply_on_tiles(repeats, x, w, pairs, pair), 0.3)
    return 2 * repeats * pairs * 2 * LANES * (2 * amx.ROWS) * (2 * LANES) / taken


def copy_peak() -> float:
    """Return bytes a second, read and written, of copying 256 MB on one thread."""
    source, target = np.ones(32 * 2**20, np.float32), np.zeros(32 * 2**20, np.float32)
    return 2 * source.nbytes / best_time(lambda: np.copyto(target, source), 0.5)


def limits() -> dict[str, float | None]:
    """Return what the machine can do at this moment, in FLOP and in bytes a second."""
    return {"multiply_add": multiply_add_peak(), "tile_register": tile_register_peak(), "copy": copy_peak()}


def layer_times(network: str, seconds: float, precision: str) -> list[dict[str, Any]]:
    """Return what every step of a network's plan takes alone."""
    definition = find_network(network)
    graph = definition.build()
    executor = FastExecutor(graph, random_parameters(definition), threads=1, precision=precision)
    x = np.random.default_rng(0).random((1, *graph.input.shape), np.float32)
    executor(x)
    runner = executor.runner()
    plan, image, out = runner.plan, x.reshape(-1), aligned(runner.plan.output_size)
    counters = np.zeros(len(plan.steps) * COUNTERS, np.int64)

    def run(index: int) -> None:
        counters[index * COUNTERS : (index + 1) * COUNTERS] = 0
        arrays = (runner.arena, plan.weights, plan.tables, out, image, runner.parts)
        walk(index, index + 1, plan.rows, runner.kernels, *arrays, counters, plan.arena_size, 0)

    for index in range(len(plan.steps)):  # once in order, so that every step finds its inputs
        run(index)
    arrays = (out, out, plan.tables, out, image, runner.parts)
    overhead = best_time(lambda: walk(0, 0, plan.rows, runner.kernels, *arrays, counters, 0, 0), 0.05)
    return [_row(plan, made, best_time(lambda i=i: run(i), seconds) - overhead) for i, made in enumerate(plan.steps)]


def _row(plan: Plan, made: Step, taken: float) -> dict[str, Any]:
    weights = sum(p.size for node in made.task.all_nodes for p in node.parameters.values())
    moved = 4 * (sum(m.channels * m.height * m.width for m in made.maps) + weights)
    return {
        "layer": made.task.main.name,
        "kernel": made.kernel,
        "output": [made.maps[-1].channels, made.maps[-1].height, made.maps[-1].width] if made.maps else [],
        "seconds": max(taken, 1e-9),
        "flop": 2 * made.multiply_adds,
        "bytes": moved,
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the report as it stands in the documentation."""
    about = result["machine"]
    lines = [
        "# Kernels as a share of the machine", "", "Generated by `benchmarks/kernels.py`; do not edit.", "",
        "One thread, float32. Share: of the nearer of the machine's limits, measured just before each network. "
        f"Winograd counts as the direct sum. Precision: {result['precision']}.", "",
    ]  # fmt: skip
    for network, (peaks, layers) in result["networks"].items():
        total = sum(layer["seconds"] for layer in layers)
        tiles = peaks["tile_register"]
        on_tiles = f" ({tiles / 1e9:.0f} on tile registers)" if tiles else ""
        lines += [f"## {network}: {1e3 * total:.1f} ms", ""]
        lines += [f"Limits: {peaks['multiply_add'] / 1e9:.0f} GFLOP/s of multiply-adds{on_tiles}, "
                  f"{peaks['copy'] / 1e9:.1f} GB/s of copying.", ""]  # fmt: skip
        lines += ["| Kernel | Steps | ms | Part | GFLOP/s | Share |",
                  "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
        for kernel in sorted({layer["kernel"] for layer in layers}):
            rows = [layer for layer in layers if layer["kernel"] == kernel]
            taken = sum(row["seconds"] for row in rows)
            lines.append(
                f"| {kernel} | {len(rows)} | {1e3 * taken:.2f} | {taken / total:.0%} | "
                f"{sum(row['flop'] for row in rows) / taken / 1e9:.0f} | "
                f"{sum(row['seconds'] * share(row, peaks) for row in rows) / taken:.0%} |"
            )
        lines += ["", "<details><summary>Layer by layer</summary>", ""]
        lines += ["| Layer | Kernel | Output | us | GFLOP/s | GB/s | Share |"]
        lines += ["| --- | --- | --- | ---: | ---: | ---: | ---: |"]
        lines += [
            f"| {row['layer']} | {row['kernel']} | {'x'.join(map(str, row['output']))} | {1e6 * row['seconds']:.1f} | "
            f"{row['flop'] / row['seconds'] / 1e9:.1f} | {row['bytes'] / row['seconds'] / 1e9:.1f} | "
            f"{share(row, peaks):.0%} |"
            for row in layers
        ]
        lines += ["", "</details>", ""]
    lines.append(f"{about['cpu']}, {ISA.name}, {about['system']}, Python {about['python']}, numpy {about['numpy']}, "
                 f"numba {about['numba']}, {about['date']}, commit {about['commit']}")  # fmt: skip
    return "\n".join(lines) + "\n"


def share(row: dict[str, Any], peaks: dict[str, Any]) -> float:
    """Return a layer's speed as a share of the limit that it is nearer to."""
    peak = peaks["tile_register" if row["kernel"] == "conv2d_amx" else "multiply_add"]
    return max(row["flop"] / row["seconds"] / peak, row["bytes"] / row["seconds"] / peaks["copy"])


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="registry names, by commas")
    parser.add_argument("--seconds", type=float, default=0.05, help="how long each step is repeated (default: 0.05)")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0], help="default: winograd")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "kernels")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "precision": options.precision, "networks": {}}
    for network in options.networks.split(","):
        print(f"{network} ...", file=sys.stderr, flush=True)
        result["networks"][network] = limits(), layer_times(network, options.seconds, options.precision)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.out.with_suffix(".json")) as path:
        path.write_text(json.dumps(result, indent=1) + "\n")
    with atomic_path(options.out.with_suffix(".md")) as path:
        path.write_text(markdown(result))


if __name__ == "__main__":
    main()
