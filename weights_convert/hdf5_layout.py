"""Writes the HDF5 layout that `pure_detect/weights.py` describes and reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pure_detect import __version__
from pure_detect.errors import InputError
from pure_detect.files import atomic_path
from pure_detect.graph import BatchNormRule
from pure_detect.image import Preprocessing
from pure_detect.network import Network
from pure_detect.weights import LAYOUT_VERSION, parameter_path

MOST_WITHOUT_INDEX = 8  # members of a group, HDF5's own limit


@dataclass(frozen=True)
class Source:
    """Where the parameters come from: kept in the file so that a result can be traced, and the source rebuilt."""

    format: str
    sha256: str = ""
    header: dict[str, Any] = field(default_factory=dict)


def write_weights(
    path: str | Path,
    network: Network,
    parameters: Mapping[str, NDArray[Any]],
    *,
    labels: Sequence[str] = (),
    rule: BatchNormRule | None = None,
    preprocessing: Preprocessing | None = None,
    source: Source | None = None,
    half: bool = False,
) -> None:
    """Write a weight file, whole or not at all.

    Parameters
    ----------
    path : path
    network : Network
    parameters : mapping of str to array
        Every parameter of the network's graph, by name.
    labels, rule, preprocessing
        In place of the network's own.
    source : Source, optional
    half : bool
        Store float16.

    Raises
    ------
    InputError
        If the file cannot be written, or a value does not fit into float16.
    """
    rule, source = rule or network.batch_norm_rule, source or Source("pure_detect")
    graph = network.build(rule=rule)
    # The form of HDF5 that every version from 1.8 on reads, ours in `pure_detect/hdf5` too.
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="earliest") as file:
        _make_groups(file, [parameter_path(name) for name in graph.parameters])
        for name, parameter in graph.parameters.items():
            values = np.asarray(parameters[name], np.float32)
            if values.shape != parameter.shape:
                raise InputError(f"{path}: expected {name} {parameter.shape}, found {values.shape}")
            file[parameter_path(name)] = _as_half(path, name, values) if half else values
        file.attrs.update(
            layout_version=LAYOUT_VERSION,
            model=network.name,
            cfg=network.cfg or "",
            graph_fingerprint=graph.fingerprint,
            labels=json.dumps(list(labels or network.labels), ensure_ascii=False),
            preprocessing=json.dumps(asdict(preprocessing or network.preprocessing)),
            heads=json.dumps([asdict(head) for head in graph.heads]),
            batch_norm_epsilon=rule.epsilon,
            batch_norm_epsilon_place="inside" if rule.inside else "outside",
            source_format=source.format,
            source_sha256=source.sha256,
            source_header=json.dumps(source.header),
            converter_version=__version__,
        )


def _make_groups(file: h5py.File, paths: Sequence[str]) -> None:
    """Make the groups that arrays lie in, small ones without an index.

    Every layer is a group of a few arrays, and HDF5's old form gives each an index of a kilobyte: a quarter of the file
    of a small network. In the form of HDF5 1.8, which keeps the order of the members, up to eight stand in the group's
    header; more of them would get an index that `pure_detect/hdf5` does not read.
    """
    members: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            members.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    for group, names in members.items():
        file.create_group(group, track_order=len(names) <= MOST_WITHOUT_INDEX)


def _as_half(path: str | Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(values).max()
        raise InputError(f"{path}: {name} holds {largest:g}, float16 ends at 65504; convert without --float16")
    return half
