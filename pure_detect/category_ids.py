"""The numbers of classes in COCO's files."""

from __future__ import annotations

from collections.abc import Iterable

from pure_detect.labels import COCO_80, COCO_80_CATEGORY_IDS, COCO_NAMES_OF_DARKNET


def coco_category_ids(class_ids: Iterable[int], labels: Iterable[str]) -> list[int]:
    """Return the category id of each class: COCO's, from 1 to 90 with gaps, if every label is COCO's of its class.

    Else it is class_id + 1, which is COCO's too for networks that leave its gaps in their classes.

    Parameters
    ----------
    class_ids : iterable of int
    labels : iterable of str
        The name of each, Darknet's ("sofa") or COCO's own ("couch").
    """
    pairs = list(zip(class_ids, labels))
    if all(class_id < len(COCO_80) and _coco(label) == _coco(COCO_80[class_id]) for class_id, label in pairs):
        return [COCO_80_CATEGORY_IDS[class_id] for class_id, _ in pairs]
    return [class_id + 1 for class_id, _ in pairs]


def _coco(label: str) -> str:
    return COCO_NAMES_OF_DARKNET.get(label, label)
