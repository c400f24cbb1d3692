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

FEW = 8  # members, up to which HDF5 keeps them in a group's header


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
    # The form of HDF5 that every version reads, ours in `pure_detect/hdf5` too.
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
    """Make the groups of some datasets, small ones in the form that HDF5 1.8 brought.

    Such a group names its members in its own header. One of the older form has a tree and a heap besides, a kilobyte:
    for a small network's hundreds of groups a quarter of the file.
    """
    members: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for i in range(1, len(parts)):
            members.setdefault("/".join(parts[:i]), set()).add(parts[i])
    compact = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    compact.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED)
    for group, names in members.items():
        if len(names) <= FEW:
            h5py.h5g.create(file.id, group.encode(), None, compact)
        else:
            file.create_group(group)


def _as_half(path: str | Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(values).max()
        raise InputError(f"{path}: {name} holds {largest:g}, float16 ends at 65504; convert without --float16")
    return half
