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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.errors import InputError, shown
from pure_detect.graph import BatchNormRule, Graph
from pure_detect.hdf5 import (
    MAGIC,
    MOST_OBJECTS,
    DamagedError,
    Dataset,
    Group,
    attribute,
    datasets,
    has,
    member,
    open_hdf5,
)
from pure_detect.image import Preprocessing

LAYOUT_VERSION = 1
PARAMETERS = "parameters"

Array = NDArray[Any]

MALFORMED = (RecursionError, KeyError, TypeError, ValueError)  # what attributes of other contents raise


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


def open_weights(path: str | Path) -> Group:
    """Open a weight file for reading; return its root.

    Raises
    ------
    InputError
        If it is missing, no HDF5 file, not one of ours, or of another layout version.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a weight file, found {'a folder' if Path(path).is_dir() else 'nothing'}")
    with _located(path):
        if not _starts_as_hdf5(path):  # HDF5 looks further on too; ours have nothing in front
            raise InputError("expected an HDF5 weight file made by weights-convert, found another format")
        root = open_hdf5(path)
        wrong = _wrong_version(root)
        if wrong:
            renewal = f"`weights-convert SOURCE --model {_model_of(root)} --out {path}`"
            raise InputError(f"expected layout version {LAYOUT_VERSION}, found {wrong}; make it anew with {renewal}")
    return root


@contextmanager
def _located(path: str | Path) -> Iterator[None]:
    """Put the path in front of the errors raised inside."""
    try:
        yield
    except DamagedError as error:
        message = "expected a whole HDF5 weight file, found a damaged or shortened one"
        raise InputError(f"{path}: {message}: {error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _wrong_version(root: Group) -> str:
    """Return what stands in the place of this layout version; nothing if it is this one."""
    if "layout_version" not in root.attributes:
        return "an HDF5 file without one"
    try:
        version = attribute(root, "layout_version")
    except DamagedError:
        raise
    except InputError as error:
        return f"version {error}"
    same = isinstance(version, (int, np.integer)) and version == LAYOUT_VERSION
    return "" if same else f"version {shown(version)}"


def _model_of(root: Group) -> str:
    """Return what `weights-convert --model` is to be told of a file of another layout, as far as it says that."""
    try:
        model = str(attribute(root, "model"))
        return f"{model}.cfg" if attribute(root, "cfg") else model
    except InputError:
        return "NAME"


def _starts_as_hdf5(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: str | Path) -> WeightFile:
    """Read everything but the parameters.

    Raises
    ------
    InputError
        If the file is not one of ours or an attribute is missing or malformed.
    """
    root = open_weights(path)
    with _located(path):
        try:
            place = attribute(root, "batch_norm_epsilon_place")
            return WeightFile(
                path=Path(path),
                model=str(attribute(root, "model")),
                cfg=str(attribute(root, "cfg")),
                graph_fingerprint=str(attribute(root, "graph_fingerprint")),
                labels=_labels_from_json(attribute(root, "labels")),
                preprocessing=preprocessing_from_json(attribute(root, "preprocessing")),
                batch_norm_rule=BatchNormRule(float(attribute(root, "batch_norm_epsilon")), place == "inside"),
                source_header=dict(json.loads(attribute(root, "source_header"))),
            )
        except DamagedError:
            raise
        except (InputError, *MALFORMED) as error:
            raise InputError(f"expected the attributes of layout version 1, found {error}") from None


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
    root = open_weights(path)
    with _located(path):
        return _read_all(root, graph)


def _read_all(root: Group, graph: Graph) -> dict[str, Array]:
    found = _datasets(root)
    problems = [
        f"{name if name.isprintable() else shown(name)}: unknown" for name in found if name not in graph.parameters
    ]
    for name, parameter in graph.parameters.items():
        dataset = found.get(name)
        if dataset is None:
            problems.append(f"{name}: missing")
        elif dataset.shape != parameter.shape or dataset.dtype not in (np.float32, np.float16):
            problems.append(f"{name}: expected float {parameter.shape}, found {dataset.dtype} {dataset.shape}")
    if problems:
        raise InputError(f"{len(problems)} tensors do not fit the network: {'; '.join(problems)}")
    if sum(dataset.nbytes for dataset in found.values()) > root.file_size:
        raise InputError("expected every tensor with values of its own, found some that share theirs")
    return {name: found[name].read().astype(np.float32, copy=False) for name in graph.parameters}


def _datasets(root: Group) -> dict[str, Dataset]:
    """Return everything under `/parameters` by parameter name."""
    if not has(root, PARAMETERS):
        return {}
    group = member(root, PARAMETERS, Group)
    items = list(islice(datasets(group), MOST_OBJECTS + 1))
    if len(items) > MOST_OBJECTS:
        raise InputError(f"expected at most {MOST_OBJECTS:,} tensors, found more")
    return {path.replace("/", "."): dataset for path, dataset in items}
