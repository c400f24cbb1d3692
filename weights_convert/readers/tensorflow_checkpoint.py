"""TensorFlow's checkpoint (`.index` and `.data-00000-of-00001`, ...), of version 1 and 2 code alike.

The index is a LevelDB table. Under the empty key lies a BundleHeaderProto, under each variable's name a
BundleEntryProto that says where its values lie in which data file:

    BundleHeaderProto  1 num_shards, 2 endianness (0 little), 3 version
    BundleEntryProto   1 dtype, 2 shape, 3 shard_id, 4 offset, 5 size, 6 crc32c (masked), 7 slices (repeated)

Checkpoints of object graphs (`tf.train.Checkpoint`, Keras, a SavedModel's variables) have keys such as
`layer/kernel/.ATTRIBUTES/VARIABLE_VALUE`, which are left as they are.

Source: `tensorflow/core/protobuf/tensor_bundle.proto`, `tensorflow/core/util/tensor_bundle/`, TensorFlow 2.21.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pure_detect.errors import InputError
from weights_convert.readers import leveldb_table
from weights_convert.readers.content import Array, located, shown
from weights_convert.readers.crc32c import masked_crc32c
from weights_convert.readers.named_tensors import MAX_TENSORS, check_name, map_file
from weights_convert.readers.protobuf import BYTES, fields
from weights_convert.readers.stored_arrays import as_array
from weights_convert.readers.tensorflow_tensor import data_type, tensor_shape

DATA_FILE = re.compile(r"(?P<prefix>.+)\.data-\d{5}-of-\d{5}")
SAVED_MODEL = "saved_model.pb"
MAX_SHARDS = 99_999  # five digits in the files' names

AVERAGE = "/ExponentialMovingAverage"
OPTIMIZER_SLOT = re.compile(r"(?P<variable>.+)/(Adam|Adagrad|Adadelta|Ftrl|Momentum|RMSProp)(_\d+)?")
COUNTERS = {"global_step", "beta1_power", "beta2_power", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}


class Entry(NamedTuple):
    """Where a variable's values lie."""

    name: str
    element: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class Checkpoint(NamedTuple):
    """The variables by their keys, and the SHA-256 of the index, whose checksums cover every value."""

    tensors: dict[str, Array]
    sha256: str


def matches(path: str | Path, head: bytes) -> bool:
    """Return whether a path leads to a checkpoint.

    It may be the index, told from its end; a data file or the prefix, told from the index beside it; or a SavedModel's
    folder.
    """
    path = Path(path)
    if path.is_file() and not DATA_FILE.fullmatch(path.name):
        return leveldb_table.is_table(path)
    return (path / SAVED_MODEL).is_file() or index_path(path).is_file()


def index_path(path: str | Path) -> Path:
    """Return the index that belongs to an index, a data file, a prefix or a SavedModel's folder."""
    path = Path(path)
    if path.is_dir() and (path / SAVED_MODEL).is_file():
        return path / "variables" / "variables.index"
    data_file = DATA_FILE.fullmatch(path.name)
    if data_file:
        return path.with_name(f"{data_file['prefix']}.index")
    return path if path.exists() else path.with_name(f"{path.name}.index")


def read(path: str | Path) -> Checkpoint:
    """Read every variable of a checkpoint.

    Parameters
    ----------
    path : path
        The index, one of the data files, the prefix, or the folder of a SavedModel.

    Returns
    -------
    Checkpoint
        Floats of any width as float32, others as stored; each its own array, writable and C-contiguous. Text is left
        out. NaN and infinity are returned as found. See :func:`published_variables` for what to convert.

    Raises
    ------
    InputError
        If a file is missing, truncated or damaged, or holds what is not read: Snappy's compression, big-endian values,
        partitioned variables, checkpoints of version 1.
    """
    index = index_path(path)
    with located(index):
        content = map_file(index, "a checkpoint's index")
        shards, entries = _read_index(content)
        digest = hashlib.sha256(content).hexdigest()
    tensors: dict[str, Array] = {}
    for shard in sorted({entry.shard for entry in entries}):
        data_path = index.with_name(f"{index.name.removesuffix('.index')}.data-{shard:05}-of-{shards:05}")
        with located(data_path):
            data = map_file(data_path, "the checkpoint's values")
            tensors |= _read_shard(data, [entry for entry in entries if entry.shard == shard])
    return Checkpoint({entry.name: tensors[entry.name] for entry in entries}, digest)


