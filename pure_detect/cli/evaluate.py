"""`pure-detect evaluate`: average precision of a model on a data set, or of results made elsewhere."""

from __future__ import annotations

import argparse
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from pure_detect.cli.common import (
    DONE,
    FAILED,
    add_model_options,
    load_model,
    positive,
    print_json,
    report,
    report_error,
    unit_interval,
)
from pure_detect.cli.completion import complete_with, model_completer
from pure_detect.draw import save_picture
from pure_detect.errors import InputError
from pure_detect.evaluate import CocoEvaluation, GroundTruth, evaluate, read_results
from pure_detect.evaluate.ground_truth_files import read_ground_truth
from pure_detect.evaluate.plot import plot_precision_recall
from pure_detect.evaluate.results_writer import ResultsWriter
from pure_detect.evaluate.run import LIMIT, SCORE, detect_all, first_images, match_categories, results_of
from pure_detect.evaluate.table import categories_table, figures_table
from pure_detect.progress import Progress

DESCRIPTION = """\
Run a detector over a data set and print COCO's twelve figures, or score a
results file that was made elsewhere. Scores over 0.005 count, at most 100
boxes an image. An interrupted run goes on where it stopped.

Annotations: COCO's JSON file, a folder of VOC's XML files, or a folder of
YOLO's text files."""

EPILOG = """\
examples:
  pure-detect evaluate xl.h5 --images val2017 --annotations instances.json
  pure-detect evaluate --results theirs.json --annotations instances.json"""


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "evaluate",
        help="measure average precision on a data set",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = p.add_argument("model", nargs="?", metavar="MODEL", help="a weight file or a registry name")
    complete_with(model, model_completer(".h5"))
    p.add_argument("--images", type=Path, metavar="DIR", help="the folder of the images")
    p.add_argument("--annotations", type=Path, metavar="PATH", required=True, help="the ground truth")
    p.add_argument("--results", type=Path, metavar="FILE.json", help="score these results instead of a model's")
    p.add_argument("--out", type=Path, metavar="FILE.json", help="the model's results (default: MODEL-results.json)")
    p.add_argument("--iou", type=unit_interval, help="suppress overlaps over this (default: the network's own)")
    p.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    p.add_argument("--json", action="store_true", help="print one flat JSON object")
    p.add_argument("--per-class", action="store_true", help="print every class's average precision too")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the precision-recall curves")
    p.add_argument("--restart", action="store_true", help="throw away what an interrupted run has left")
    add_model_options(p)
    p.set_defaults(run=run, check=lambda options: check(options, p))


def check(options: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Require either a model and its images, or results."""
    if (options.model is None) == (options.results is None):
        p.error("expected either MODEL with --images, or --results")
    if options.model is not None and options.images is None:
        p.error("--images: needed to run a model")


def run(options: argparse.Namespace) -> int:
    """Evaluate and print."""
    truth = first_images(read_ground_truth(options.annotations, options.images), options.limit)
    results = options.results
    if results is None:
        results = _run_model(options, truth)
        if results is None:
            return FAILED
    found = read_results(results)
    evaluation = evaluate(results_of(found, truth) if options.limit else found, truth)
    if options.plot:
        save_picture(plot_precision_recall(evaluation, options.model or options.results.stem), options.plot)
        report(f"{options.plot}: drawn")
    _print(evaluation, options)
    return DONE


def _run_model(options: argparse.Namespace, truth: GroundTruth) -> Path | None:
    """Return the results file of a finished run, or None if images failed: a figure without them would be wrong."""
    model = load_model(options.model, options)
    if model.network.is_classifier:
        raise InputError(f"{options.model}: expected a detector, found a classifier")
    category_ids = match_categories(model.labels, truth.categories, str(options.annotations))
    out = options.out or Path(f"{model.network.name}-results.json")
    with ResultsWriter(out, _fingerprint(options, model), restart=options.restart) as writer:
        todo = [image for image in truth.images if image.id not in writer.done]
        if len(todo) < len(truth.images):
            report(f"{writer.partial}: going on after {len(truth.images) - len(todo)} images")
        progress = Progress(len(truth.images), "images", len(truth.images) - len(todo))
        detect = partial(model, score=SCORE, iou=options.iou, limit=LIMIT)
        failures = detect_all(detect, todo, options.images, category_ids, writer, progress.step)
        for failure in failures:
            report_error(failure)
        if failures:
            report_error(
                f"{len(failures)} of {len(truth.images)} images failed; the others are kept in {writer.partial}"
            )
            return None
        report(f"{writer.finish()}: written")
    return out


def _fingerprint(options: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Return what the detections depend on, so that only the same run goes on with an unfinished file."""
    return {
        "model": model.network.name,
        "parameters": model.parameters_sha256(),
        "graph": model.graph.fingerprint,
        "resize": model.preprocessing.resize,
        "iou": options.iou,
        "score": SCORE,
        "limit": LIMIT,
        "annotations": _annotations_sha256(options.annotations),
    }


def _annotations_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.is_file():
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _print(evaluation: CocoEvaluation, options: argparse.Namespace) -> None:
    if options.json:
        print_json(evaluation.figures())
        return
    print(figures_table(evaluation))
    if options.per_class:
        print()
        print(categories_table(evaluation))
