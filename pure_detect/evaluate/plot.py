"""Draws precision against recall."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pure_detect.draw.colors import Color
from pure_detect.evaluate.chart import INK, Axis, Chart
from pure_detect.evaluate.coco_figures import CocoEvaluation

TENTHS = [i / 5 for i in range(6)]
# From the loosest threshold to the strictest: dark to light, told apart in grey and by any eye.
COLORS: tuple[Color, ...] = (
    (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142),
    (33, 145, 140), (34, 168, 132), (68, 191, 112), (122, 209, 81), (190, 200, 40),
)  # fmt: skip


def plot_precision_recall(evaluation: CocoEvaluation, title: str = "Precision and recall") -> Image.Image:
    """Draw the mean curve of all classes at each IoU threshold, and the mean of these.

    The area under a curve is the average precision that the legend states beside it.

    Parameters
    ----------
    evaluation : CocoEvaluation
    title : str

    Returns
    -------
    PIL image
    """
    across, up = Axis("recall", 0, 1, TENTHS), Axis("precision", 0, 1, TENTHS)
    chart = Chart(title, across, up, plot_width=560, plot_height=440, legend_width=170)
    curves = [evaluation.curve(iou).clip(min=0) for iou in evaluation.iou_thresholds]
    rows: list[tuple[Color, float, str, str]] = []
    for iou, curve, color in zip(evaluation.iou_thresholds, curves, COLORS):
        chart.line(evaluation.recall_points, curve, color)
        rows.append((color, 2, f"{iou:.2f}", f"{curve.mean():.3f}"))
    mean = np.mean(curves, axis=0)
    chart.line(evaluation.recall_points, mean, INK, width=4)
    rows.append((INK, 4, "mean", f"{mean.mean():.3f}"))
    chart.legend(("IoU", "AP"), rows)
    return chart.picture()
