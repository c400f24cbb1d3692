"""What may stand in an HDF5 file from a stranger: plain groups and plain numbers, in this very file.

HDF5 can follow links into other files, take a dataset's values from anywhere on the disk, and unpack a few bytes into
gigabytes. Nothing of that has a place in a weight file, and each is refused by name before the library acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

from pure_detect.errors import InputError, shown

MOST_OBJECTS = 65_536  # the largest detectors have some thousands
DEEPEST = 16


def has(group: h5py.Group, name: str) -> bool:
    """Return whether there is a link of that name; `name in group` would follow it, into other files too."""
    return group.get(name, getlink=True) is not None


def member(group: h5py.Group, path: str, kind: type | tuple[type, ...]) -> Any:
    """Return what lies under a path, each step of which must be in this file and no detour."""
    item: Any = group
    for step in path.split("/"):
        link = item.get(step, getlink=True) if isinstance(item, h5py.Group) and step not in ("", ".") else None
        if not isinstance(link, h5py.HardLink):
            found = "nothing" if link is None else f"a link elsewhere ({type(link).__name__})"
            raise InputError(f"expected {shown(path)} in {shown(group.name)}, found {found}")
        item = item[step]
    if not isinstance(item, kind):
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"expected {shown(path)} in {shown(group.name)} as a {kinds}, found a {type(item).__name__}")
    return item


def checked(name: str, dataset: h5py.Dataset) -> h5py.Dataset:
    """Refuse a dataset whose values are not numbers, or do not lie in this file as they are."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise InputError(f"expected the values of {shown(name)} in this file, found them stored outside")
    if plan.get_nfilters():
        raise InputError(f"expected {shown(name)} stored as it is, found it compressed; h5repack -f NONE undoes that")
    if dataset.shape is None or dataset.dtype.kind not in "fiub":
        raise InputError(f"expected numbers in {shown(name)}, found {dataset.dtype}")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise InputError(
            f"expected {dataset.nbytes:,} bytes of values of {shown(name)}, found {dataset.id.get_storage_size():,}"
        )
    return dataset


def datasets(
    group: h5py.Group, name: str = "", depth: int = 1, seen: set[int] | None = None
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield (path within the group, dataset) for everything in a group, checked, none read yet.

    Raises
    ------
    InputError
        If something is neither group nor dataset, lies elsewhere, lies deeper than any file of ours, or if a group has
        two names: groups that hold each other have no end.
    """
    seen = set() if seen is None else seen
    address = h5py.h5o.get_info(group.id).addr
    if address in seen:
        raise InputError(f"expected every group under one name, found another one: {shown(name)}")
    seen.add(address)
    if depth > DEEPEST:
        raise InputError(f"expected groups at most {DEEPEST} deep, found more in {shown(name)}")
    for step in group:
        path = f"{name}/{step}" if name else step
        item = member(group, step, (h5py.Group, h5py.Dataset))
        if isinstance(item, h5py.Group):
            yield from datasets(item, path, depth + 1, seen)
        else:
            yield path, checked(path, item)


def attribute(group: h5py.Group, name: str) -> Any:
    """Return an attribute that is one text or one number.

    Raises
    ------
    InputError
        If it is missing or anything else; the message says only what was found.
    """
    if name not in group.attrs:
        raise InputError(f"no {name!r}")
    stored = group.attrs.get_id(name)
    text = h5py.check_string_dtype(stored.dtype) is not None
    if stored.shape != () or not (text or stored.dtype.kind in "fiub"):
        raise InputError(f"{name!r} with {stored.dtype} of shape {stored.shape}, not one text or number")
    return group.attrs[name]