def published_variables(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the variables that a network is published with, under their plain names.

    Where training kept a moving average (`<name>/ExponentialMovingAverage`) it takes the variable's place, as in
    TensorFlow's own exporters. Optimizer slots (`<name>/Momentum`, `<name>/RMSProp_1`, `.../.OPTIMIZER_SLOT/...`) and
    counters such as `global_step` are left out.
    """
    published = {}
    for name, values in tensors.items():
        slot = OPTIMIZER_SLOT.fullmatch(name)
        of_optimizer = name in COUNTERS or "/.OPTIMIZER_SLOT/" in name or (slot and slot["variable"] in tensors)
        if not of_optimizer and not name.endswith(AVERAGE):
            published[name] = values
    averages = {name.removesuffix(AVERAGE): values for name, values in tensors.items() if name.endswith(AVERAGE)}
    return published | averages


def _read_index(content: memoryview) -> tuple[int, list[Entry]]:
    """Return the number of data files and the entries with numbers, in the order of the keys."""
    shards, entries = 0, []
    for key, value in leveldb_table.entries(content):
        if not shards:
            shards = _shards(key, value)
            continue
        if key.startswith(b"\0"):  # the key of a slice: its name follows
            raise InputError(f"expected whole variables, found a part of {shown(key[1:].split(bytes(1))[0])}")
        try:
            name = str(key, "utf-8")
        except UnicodeDecodeError:
            raise InputError(f"expected variables' names in UTF-8, found {shown(key)}") from None
        with located(shown(name)):
            check_name(name)
            entry = _entry(name, value, shards)
        if entry is not None:
            entries.append(entry)
        if len(entries) > MAX_TENSORS:
            raise InputError(f"expected at most {MAX_TENSORS:,} variables, found more")
    if not entries:
        raise InputError("expected a checkpoint's index, found no variable in it")
    return shards, entries


def _shards(key: bytes, value: memoryview) -> int:
    """Return the number of data files from the header."""
    header = {field.number: field for field in fields(value)}
    if not key and 1 in header and header[1].wire == BYTES:  # SavedTensorSlices, whose first field is a message
        raise InputError("expected a checkpoint of version 2, found version 1; save it again with a later TensorFlow")
    if key or 1 not in header or not 1 <= header[1].integer() <= MAX_SHARDS:
        raise InputError("expected a header with the number of data files, found none")
    if 2 in header and header[2].integer():
        raise InputError("expected little-endian values, found big-endian ones")
    return header[1].value


def _entry(name: str, message: memoryview, shards: int) -> Entry | None:
    """Return one variable's entry, None if it holds no numbers."""
    entry = {field.number: field for field in fields(message)}
    if 7 in entry:
        raise InputError("expected a whole variable, found a partitioned one")
    kind = data_type(entry[1].integer() if 1 in entry else 0)
    if kind is None:
        return None
    shape = tensor_shape(entry[2].message()) if 2 in entry else ()
    shard, offset, size = (entry[number].integer() if number in entry else 0 for number in (3, 4, 5))
    if shard >= shards:
        raise InputError(f"expected a data file from 0 to {shards - 1}, found {shard:,}")
    checksum = int.from_bytes(entry[6].data, "little") if 6 in entry else 0
    return Entry(name, kind.element, shape, shard, offset, size, checksum)


def _read_shard(data: memoryview, entries: list[Entry]) -> dict[str, Array]:
    """Return the variables of one data file, their checksums verified."""
    tensors, read_to = {}, 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        with located(shown(entry.name)):
            end = entry.offset + entry.size
            if entry.offset < read_to or end > len(data):
                raise InputError(
                    f"expected values from byte {read_to:,} to {len(data):,}, found {entry.offset:,} to {end:,}"
                )
            found = masked_crc32c(data[entry.offset : end])
            if found != entry.checksum:
                raise InputError(f"expected values with CRC {entry.checksum:08x}, found {found:08x}: a damaged file")
            tensors[entry.name] = as_array(entry.name, data[entry.offset : end], entry.element, entry.shape)
            read_to = end
    return tensors
