"""Tells which of the three formats a data set's annotations have, and reads them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from pure_detect.errors import InputError
from pure_detect.evaluate.coco_files import read_coco
from pure_detect.evaluate.ground_truth import GroundTruth
from pure_detect.evaluate.voc_files import read_voc
from pure_detect.evaluate.yolo_files import read_yolo


def read_ground_truth(path: str | PathLike[str], images: str | PathLike[str] | None = None) -> GroundTruth:
    """Read annotations: a COCO instances file, a folder of VOC's XML files, or a folder of YOLO's label files.

    Parameters
    ----------
    path : path
        A file is COCO's; a folder with `.xml` files is VOC's, any other YOLO's.
    images : path, optional
        The folder of the pictures, which YOLO's labels need for their sizes.

    Returns
    -------
    GroundTruth

    Raises
    ------
    InputError
        One line that names the file and the first offending entry.
    """
    path = Path(path)
    if not path.is_dir():
        return read_coco(path)
    if any(entry.suffix.lower() == ".xml" for entry in path.iterdir()):
        return read_voc(path)
    if images is None:
        raise InputError(f"{path}: expected the folder of the pictures too, which YOLO's labels need, found none")
    return read_yolo(path, images)
