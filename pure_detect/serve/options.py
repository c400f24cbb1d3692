"""The query of a prediction: which model, which thresholds, which form of answer."""

from __future__ import annotations

from typing import NamedTuple

from werkzeug.datastructures import MultiDict

from pure_detect.errors import shown
from pure_detect.serve.catalog import Catalog, Served
from pure_detect.serve.errors import ServiceError

FORMATS = ("json", "annotated", "full")
SCORE = 0.5


class Options(NamedTuple):
    """What a request asks for. `iou` is None where the model's own applies."""

    model: Served
    score: float
    iou: float | None
    format: str


def read_options(query: MultiDict[str, str], catalog: Catalog, others: tuple[str, ...] = ()) -> Options:
    """Return the options of a query; an unknown model is found out first.

    Parameters
    ----------
    query : werkzeug.datastructures.MultiDict
    catalog : Catalog
    others : tuple of str
        Parameters that the caller reads itself.

    Raises
    ------
    ServiceError
        If a parameter is unknown, given twice or has a value that cannot be used.
    """
    model = catalog.find(query.get("model"))
    known = ("model", "score", "iou", "format", *others)
    for name, values in query.lists():
        if name not in known:
            raise ServiceError("unknown_parameter", f"expected one of {', '.join(known)}, found {shown(name)}")
        if len(values) > 1:
            raise ServiceError("repeated_parameter", f"{name}: expected one value, found {len(values)}")
    form = query.get("format", FORMATS[0])
    if form not in FORMATS:
        raise _invalid("format", f"one of {', '.join(FORMATS)}", form)
    score = SCORE if "score" not in query else _unit_interval("score", query["score"])
    iou = None if "iou" not in query else _unit_interval("iou", query["iou"])
    return Options(model, score, iou, form)


def _unit_interval(name: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() else -1
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise _invalid(name, "a number from 0 to 1", text)
    return value


def _invalid(name: str, expected: str, found: str) -> ServiceError:
    return ServiceError("invalid_parameter", f"{name}: expected {expected}, found {shown(found)}")
