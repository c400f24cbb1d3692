"""What a detector returns for one picture, and the formats that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pure_detect.boxes.coordinates import clip_boxes, xyxy_to_cxcywh
from pure_detect.category_ids import coco_category_ids
from pure_detect.errors import InputError

CSV_HEADER = ("image", "label", "class_id", "score", "x1", "y1", "x2", "y2")


class Detection(NamedTuple):
    """One box: left, top, right, bottom in pixels, score, class from 0, and its name."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    class_id: int
    label: str


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one picture, best score first; of equal scores the one given earlier.

    `detections[0]` is the best box as a :class:`Detection`, and iterating gives one after another. A slice, a boolean
    mask or an array of indices gives Detections, again best first: `detections[detections.scores > 0.8]`,
    `detections[:10]`.

    Attributes
    ----------
    boxes_xyxy : float32 array (K, 4)
        Left, top, right, bottom in pixels of the given picture.
    scores : float32 array (K,)
    class_ids : int64 array (K,)
        From 0; `labels[i]` is the name of `class_ids[i]`.
    labels : tuple of str
        The class name of each box.
    height, width : int
        Of the given picture, in pixels.

    Raises
    ------
    ValueError
        If an array has another shape, length or kind of numbers, or the picture has no size.
    InputError
        If a number is NaN or infinite, a right side lies left of its left side, a bottom above its top, or a class
        below 0.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...]
    height: int
    width: int

    def __post_init__(self) -> None:
        """Check everything, and sort."""
        count = np.size(self.scores)
        scores = _array("scores", self.scores, (count,), np.float32)
        boxes = _array("boxes_xyxy", self.boxes_xyxy, (count, 4), np.float32)
        class_ids = _array("class_ids", self.class_ids, (count,), np.int64)
        labels = _labels(self.labels, count)
        _require("scores", np.isfinite(scores), "finite numbers", scores)
        _require("boxes_xyxy", np.isfinite(boxes).all(axis=1), "finite numbers", boxes)
        _require("boxes_xyxy", (boxes[:, :2] <= boxes[:, 2:]).all(axis=1), "left, top, right, bottom", boxes)
        _require("class_ids", class_ids >= 0, "classes from 0", class_ids)
        order = np.argsort(-scores, kind="stable")
        values = {
            "boxes_xyxy": boxes[order],
            "scores": scores[order],
            "class_ids": class_ids[order],
            "labels": tuple(labels[i] for i in order),
            "height": _size("height", self.height),
            "width": _size("width", self.width),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the one way past frozen=True

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        """Yield one box after another, best score first."""
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> Detections: ...
    def __getitem__(self, index: Any) -> Detection | Detections:
        """Return one box for an integer, Detections for a slice, a boolean mask or an array of indices."""
        if isinstance(index, int | np.integer):
            x1, y1, x2, y2 = self.boxes_xyxy[index].tolist()
            return Detection(
                (x1, y1, x2, y2), float(self.scores[index]), int(self.class_ids[index]), self.labels[index]
            )
        if not isinstance(index, slice):
            index = np.asarray(index) if np.size(index) else np.zeros(0, np.int64)
        boxes, scores, class_ids = self.boxes_xyxy[index], self.scores[index], self.class_ids[index]
        labels = tuple(np.array(self.labels, object)[index])
        return Detections(boxes, scores, class_ids, labels, self.height, self.width)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one plain dictionary a box: label, class_id, score, box_xyxy; 1e-6 and 1e-3 pixels are kept."""
        return [
            {
                "label": label,
                "class_id": class_id,
                "score": round(score, 6),
                "box_xyxy": [round(value, 3) for value in box],
            }
            for box, score, class_id, label in self
        ]

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return entries of a COCO results file: image_id, category_id, bbox (x, y, width, height), score.

        Boxes of no area are left out: they can match nothing, and COCO's tools would count each as a false alarm.

        Parameters
        ----------
        image_id : int
            The picture's number in the annotations.
        category_ids : sequence of int, optional
            The data set's number of each class. Without it, COCO's own numbers if the labels of these boxes are COCO's,
            else class_id + 1: see :func:`pure_detect.category_ids.coco_category_ids`.

        Raises
        ------
        ValueError
            If a class has no entry in `category_ids`.

        Notes
        -----
        Source: COCO results format (cocodataset.org, section "Results Format"); pycocotools 2.0.11 `loadRes`.
        """
        if category_ids is None:
            numbers = coco_category_ids(self.class_ids.tolist(), self.labels)
        elif len(category_ids) > self.class_ids.max(initial=-1):
            numbers = [int(category_ids[i]) for i in self.class_ids]
        else:
            raise ValueError(f"category_ids: expected {self.class_ids.max() + 1} or more, got {len(category_ids)}")
        entries = []
        for number, score, (x1, y1, x2, y2) in zip(numbers, self.scores, self.boxes_xyxy.tolist()):
            bbox = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            if min(bbox[2:]) > 0:
                # The shortest text that float32 reads back keeps ties and order, unlike a rounded one.
                entries.append({"image_id": image_id, "category_id": number, "bbox": bbox, "score": float(str(score))})
        return entries

    def to_yolo(self, *, scores: bool = False) -> str:
        """Return Darknet's label text: one line `class_id cx cy w h` a box, as shares of the picture.

        Darknet refuses what lies outside, so boxes are clipped to the picture; what then has no area is left out.

        Parameters
        ----------
        scores : bool
            Whether the score follows as a sixth number. Several tools write it so, but Darknet reads five a line.

        Notes
        -----
        Source: AlexeyAB/darknet 59596d7 `src/data.c`, `read_boxes` and `fill_truth_detection`.
        """
        inside = clip_boxes(self.boxes_xyxy.astype(np.float64), self.height, self.width)
        shares = xyxy_to_cxcywh(inside) / [self.width, self.height, self.width, self.height]
        lines = []
        for class_id, share, score in zip(self.class_ids, shares.round(6), self.scores):
            if (share > 0).all():
                numbers = [*share, score] if scores else share
                lines.append(f"{class_id} " + " ".join(f"{number:.6f}" for number in numbers) + "\n")
        return "".join(lines)

    def csv_rows(self, image: str) -> Iterator[tuple[Any, ...]]:
        """Yield one row a box, under the names of `CSV_HEADER`; numbers are those of `to_json`."""
        for entry in self.to_json():
            yield (image, entry["label"], entry["class_id"], entry["score"], *entry["box_xyxy"])

    def to_csv(self, image: str = "") -> str:
        """Return a table with the header image,label,class_id,score,x1,y1,x2,y2, as RFC 4180 (lines end in CRLF)."""
        text = io.StringIO()
        csv.writer(text).writerows([CSV_HEADER, *self.csv_rows(image)])
        return text.getvalue()

    def to_supervision(self) -> Any:
        """Return `supervision.Detections`, with the labels in `data["class_name"]`.

        Raises
        ------
        ImportError
            If the library supervision is absent.
        """
        try:
            import supervision
        except ImportError:
            raise ImportError("to_supervision needs the library supervision: pip install supervision") from None
        return supervision.Detections(
            xyxy=self.boxes_xyxy.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.array(self.labels, dtype=str)},
        )


def _array(name: str, values: ArrayLike, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a copy of an argument as an array of that shape and dtype, or say why it is none."""
    array = np.asarray(values)
    if array.size == 0 and 0 in shape:  # [] stands for no box, whatever shape NumPy gives it
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    kinds, expected = ("iu", "integers") if issubclass(dtype, np.integer) else ("iuf", "numbers")
    if array.size and array.dtype.kind not in kinds:
        raise ValueError(f"{name}: expected {expected}, got {array.dtype}")
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused
        return array.astype(dtype, order="C")


def _labels(labels: Iterable[str], count: int) -> tuple[str, ...]:
    found = (labels,) if isinstance(labels, str) else tuple(labels)
    if len(found) != count or isinstance(labels, str) or not all(isinstance(label, str) for label in found):
        raise ValueError(f"labels: expected {count} strings, one a box, got {labels!r}")
    return found


def _size(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: expected a whole number of pixels, at least 1, got {value!r}")
    return int(value)


def _require(name: str, good: Any, expected: str, values: NDArray[Any]) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise InputError(f"{name}: expected {expected}, found {values[row].tolist()} in row {row}")
