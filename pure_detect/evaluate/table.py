"""The tables that a person reads."""

from __future__ import annotations

from pure_detect.evaluate.coco_figures import FIGURES, CocoEvaluation

LONG_NAMES = {"precision": "average precision", "recall": "average recall"}


def figures_table(evaluation: CocoEvaluation) -> str:
    """Return COCO's twelve figures as text, one a line; -1 where no object counts.

    Parameters
    ----------
    evaluation : CocoEvaluation

    Returns
    -------
    str
    """
    figures = evaluation.figures()
    rows: list[tuple[str, ...]] = [("", "value", "what", "IoU", "objects", "boxes an image")]
    for figure in FIGURES:
        iou = "0.50:0.95" if figure.iou is None else f"{figure.iou:.2f}"
        value = f"{figures[figure.name]:.3f}"
        rows.append((figure.name, value, LONG_NAMES[figure.kind], iou, figure.area, str(figure.limit)))
    return _aligned(rows, right={1, 5})


def categories_table(evaluation: CocoEvaluation) -> str:
    """Return the average precision of every class as text, one a line; -1 for a class without objects.

    Parameters
    ----------
    evaluation : CocoEvaluation

    Returns
    -------
    str
    """
    rows: list[tuple[str, ...]] = [("id", "class", "AP", "AP50", "AP75")]
    for category, *values in evaluation.per_category():
        rows.append((str(category.id), category.name, *(f"{value:.3f}" for value in values)))
    return _aligned(rows, right={0, 2, 3, 4})


def _aligned(rows: list[tuple[str, ...]], right: set[int]) -> str:
    """Return rows as lines of columns, those in `right` flush right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [cell.rjust(n) if i in right else cell.ljust(n) for i, (cell, n) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
