"""`pure-detect demo`: three small networks on a drawn scene, with nothing to download."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pure_detect.cli.common import DONE, input_size, positive, report, unit_interval
from pure_detect.demo.comparison import Comparison, compare, comparison_table
from pure_detect.demo.dataset import ANNOTATIONS, IMAGES, write_dataset
from pure_detect.demo.networks import DEMO_NETWORKS
from pure_detect.demo.panels import Panel, draw_panels
from pure_detect.demo.scenes import Scene, draw_scene
from pure_detect.draw import check_picture_path, save_picture
from pure_detect.errors import InputError
from pure_detect.loading import load
from pure_detect.progress import Progress

DESCRIPTION = """\
Draw a scene of shapes, run the three small networks of this package on it,
print what they find beside the truth, and draw it, side by side. Needs no
network and no download. A scene depends on its seed and size alone; the
networks have seen none of a seed below 900000.

With --dataset, write scenes and their exact ground truth in COCO's layout
instead, for evaluate, for tests, for training."""

EPILOG = """\
examples:
  pure-detect demo --seed 7 --out seven.png
  pure-detect demo --dataset scenes --scenes 500
  pure-detect evaluate demo-yolo --images scenes/images \\
    --annotations scenes/annotations.json"""

NEXT = """\
next:
  pure-detect demo --seed {seed}
      another scene
  pure-detect detect PHOTO.jpg --out boxes.png
      your own picture, 80 classes; downloads 3.7 MB of weights, once
  pure-detect demo --dataset scenes --scenes 500
      a data set to measure with; says how
  pure-detect models
      every network that has a name"""

MEASURE = """\
next:
  pure-detect evaluate demo-yolo --images {images} \\
    --annotations {annotations}"""

OUT, SCENES = "demo.png", 100
SEED, SCORE = 110, 0.4  # a scene of six objects; where the three networks are of about one mind


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    p = commands.add_parser(
        "demo",
        help="see it work, with nothing to download",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--seed", type=_seed, metavar="N", help=f"which scene (default: {SEED}); the first of several (default: 0)"
    )
    p.add_argument(
        "--size", type=input_size, default=(256, 256), metavar="N|WxH", help="of the scenes in pixels (default: 256)"
    )
    p.add_argument("--out", type=Path, metavar="FILE", help=f"the picture (default: {OUT})")
    p.add_argument("--score", type=unit_interval, help=f"show scores over this (default: {SCORE})")
    p.add_argument("--dataset", type=Path, metavar="DIR", help="write scenes into this new folder, and nothing else")
    p.add_argument("--scenes", type=positive, metavar="N", help=f"how many (default: {SCENES})")
    p.set_defaults(run=run, check=lambda options: check(options, p))


def check(options: argparse.Namespace, p: argparse.ArgumentParser) -> None:
    """Refuse options that do not go together, and an unusable name of the picture before anything is loaded."""
    if options.dataset is None:
        if options.scenes is not None:
            p.error("--scenes: expected --dataset DIR with it, the folder to write them to")
        options.out = options.out or Path(OUT)
        options.score = SCORE if options.score is None else options.score
        options.seed = SEED if options.seed is None else options.seed
        try:
            check_picture_path(options.out)
        except InputError as error:
            p.error(f"--out: {error}")
        if not options.out.parent.is_dir():
            p.error(f"--out: {options.out}: expected a folder that exists, found none at {options.out.parent}")
        return
    for name in ("out", "score"):
        if getattr(options, name) is not None:
            p.error(f"--{name}: not with --dataset, which runs no network")


def run(options: argparse.Namespace) -> int:
    """Show a scene, or write many."""
    height, width = options.size
    if options.dataset is not None:
        scenes, seed = options.scenes or SCENES, options.seed or 0
        progress = Progress(scenes, "scenes")
        write_dataset(options.dataset, seed, scenes, width, height, progress.step)
        report(f"{options.dataset}: written")
        images, annotations = options.dataset / IMAGES, options.dataset / ANNOTATIONS
        print(MEASURE.format(images=images, annotations=annotations))
        return DONE
    _show(draw_scene(options.seed, width, height), options)
    return DONE


def _show(scene: Scene, options: argparse.Namespace) -> None:
    height, width = scene.pixels.shape[:2]
    objects = len(scene.class_ids)
    comparisons: dict[str, Comparison] = {}
    panels, times = [], []
    for network in DEMO_NETWORKS:
        detector = load(network.name)
        detector(scene.pixels, score=options.score)  # compiled, or loaded, on the way
        start = time.perf_counter()
        found = detector(scene.pixels, score=options.score)
        times.append(f"{network.name} {1e3 * (time.perf_counter() - start):.0f} ms")
        comparison = comparisons[network.name.removeprefix("demo-")] = compare(scene, found)
        panels.append(Panel(f"{network.name}: {_summary(comparison, objects)}", found))
    print(f"scene {options.seed}  {width} x {height}, {objects} object{'s' * (objects != 1)}")
    print()
    print(comparison_table(scene, comparisons))
    print(f"\ntime: {', '.join(times)}", flush=True)
    save_picture(draw_panels(scene, panels), options.out)
    report(f"{options.out}: drawn")
    print(f"\n{NEXT.format(seed=options.seed + 1)}")


def _summary(comparison: Comparison, objects: int) -> str:
    wrong = f", {len(comparison.false)} wrong" if comparison.false else ""
    return f"{comparison.found} of {objects} found{wrong}"


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, found {text}")
    return value
