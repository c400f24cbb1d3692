"""What COCO's protocol yields: arrays of precision and recall, and the figures drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pure_detect.evaluate.ground_truth import Category

# Square pixels, both ends within: an object of exactly 32² is small and medium.
AREA_RANGES = {"all": (0.0, 1e5**2), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e5**2)}
MAX_DETECTIONS = (1, 10, 100)


class Figure(NamedTuple):
    """One of the twelve: what is averaged over all classes, and over all thresholds if `iou` is None."""

    name: str
    kind: str
    iou: float | None
    area: str
    limit: int


FIGURES = (
    Figure("AP", "precision", None, "all", 100),
    Figure("AP50", "precision", 0.50, "all", 100),
    Figure("AP75", "precision", 0.75, "all", 100),
    Figure("APs", "precision", None, "small", 100),
    Figure("APm", "precision", None, "medium", 100),
    Figure("APl", "precision", None, "large", 100),
    Figure("AR1", "recall", None, "all", 1),
    Figure("AR10", "recall", None, "all", 10),
    Figure("AR100", "recall", None, "all", 100),
    Figure("ARs", "recall", None, "small", 100),
    Figure("ARm", "recall", None, "medium", 100),
    Figure("ARl", "recall", None, "large", 100),
)


class CategoryPrecision(NamedTuple):
    """Average precision of one class over all areas, at most 100 detections an image; -1 if it has no object."""

    category: Category
    ap: float
    ap50: float
    ap75: float


@dataclass(frozen=True, eq=False)
class CocoEvaluation:
    """Precision and recall by T IoU thresholds, R points of recall, K classes, A area ranges and M limits.

    Attributes
    ----------
    categories : tuple of Category
        The K classes, by id.
    iou_thresholds : float64 array (10,)
        0.5 to 0.95.
    recall_points : float64 array (101,)
        0 to 1.
    precision : float64 array (T, R, K, A, M)
        The best precision at that recall or beyond, 0 where it is not reached, -1 for a class without objects.
        A goes by `AREA_RANGES`, M by `MAX_DETECTIONS`.
    recall : float64 array (T, K, A, M)
        Recall of all detections together; -1 for a class without objects.
    scores : float64 array (T, R, K, A, M)
        The score at which that recall is reached.
    """

    categories: tuple[Category, ...]
    iou_thresholds: NDArray[np.float64]
    recall_points: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    scores: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Return COCO's twelve figures by name, AP to ARl; -1 where no object counts."""
        return {figure.name: self._mean(figure) for figure in FIGURES}

    def per_category(self) -> list[CategoryPrecision]:
        """Return the average precision of every class, by id."""
        at_50, at_75 = self._threshold(0.50), self._threshold(0.75)
        rows = []
        for k, category in enumerate(self.categories):
            precision = self.precision[:, :, k, 0, -1]
            rows.append(CategoryPrecision(category, *map(_mean, (precision, precision[at_50], precision[at_75]))))
        return rows

    def curve(self, iou: float) -> NDArray[np.float64]:
        """Return the mean precision (101,) of the classes with objects, all areas, at one IoU threshold."""
        precision = self.precision[self._threshold(iou), :, :, 0, -1]
        present = (precision > -1).all(axis=0)
        return precision[:, present].mean(axis=1) if present.any() else np.full(len(precision), -1.0)

    def _mean(self, figure: Figure) -> float:
        values = self.precision if figure.kind == "precision" else self.recall
        values = values[..., list(AREA_RANGES).index(figure.area), MAX_DETECTIONS.index(figure.limit)]
        return _mean(values if figure.iou is None else values[self._threshold(figure.iou)])

    def _threshold(self, iou: float) -> int:
        return int(np.flatnonzero(np.isclose(self.iou_thresholds, iou))[0])


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean over the classes that have objects, -1 if there is none."""
    present = values[values > -1]
    return float(present.mean()) if len(present) else -1.0
