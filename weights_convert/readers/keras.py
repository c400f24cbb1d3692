"""Keras's `.h5`: weights (`save_weights`) and whole models (`save`), of Keras 2 and of Keras 3 in the same format.

    /                   attribute `layer_names`; of a whole model, the group `model_weights` takes the place of /
    /LAYER              a group; attribute `weight_names`: paths of datasets within it
    /top_level_model_weights   the same for weights of no layer

A list of names beyond 64 kB is split into `layer_names0`, `layer_names1`, ... A weight's path repeats the layer's name
(`conv/kernel:0` in the group `conv`), or is `kernel:0` alone, and Keras 3 leaves `:0` out. All are returned as
`LAYER/WEIGHT:0`: `conv/kernel:0`, and `inner/conv/kernel:0` for a model within the model.

Source: `keras/src/legacy/saving/legacy_h5_format.py` (`save_weights_to_hdf5_group`), Keras 3.15;
`keras/saving/legacy/hdf5_format.py`, Keras 2.15.
"""

from __future__ import annotations

import math
from pathlib import Path

from pure_detect.errors import InputError
from pure_detect.hdf5 import MAGIC, DamagedError, Dataset, Group, checked, has, member, open_hdf5
from weights_convert.readers.content import Array, located, shown
from weights_convert.readers.named_tensors import MAX_TENSORS, check_growth, check_name, converted

EXPECTED = "Keras weights or a Keras model in HDF5 (.h5)"
WHOLE_MODEL = "model_weights"
LAYERS, WEIGHTS = "layer_names", "weight_names"
TOP_LEVEL = "top_level_model_weights"
NATIVE = ("layers", "_layer_checkpoint_dependencies")  # groups of Keras 3's own .weights.h5
OUR_MARK = "layout_version"
MAX_NAMES = MAX_TENSORS


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a file's content is Keras's; the name does not matter.

    Parameters
    ----------
    path : path
    head : bytes
        The file's first 8 bytes or more.
    """
    if not head.startswith(MAGIC):
        return False
    try:
        root = open_hdf5(path)
        return OUR_MARK not in root.attributes and (_weights_group(root) is not None or _is_native(root))
    except (InputError, OSError):
        return False


def read(path: str | Path) -> dict[str, Array]:
    """Read every layer's weights.

    Returns
    -------
    dict of str to ndarray
        By `LAYER/WEIGHT:0`, in the file's order, as Keras has them (kernels HWIO). Floating types as float32, bool
        and integers as they are; each array its own, writable and C-contiguous.

    Raises
    ------
    InputError
        If the file is unreadable, damaged or not Keras's, or takes data from elsewhere (links, external storage).
    """
    with located(path):
        if not Path(path).is_file():  # opening a pipe would wait for ever
            raise InputError(f"expected {EXPECTED}, found {'a folder' if Path(path).is_dir() else 'no such file'}")
        try:
            root = open_hdf5(path)
            datasets = _datasets(root)
        except DamagedError as error:
            raise InputError(f"expected {EXPECTED}, found a damaged or other file: {error}") from None
        total = sum(8 * math.prod(max(1, n) for n in dataset.shape or ()) for dataset in datasets.values())
        check_growth(len(datasets), total, root.file_size)
        return {name: converted(name, dataset.read()) for name, dataset in datasets.items()}


def _datasets(root: Group) -> dict[str, Dataset]:
    """Return the weights by name, none read yet."""
    group = _weights_group(root)
    if group is None:
        found = "Keras 3's .weights.h5, which names no weights" if _is_native(root) else "another HDF5 file"
        raise InputError(f"expected {EXPECTED}, found {found}; in Keras, model.save('FILE.h5') writes it")
    datasets: dict[str, Dataset] = {}
    layers = [name for name in _names(group, LAYERS) if name != TOP_LEVEL]
    for layer in [*layers, *([TOP_LEVEL] if has(group, TOP_LEVEL) else [])]:
        found = member(group, layer, Group)
        for weight in _names(found, WEIGHTS):
            name = _canonical(layer, weight)
            if name in datasets:
                raise InputError(f"expected every weight once, found {shown(name)} twice")
            datasets[name] = checked(name, member(found, weight, Dataset))
    return datasets


def _weights_group(root: Group) -> Group | None:
    """Return the group whose attributes name the layers, or None where the file has none."""
    group = member(root, WHOLE_MODEL, Group) if has(root, WHOLE_MODEL) else root
    return group if LAYERS in group.attributes or f"{LAYERS}0" in group.attributes else None


def _is_native(root: Group) -> bool:
    return any(has(root, name) for name in NATIVE)


def _names(group: Group, attribute: str) -> list[str]:
    """Return a list of names, put together from its parts where it is split."""
    if attribute in group.attributes:
        return _strings(group, attribute)
    names: list[str] = []
    part = 0
    while f"{attribute}{part}" in group.attributes:
        names += _strings(group, f"{attribute}{part}")
        part += 1
    return names


def _strings(group: Group, attribute: str) -> list[str]:
    stored = group.attributes[attribute]
    shape = stored.shape or ()
    if len(shape) != 1 or shape[0] > MAX_NAMES:
        raise InputError(f"expected {attribute} as a list of at most {MAX_NAMES:,} names, found shape {shape}")
    if shape[0] == 0:  # h5py writes an empty list as floats
        return []
    if not stored.is_text:
        raise InputError(f"expected {attribute} as a list of names, found {stored.type.name}")
    names = stored.texts()
    for name in names:
        check_name(name)
    return names


def _canonical(layer: str, weight: str) -> str:
    """Return `LAYER/WEIGHT:0`, whichever way the version of Keras that wrote the file spelled it."""
    weight = weight.removeprefix(f"{layer}/").removesuffix(":0")
    return f"{weight}:0" if layer == TOP_LEVEL else f"{layer}/{weight}:0"
