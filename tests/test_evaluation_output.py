"""The table and the plot of an evaluation."""

from __future__ import annotations

import numpy as np

from pure_detect.evaluate import (
    Category,
    GroundTruth,
    Results,
    categories_table,
    evaluate,
    figures_table,
    plot_precision_recall,
)
from pure_detect.evaluate.plot import COLORS

BOX = (10.0, 10.0, 40.0, 40.0)
HALF_FOUND = evaluate(
    Results([1], [1], [BOX], [0.9]),
    GroundTruth([1, 1], [1, 1], [BOX, (90.0, 10.0, 40.0, 40.0)], categories=[Category(1, "cat"), Category(90, "dog")]),
)


def test_the_table_states_twelve_figures_with_their_settings() -> None:
    lines = figures_table(HALF_FOUND).splitlines()
    assert lines[0] == "        value  what               IoU        objects  boxes an image"
    assert lines[1] == "AP      0.505  average precision  0.50:0.95  all                 100"
    assert lines[3] == "AP75    0.505  average precision  0.75       all                 100"
    assert lines[4] == "APs    -1.000  average precision  0.50:0.95  small               100"
    assert lines[7] == "AR1     0.500  average recall     0.50:0.95  all                   1"
    assert len(lines) == 13


def test_the_table_of_classes_states_each_ones_precision() -> None:
    assert categories_table(HALF_FOUND).splitlines() == [
        "id  class      AP    AP50    AP75",
        " 1  cat     0.505   0.505   0.505",
        "90  dog    -1.000  -1.000  -1.000",
    ]


def test_the_plot_draws_precision_one_up_to_recall_one_half() -> None:
    picture = np.asarray(plot_precision_recall(HALF_FOUND)).astype(int)
    left, top, width, height = 72, 52, 560, 440
    dark = picture.max(axis=2) < 90
    at_the_top = dark[top - 1 : top + 2, left + 5 : left + width].any(axis=0)
    assert at_the_top[: width // 2 - 10].all()
    assert not at_the_top[width // 2 + 10 :].any()
    # From there the curve falls to 0 within one of the 101 points.
    falls = dark[top + height // 2, left + 5 : left + width].nonzero()[0] + 5
    assert 0.5 * width <= falls.min() <= falls.max() <= 0.51 * width + 3


def test_every_threshold_has_a_stroke_of_its_colour_in_the_legend() -> None:
    picture = np.asarray(plot_precision_recall(HALF_FOUND)).astype(int)
    legend = picture[:, 72 + 560 + 24 :]
    for color in COLORS:
        assert (np.abs(legend - color).max(axis=2) <= 3).sum() > 20, color


def test_an_evaluation_without_objects_is_plotted_too() -> None:
    empty = evaluate(Results([], [], [], []), GroundTruth([], [], []))
    assert plot_precision_recall(empty).size == plot_precision_recall(HALF_FOUND).size
    assert len(categories_table(empty).splitlines()) == 1
