"""The evaluators that are compared, each behind the same three steps, and the process that one of them runs in.

    python benchmarks/evaluate_engines.py ENGINE FOLDER

Reads commands from standard input, one a line, and answers each with one line of JSON:

    load           read both files                             {"seconds"}
    evaluate       from what is loaded to the twelve figures   {"seconds", "figures"}
    files          both in a row                               {"seconds", "figures"}
    save NAME      the arrays of the last evaluation into FOLDER/NAME.npz   {}
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Engine(Protocol):
    """One evaluator; only its own package is imported."""

    arrays: dict[str, Any]  # precision and recall of the last evaluation

    def load(self, folder: Path) -> None:
        """Read `instances.json` and `results.json` into the engine's own objects."""

    def evaluate(self) -> list[float]:
        """Return the twelve figures of what is loaded."""


class PureDetect:
    """This package: arrays, kernels on as many threads as there are CPUs."""

    def __init__(self) -> None:
        from pure_detect import evaluate as package

        self.package = package

    def load(self, folder: Path) -> None:
        """Read both files."""
        self.truth = self.package.read_coco(folder / "instances.json")
        self.results = self.package.read_results(folder / "results.json")

    def evaluate(self) -> list[float]:
        """Return the twelve figures."""
        evaluation = self.package.evaluate(self.results, self.truth)
        self.arrays = {"precision": evaluation.precision, "recall": evaluation.recall}
        return list(evaluation.figures().values())


class Pycocotools:
    """The reference, in Python with the overlaps in C."""

    def __init__(self) -> None:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        self.coco, self.judge = COCO, COCOeval

    def load(self, folder: Path) -> None:
        """Read both files."""
        self.truth = self.coco(str(folder / "instances.json"))
        self.results = self.truth.loadRes(str(folder / "results.json"))

    def evaluate(self) -> list[float]:
        """Return the twelve figures."""
        judge = self.judge(self.truth, self.results, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        self.arrays = {name: judge.eval[name] for name in ("precision", "recall")}
        return [float(value) for value in judge.stats[:12]]


class FasterCocoEval(Pycocotools):
    """The same interface over C++."""

    def __init__(self) -> None:
        from faster_coco_eval import COCO, COCOeval_faster

        self.coco = COCO
        # Without the extra statistics, which the others do not compute either.
        self.judge = lambda *arguments: COCOeval_faster(*arguments, extra_calc=False)


ENGINES = {"pure-detect": PureDetect, "pycocotools": Pycocotools, "faster-coco-eval": FasterCocoEval}


def answer(engine: Engine, folder: Path, command: str) -> dict[str, Any]:
    """Carry out one command; whatever an engine prints is swallowed."""
    name, _, argument = command.partition(" ")
    if name == "save":
        np.savez(folder / f"{argument}.npz", **engine.arrays)
        return {}
    figures: list[float] = []
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        if name in ("load", "files"):
            engine.load(folder)
        if name in ("evaluate", "files"):
            figures = engine.evaluate()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "figures": figures}


def main() -> None:
    engine, folder = ENGINES[sys.argv[1]](), Path(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(answer(engine, folder, line.strip())), flush=True)


if __name__ == "__main__":
    main()
