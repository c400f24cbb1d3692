"""Scenes as a data set on disk, in COCO's layout: ``images/*.png`` and ``annotations.json``."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from pure_detect.demo.scenes import LABELS, Scene, draw_scene
from pure_detect.errors import InputError

IMAGES, ANNOTATIONS = "images", "annotations.json"


def write_dataset(
    folder: Path, seed: int, scenes: int, width: int = 256, height: int = 256, step: Callable[[], None] = lambda: None
) -> None:
    """Write the scenes of `scenes` seeds from `seed` on. The folder appears when it is complete, or not at all.

    Parameters
    ----------
    folder : Path
        New or empty.
    seed, scenes : int
        The seed of the first scene, and how many. Images are named after their seeds, which are their ids as well.
    width, height : int
        Of every scene.
    step : callable
        Called after each scene.

    Raises
    ------
    InputError
        If the folder holds something or cannot be written.
    """
    with _new_folder(folder) as temporary:
        (temporary / IMAGES).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image_id in range(seed, seed + scenes):
            scene = draw_scene(image_id, width, height)
            name = f"{image_id:06d}.png"
            Image.fromarray(scene.pixels).save(temporary / IMAGES / name, compress_level=3)
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
            annotations += _annotations(scene, image_id, first_id=len(annotations) + 1)
            step()
        categories = [{"id": i, "name": label, "supercategory": "shape"} for i, label in enumerate(LABELS, start=1)]
        text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
        (temporary / ANNOTATIONS).write_text(text, encoding="utf-8")


def _annotations(scene: Scene, image_id: int, first_id: int) -> list[dict[str, Any]]:
    rows = []
    for i, (class_id, (x1, y1, x2, y2)) in enumerate(zip(scene.class_ids.tolist(), scene.boxes_xyxy.tolist())):
        bbox = [x1, y1, x2 - x1, y2 - y1]
        row = {"id": first_id + i, "image_id": image_id, "category_id": class_id + 1, "bbox": bbox}
        rows.append({**row, "area": bbox[2] * bbox[3], "iscrowd": 0})
    return rows


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place at the end, or vanishes if anything fails."""
    temporary: Path | None = None
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: expected a folder that is new or empty, found one that holds something")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if folder.exists():
            folder.rmdir()  # which not every system does by itself when another takes its name
        temporary.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
