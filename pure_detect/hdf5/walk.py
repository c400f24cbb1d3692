"""What may stand in a weight file from a stranger: plain groups and plain numbers, in this very file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pure_detect.errors import InputError, shown
from pure_detect.hdf5.file import Dataset, Group, Item

MOST_OBJECTS = 65_536  # the largest detectors have some thousands
DEEPEST = 16


def has(group: Group, name: str) -> bool:
    """Return whether there is a link of that name, wherever it leads."""
    return name in group.links


def member(group: Group, path: str, kind: type | tuple[type, ...]) -> Any:
    """Return what lies under a path, each step of which must be in this file and no detour."""
    item: Item = group
    for step in path.split("/"):
        link = item.links.get(step) if isinstance(item, Group) and step not in ("", ".") else None
        if link is None or link.elsewhere or not isinstance(item, Group):
            found = "nothing" if link is None else f"a link elsewhere ({link.elsewhere})"
            raise InputError(f"expected {shown(path)} in {shown(group.name)}, found {found}")
        item = item.open(step)
    if not isinstance(item, kind):
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"expected {shown(path)} in {shown(group.name)} as a {kinds}, found a {type(item).__name__}")
    return item


def checked(name: str, dataset: Dataset) -> Dataset:
    """Refuse a dataset whose values are not numbers, or do not lie in this file as they are."""
    if dataset.outside:
        raise InputError(f"expected the values of {shown(name)} in this file, found them stored outside")
    if dataset.filtered:
        raise InputError(f"expected {shown(name)} stored as it is, found it compressed; h5repack -l CONTI undoes that")
    if dataset.in_pieces:
        raise InputError(f"expected {shown(name)} in one piece, found chunks; h5repack -l CONTI undoes that")
    if dataset.shape is None or dataset.dtype is None:
        found = "nothing" if dataset.shape is None else dataset.type.name
        raise InputError(f"expected numbers in {shown(name)}, found {found}")
    if len(dataset.stored()) < dataset.nbytes:
        raise InputError(
            f"expected {dataset.nbytes:,} bytes of values of {shown(name)}, found {len(dataset.stored()):,}"
        )
    return dataset


def datasets(
    group: Group, name: str = "", depth: int = 1, seen: set[int] | None = None
) -> Iterator[tuple[str, Dataset]]:
    """Yield (path within the group, dataset) for everything in a group, checked, none read yet.

    Raises
    ------
    InputError
        If something is neither group nor dataset, lies elsewhere, lies deeper than any file of ours, or if a group has
        two names: groups that hold each other have no end.
    """
    seen = set() if seen is None else seen
    if group.address in seen:
        raise InputError(f"expected every group under one name, found another one: {shown(name)}")
    seen.add(group.address)
    if depth > DEEPEST:
        raise InputError(f"expected groups at most {DEEPEST} deep, found more in {shown(name)}")
    for step in group.links:
        path = f"{name}/{step}" if name else step
        item = member(group, step, (Group, Dataset))
        if isinstance(item, Group):
            yield from datasets(item, path, depth + 1, seen)
        else:
            yield path, checked(path, item)


def attribute(group: Group, name: str) -> Any:
    """Return an attribute that is one text or one number.

    Raises
    ------
    InputError
        If it is missing or anything else; the message says only what was found.
    """
    stored = group.attributes.get(name)
    if stored is None:
        raise InputError(f"no {name!r}")
    if stored.shape != () or not (stored.is_text or stored.type.dtype is not None):
        raise InputError(f"{name!r} with {stored.type.name} of shape {stored.shape}, not one text or number")
    return stored.texts()[0] if stored.is_text else stored.numbers()[()]
