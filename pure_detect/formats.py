"""Writes the results of a run, picture by picture: the formats of `pure-detect detect --format`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from pure_detect.category_ids import coco_category_ids
from pure_detect.detections import CSV_HEADER, Detections
from pure_detect.files import atomic_path

LONGEST_NUMBER = 18  # digits that fit into 64 bits


class Writer:
    """Takes the results of one picture after another; what a format cannot write before the end, `finish` writes.

    Parameters
    ----------
    out : text file
        Where results go; its own ends of lines are kept.
    model : str
        The network's name.
    labels : sequence of str
        The network's classes.
    """

    def __init__(self, out: TextIO, model: str, labels: Sequence[str]) -> None:
        self.out, self.model, self.labels = out, model, labels

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Take one picture's detections."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is left."""


class TableWriter(Writer):
    """Columns for people."""

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Print the picture's table."""
        lines = [f"{image}  {found.width} x {found.height}, {len(found)} object{'s' * (len(found) != 1)}"]
        if len(found):
            lines.append("  score       x1       y1       x2       y2  label")
        for box, score, _, label in found:
            lines.append(f"  {score:5.3f} " + " ".join(f"{value:8.1f}" for value in box) + f"  {label}")
        self.out.write("\n".join(lines) + "\n")


class JsonWriter(Writer):
    """A list with one object a picture: image, width, height, model, detections."""

    def __init__(self, out: TextIO, model: str, labels: Sequence[str]) -> None:
        super().__init__(out, model, labels)
        self._pictures: list[dict[str, Any]] = []

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Keep the picture's object."""
        size = {"width": found.width, "height": found.height}
        self._pictures.append({"image": image, **size, "model": self.model, "detections": found.to_json()})

    def finish(self) -> None:
        """Print the list."""
        self.out.write(json.dumps(self._pictures, indent=2, ensure_ascii=False) + "\n")


class CocoWriter(Writer):
    """A COCO results file; the categories are COCO's if the network's classes are, else class_id + 1."""

    def __init__(self, out: TextIO, model: str, labels: Sequence[str]) -> None:
        super().__init__(out, model, labels)
        self._category_ids = coco_category_ids(range(len(labels)), labels)
        self._entries: list[dict[str, Any]] = []

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Keep one entry a box."""
        self._entries += found.to_coco(image_id, self._category_ids)

    def finish(self) -> None:
        """Print one entry a line."""
        lines = ",\n".join(json.dumps(entry) for entry in self._entries)
        self.out.write(f"[\n{lines}\n]\n" if lines else "[]\n")


class CsvWriter(Writer):
    """One table for all pictures, its header first."""

    def __init__(self, out: TextIO, model: str, labels: Sequence[str]) -> None:
        super().__init__(out, model, labels)
        self._table = csv.writer(out, lineterminator="\n")  # as every text here: the platform's end of line
        self._table.writerow(CSV_HEADER)

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Print one row a box."""
        self._table.writerows(found.csv_rows(image))


class YoloWriter(Writer):
    """Darknet's label text, which says nothing of the picture: so it is one picture's, or goes to one file each."""

    def add(self, image: str, image_id: int, found: Detections) -> None:
        """Print one line a box."""
        self.out.write(found.to_yolo())


WRITERS: dict[str, type[Writer]] = {
    "table": TableWriter,
    "json": JsonWriter,
    "coco": CocoWriter,
    "csv": CsvWriter,
    "yolo": YoloWriter,
}


def write_yolo(found: Detections, path: Path) -> None:
    """Write one picture's label file.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(found.to_yolo(), encoding="ascii", newline="\n")


def image_ids(images: Iterable[str]) -> list[int]:
    """Return the number of each image: the number that is its file's name, `000000000139.jpg` is 139.

    Unless every name is a number, and another one, it is the place in the list, from 1.
    """
    stems = [Path(image).stem for image in images]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= LONGEST_NUMBER for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(stems) + 1))
