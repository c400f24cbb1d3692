"""Draw the scenes that the demo networks are trained on, once for all three.

    python examples/train_demo/draw_scenes.py scenes/train --seed 1000000 --scenes 16000
    python examples/train_demo/draw_scenes.py scenes/choose --seed 900000 --scenes 500

A folder gets ``pixels.npy``, (N, height, width, 3) uint8 RGB, made to be opened with ``np.load(..., mmap_mode="r")``;
and ``boxes.npz`` with ``boxes_xyxy`` (M, 4) float32 in pixels and ``class_ids`` (M,) int64 of all scenes one after
another, and ``starts`` (N + 1,) int64: the boxes of scene i are those from ``starts[i]`` to ``starts[i + 1]``.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from pure_detect.demo.scenes import Scene, draw_scene


def draw_scenes(folder: Path, seed: int, scenes: int, size: int, processes: int) -> None:
    """Write the scenes of the seeds from `seed` on; the boxes last, so that a folder with boxes is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (scenes, size, size, 3)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    drawn: list[Scene] = []
    with ProcessPoolExecutor(processes) as pool:
        draw = partial(draw_scene, width=size, height=size)
        for i, scene in enumerate(pool.map(draw, range(seed, seed + scenes), chunksize=50)):
            pixels[i] = scene.pixels
            drawn.append(scene._replace(pixels=pixels[i]))
            if (i + 1) % 500 == 0 or i + 1 == scenes:
                print(f"{i + 1} of {scenes} scenes", file=sys.stderr)
    pixels.flush()
    np.savez(
        folder / "boxes.npz",
        boxes_xyxy=np.concatenate([scene.boxes_xyxy for scene in drawn]).astype(np.float32),
        class_ids=np.concatenate([scene.class_ids for scene in drawn]),
        starts=np.cumsum([0, *(len(scene.class_ids) for scene in drawn)]),
    )


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1_000_000, help="of the first scene (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=16_000, help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="width and height in pixels (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="(default: one a processor)")
    arguments = parser.parse_args()
    draw_scenes(arguments.folder, arguments.seed, arguments.scenes, arguments.size, arguments.processes)


if __name__ == "__main__":
    main()
