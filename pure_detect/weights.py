"""Our weight files: one HDF5 file a model, read strictly.

Layout, version 1:

* `/parameters/...`: every parameter under its name in the graph, dots as slashes: `layer000.conv.weight` is the
  dataset `/parameters/layer000/conv/weight`. float32, or float16 where the converter was asked for it. The original
  values, batch norm not folded.
* attributes of `/`: `layout_version`, `model` (a registry name or a cfg's stem), `cfg` (the Darknet cfg's text, or
  empty), `graph_fingerprint`, `labels`, `preprocessing` and `heads` (JSON), `batch_norm_epsilon`,
  `batch_norm_epsilon_place` ("inside" or "outside" the root), `source_format`, `source_sha256`, `source_header`
  (JSON), `converter_version`.

`weights_convert/hdf5_layout.py` writes it.
"""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError, shown
from pure_detect.graph import BatchNormRule, Graph
from pure_detect.hdf5_heaps import check_global_heaps
from pure_detect.hdf5_safety import MOST_OBJECTS, attribute, datasets, has, member
from pure_detect.image import Preprocessing

LAYOUT_VERSION = 1
PARAMETERS = "parameters"

Array = NDArray[Any]

DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError)  # what h5py raises on a damaged file


@dataclass(frozen=True)
class WeightFile:
    """What a weight file says of itself, beside the parameters; see the module's docstring for the meaning."""

    path: Path
    model: str
    cfg: str
    graph_fingerprint: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    batch_norm_rule: BatchNormRule
    source_header: dict[str, Any]


def parameter_path(name: str) -> str:
    """Return where a parameter lies in the file."""
    return f"{PARAMETERS}/{name.replace('.', '/')}"


def open_weights(path: str | Path) -> h5py.File:
    """Open a weight file for reading.

    Raises
    ------
    InputError
        If it is missing, no HDF5 file, not one of ours, or of another layout version.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a weight file, found {'a folder' if Path(path).is_dir() else 'nothing'}")
    expected = "expected an HDF5 weight file made by weights-convert"
    if not _starts_as_hdf5(path):  # HDF5 looks further on too; ours have nothing in front
        raise InputError(f"{path}: {expected}, found another format")
    _check_heaps(path)
    try:
        file = h5py.File(path, "r")
        wrong = _wrong_version(file)
    except DAMAGE:
        raise InputError(f"{path}: {expected}, found a damaged or shortened one") from None
    if wrong:
        file.close()
        raise InputError(
            f"{path}: expected layout version {LAYOUT_VERSION}, found {wrong}; make it anew with weights-convert"
        )
    return file


def _wrong_version(file: h5py.File) -> str:
    """Return what stands in the place of this layout version; nothing if it is this one."""
    if "layout_version" not in file.attrs:
        return "an HDF5 file without one"
    try:
        version = attribute(file, "layout_version")
    except InputError as error:
        return f"version {error}"
    same = isinstance(version, (int, np.integer)) and version == LAYOUT_VERSION
    return "" if same else f"version {shown(version)}"


def _check_heaps(path: str | Path) -> None:
    """Refuse a damaged file on which the HDF5 library would not come to an end."""
    with open(path, "rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        check_global_heaps(content)
    except InputError as error:
        raise InputError(
            f"{path}: expected a whole HDF5 weight file, found a damaged or shortened one: {error}"
        ) from None


def _starts_as_hdf5(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_header(path: str | Path) -> WeightFile:
    """Read everything but the parameters.

    Raises
    ------
    InputError
        If the file is not one of ours or an attribute is missing or malformed.
    """
    with open_weights(path) as file:
        try:
            place = attribute(file, "batch_norm_epsilon_place")
            return WeightFile(
                path=Path(path),
                model=str(attribute(file, "model")),
                cfg=str(attribute(file, "cfg")),
                graph_fingerprint=str(attribute(file, "graph_fingerprint")),
                labels=_labels_from_json(attribute(file, "labels")),
                preprocessing=preprocessing_from_json(attribute(file, "preprocessing")),
                batch_norm_rule=BatchNormRule(float(attribute(file, "batch_norm_epsilon")), place == "inside"),
                source_header=dict(json.loads(attribute(file, "source_header"))),
            )
        except (InputError, *DAMAGE) as error:
            raise InputError(f"{path}: expected the attributes of layout version 1, found {error}") from None


def _labels_from_json(text: str) -> tuple[str, ...]:
    labels = json.loads(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels {shown(labels)}")
    return tuple(labels)


def preprocessing_from_json(text: str) -> Preprocessing:
    """Return the Preprocessing that a file's attribute holds."""
    values: dict[str, Any] = json.loads(text)
    return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


def read_parameters(path: str | Path, graph: Graph) -> dict[str, Array]:
    """Read every parameter of a graph as float32.

    Raises
    ------
    InputError
        If tensors are missing, unknown or of another shape or type; the one message lists them all.
    """
    with open_weights(path) as file:
        try:
            return _read_all(file, graph)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except DAMAGE as error:
            found = f"a damaged one: {shown(str(error))}"
            raise InputError(f"{path}: expected a whole weight file, found {found}") from None


def _read_all(file: h5py.File, graph: Graph) -> dict[str, Array]:
    found = _datasets(file)
    problems = [f"{name}: unknown" for name in found if name not in graph.parameters]
    for name, parameter in graph.parameters.items():
        dataset = found.get(name)
        if dataset is None:
            problems.append(f"{name}: missing")
        elif dataset.shape != parameter.shape or dataset.dtype not in (np.float32, np.float16):
            problems.append(f"{name}: expected float {parameter.shape}, found {dataset.dtype} {dataset.shape}")
    if problems:
        raise InputError(f"{len(problems)} tensors do not fit the network: {'; '.join(problems)}")
    return {name: found[name][()].astype(np.float32, copy=False) for name in graph.parameters}


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return everything under `/parameters` by parameter name."""
    if not has(file, PARAMETERS):
        return {}
    group = member(file, PARAMETERS, h5py.Group)
    items = list(islice(datasets(group), MOST_OBJECTS + 1))
    if len(items) > MOST_OBJECTS:
        raise InputError(f"expected at most {MOST_OBJECTS:,} tensors, found more")
    return {path.replace("/", "."): dataset for path, dataset in items}
