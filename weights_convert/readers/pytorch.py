"""PyTorch's `.pth` and `.pt`: a state dict, or a checkpoint that wraps one. PyTorch itself is not needed.

Two formats, told apart by their first bytes:

* zip (PyTorch 1.6 and later): `NAME/data.pkl`, a pickle whose storages are the records `NAME/data/KEY`;
  `NAME/byteorder` says "little" or "big", and little is meant where it is absent.
* legacy (0.1.10 to 1.5, and `_use_new_zipfile_serialization=False` since): five pickles one after another, a magic
  number, a version, facts about the machine, the object, the storages' keys in order; then each storage: an int64 with
  its number of elements, and the elements, little-endian on every machine.

The pickles are read by `restricted_pickle.py`: nothing in them runs. A checkpoint is unwrapped by the keys in
`WRAPPERS`, the averaged weights (EMA) first, since published figures are theirs. `module.`, which DataParallel and
averaged models put before every name, is taken off.

Source: `torch/serialization.py` (`_save`, `_legacy_save`, `_load`, `_legacy_load`), PyTorch 2.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pure_detect.errors import InputError
from weights_convert.readers.content import Array, located, shown
from weights_convert.readers.named_tensors import check_growth, check_name, map_file
from weights_convert.readers.pytorch_objects import ADMITTED, ByteOrder, Storage, Tensor, storage_of
from weights_convert.readers.restricted_pickle import load
from weights_convert.readers.stored_zip import LOCAL_MAGIC, Record, first_name, read_records

EXPECTED = "a PyTorch file (.pth, .pt)"

MAGIC_NUMBER = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
LEGACY_MAGIC = b"\x80\x02\x8a\x0a" + MAGIC_NUMBER + b"."  # the number as a pickle of protocol 2
LEGACY_VERSION = 1001
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"
TAR_MEMBERS = ("storages", "tensors", "pickle")

# What training scripts call the state dict in a checkpoint, the first that is there being taken; "module" is the
# model within an averaging wrapper's own state.
WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "module")
MAX_WRAPPINGS = 4
PARALLEL_PREFIX = "module."
AVERAGING_COUNT = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside the prefixed names

SHOWN = 5


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a file's content is PyTorch's; the name does not matter.

    Parameters
    ----------
    path : path
    head : bytes
        The file's first 512 bytes, fewer of a shorter file.
    """
    if head.startswith(LOCAL_MAGIC):
        return _is_root(first_name(head)) or _has_pickle(path)
    if head[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        return head.split(b"\0")[0].decode("latin-1").lstrip("./") in TAR_MEMBERS
    return head.startswith(b"\x80") and MAGIC_NUMBER in head[:32]


def read(path: str | Path) -> dict[str, Array]:
    """Read the tensors of a state dict.

    Returns
    -------
    dict of str to ndarray
        In the file's order, without `module.`. Floating types as float32, bool and integers as they are; each array
        its own, writable and C-contiguous. NaN and infinity are returned as found.

    Raises
    ------
    InputError
        If the file is unreadable, damaged, no PyTorch file, holds anything but tensors in plain containers (a whole
        model, other objects, code), or no state dict.
    """
    with located(path):
        content = map_file(path, EXPECTED)
        if content[:4] == LOCAL_MAGIC:
            return _read_zip(content)
        if content[TAR_MAGIC_AT : TAR_MAGIC_AT + len(TAR_MAGIC)] == TAR_MAGIC:
            raise InputError("expected PyTorch's format of 0.1.10 or later, found the tar archive of versions before")
        return _read_legacy(content)


def _is_root(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/data.pkl")


def _has_pickle(path: str | Path) -> bool:
    try:
        return any(_is_root(name) for name in read_records(map_file(path, EXPECTED)))
    except (InputError, OSError):
        return False


def _read_zip(content: memoryview) -> dict[str, Array]:
    records = read_records(content)
    roots = [name[: -len("data.pkl")] for name in records if _is_root(name)]
    if len(roots) != 1:
        raise InputError(f"expected one data.pkl in {EXPECTED}, found {len(roots)}")
    root = roots[0]
    if f"{root}constants.pkl" in records:
        raise InputError("expected a state dict, found a TorchScript program; save its state_dict() with torch.save")
    value, _ = load(records[f"{root}data.pkl"].stored(), 0, ADMITTED, storage_of)
    tensors = _state_dict(value)
    data: dict[str, memoryview] = {}
    for storage in dict.fromkeys(tensor.storage for tensor in tensors.values()):
        _add_storage(data, records, f"{root}data/{storage.key}", storage)
    return _arrays(tensors, data, len(content), _byte_order(records, root))


def _byte_order(records: Mapping[str, Record], root: str) -> ByteOrder:
    record = records.get(f"{root}byteorder")
    order = "little" if record is None else bytes(record.stored()[:8]).decode("latin-1")
    if order not in ("little", "big"):
        raise InputError(f"expected the byte order little or big, found {shown(order)}")
    return "<" if order == "little" else ">"


def _add_storage(data: dict[str, memoryview], records: Mapping[str, Record], name: str, storage: Storage) -> None:
    record = records.get(name)
    if record is None or len(record.data) != storage.bytes:
        found = "none" if record is None else f"{len(record.data):,}"
        raise InputError(f"expected {storage.bytes:,} bytes in record {shown(name)}, found {found}")
    if storage.key not in data:
        data[storage.key] = record.stored()


def _read_legacy(content: memoryview) -> dict[str, Array]:
    if content[: len(LEGACY_MAGIC)] != LEGACY_MAGIC:
        kind = f"a pickle of protocol {content[1]}" if content[:1] == b"\x80" and len(content) > 1 else "other bytes"
        raise InputError(f"expected {EXPECTED}: a zip archive, or PyTorch's magic number as a pickle; found {kind}")
    storages: dict[str, Storage] = {}

    def remember(identifier: object) -> Storage:
        storage = storage_of(identifier)
        known = storages.setdefault(storage.key, storage)
        if (known.element, known.total) != (storage.element, storage.total):
            raise InputError("expected a storage of one type and length, found it with two")
        return storage

    version, at = load(content, len(LEGACY_MAGIC), {}, _no_storage)
    if type(version) is not int or version != LEGACY_VERSION:
        raise InputError(f"expected version {LEGACY_VERSION} of PyTorch's legacy format, found another")
    _, at = load(content, at, {}, _no_storage)  # the machine's byte order and sizes of types: without a meaning
    value, at = load(content, at, ADMITTED, remember)
    tensors = _state_dict(value)
    keys, at = load(content, at, {}, _no_storage)
    return _arrays(tensors, _legacy_storages(content, at, keys, storages), len(content), "<")


def _no_storage(identifier: object) -> None:
    raise InputError("expected storages in the fourth pickle of a legacy file alone, found one in another")


def _legacy_storages(content: memoryview, at: int, keys: Any, storages: dict[str, Storage]) -> dict[str, memoryview]:
    """Return the storages' bytes by key; they begin at byte `at`, in the order of the keys."""
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise InputError(f"expected the keys of the {len(storages)} storages, found others")
    data = {}
    for key in keys:
        count, size = int.from_bytes(content[at : at + 8], "little"), storages[key].bytes
        data[key] = content[at + 8 : at + 8 + size]
        if count != storages[key].total or len(data[key]) != size:
            raise InputError(
                f"expected {storages[key].total:,} elements of a storage at byte {at:,}, found fewer or more"
            )
        at += 8 + size
    return data


def _state_dict(value: Any) -> dict[str, Tensor]:
    """Return the tensors of the state dict in an unpickled value, by their names without `module.`."""
    for _ in range(MAX_WRAPPINGS):
        if type(value) is not dict:
            raise InputError(f"expected a state dict, tensors by name, found a {type(value).__name__}")
        wrapped = [value[key] for key in WRAPPERS if type(value.get(key)) is dict and value[key]]
        if not wrapped:
            break
        value = wrapped[0]
    others = [name for name, tensor in value.items() if not (type(name) is str and type(tensor) is Tensor)]
    if others or not value:
        listed = ", ".join(f"{shown(name)} ({type(value[name]).__name__})" for name in others[:SHOWN])
        raise InputError(
            f"expected a state dict, tensors by name, alone or as one of {', '.join(WRAPPERS)}; "
            f"found {f'{len(others)} other entries: {listed}' if others else 'nothing in it'}"
        )
    return _without_prefix(value)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in tensors:
        check_name(name)
    named = {name: tensor for name, tensor in tensors.items() if name != AVERAGING_COUNT}
    if not named or not all(name.startswith(PARALLEL_PREFIX) and name != PARALLEL_PREFIX for name in named):
        return tensors
    return {name[len(PARALLEL_PREFIX) :]: tensor for name, tensor in named.items()}


def _arrays(
    tensors: Mapping[str, Tensor], data: Mapping[str, memoryview], file_bytes: int, byte_order: ByteOrder
) -> dict[str, Array]:
    check_growth(len(tensors), sum(tensor.bytes for tensor in tensors.values()), file_bytes)
    return {name: tensor.read(name, data[tensor.storage.key], byte_order) for name, tensor in tensors.items()}
