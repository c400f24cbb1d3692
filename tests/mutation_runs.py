"""Runs a command on one damaged file after another, in a process of its own with little memory and time.

    python -m tests.mutation_runs KIND COUNT SEED

One line of JSON for each on standard output: what was damaged, exit status, what was printed on standard error. A hang
ends the process, as a crash does, and is then shown on standard error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pure_detect.cli import main as pure_detect
from tests import tiny_networks as tiny
from tests.mutations import mutations
from weights_convert.cli import main as weights_convert

MEMORY = 2 << 30  # bytes, beside the libraries
SECONDS = 20  # of computing, for one file; they do not pass while other programs run

Case = tuple[str, bytes, Callable[[], int]]  # a file's name, its damaged bytes, the command


def hdf5(count: int, seed: int) -> Iterator[Case]:
    """Damage a detector's and a classifier's weight file."""
    tiny.model_file(Path(), tiny.NORMED, tiny.NORMED_VALUES, name="normed")
    for name in ("tiny.h5", "normed.h5"):
        for content in mutations(Path(name).read_bytes(), count // 2, seed):
            yield "x.h5", content, lambda: pure_detect(["detect", "a.png", "--model", "x.h5"])


def images(count: int, seed: int) -> Iterator[Case]:
    """Damage pictures of every format and of many kinds of pixels."""
    saved = list(_pictures())
    for i, (name, content) in enumerate(saved):
        part = count // len(saved) + (i < count % len(saved))
        for damaged in mutations(content, part, seed + i):
            yield name, damaged, lambda name=name: pure_detect(["detect", name, "--model", "tiny.h5"])  # type: ignore[misc]


def _pictures() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    picture = Image.fromarray(smooth)
    kinds = {
        "a.jpg": (picture, {}), "b.jpg": (picture, {"progressive": True}), "c.jpg": (picture.convert("CMYK"), {}),
        "rgb.png": (picture, {}), "palette.png": (picture.quantize(), {}),
        "deep.png": (Image.fromarray(smooth[:, :, 0].astype(np.uint16) * 257), {}),
        "a.webp": (picture, {}), "b.webp": (picture, {"lossless": True}), "a.bmp": (picture, {}),
        "a.gif": (picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
        "a.tif": (picture, {}), "b.tif": (picture, {"compression": "tiff_lzw"}), "a.ppm": (picture, {}),
    }  # fmt: skip
    for name, (image, options) in kinds.items():
        out = io.BytesIO()
        image.save(out, Image.registered_extensions()[Path(name).suffix], **options)
        yield name, out.getvalue()


def darknet(count: int, seed: int) -> Iterator[Case]:
    """Damage a cfg, the weights that fit it, and names of classes."""
    arguments = ["tiny.weights", "--model", "tiny.cfg", "--labels", "names", "--out", "x.h5"]
    for name, part in (
        ("tiny.cfg", count // 2),
        ("tiny.weights", count - count // 2 - count // 10),
        ("names", count // 10),
    ):
        whole = Path(name).read_bytes()
        for damaged in mutations(whole, part, seed):
            yield name, damaged, lambda: weights_convert(arguments)
        Path(name).write_bytes(whole)


KINDS = {"hdf5": hdf5, "images": images, "darknet": darknet}


def run(cases: Iterator[Case]) -> None:
    """Run every case, and say how it ended."""
    faulthandler.register(signal.SIGPROF, chain=True)  # says where, and ends the process
    for name, content, command in cases:
        before = set(os.listdir())
        Path(name).write_bytes(content)
        out, err = io.StringIO(), io.StringIO()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status: object = command()
            except SystemExit as exit_:
                status = exit_.code
            except Exception as error:
                status = f"{type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        left = sorted(set(os.listdir()) - before - {name})
        for path in left:
            os.unlink(path)
        answer = {"file": name, "status": status, "out": out.getvalue(), "err": err.getvalue(), "left": left}
        print(json.dumps(answer), flush=True)


def limit_memory() -> None:
    """Allow so much beside what the process has taken by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(kind: str, count: str, seed: str) -> None:
    """Go to a folder of its own, warm up, and run."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            Path("names").write_text("red\ngreen\n")
            tiny.detector_file(Path(), "--labels", "names")
            tiny.picture_file(Path("a.png"))
            pure_detect(["detect", "a.png", "--model", "tiny.h5"])
        limit_memory()
        run(KINDS[kind](int(count), int(seed)))
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
