"""What a PyTorch pickle may hold beside plain containers: storages, and tensors that are views of them.

Nothing is read here: a tensor is a note of where its values lie, until the file's reader asks for the array.

Source: `torch/_utils.py` (`_rebuild_*`), `torch/serialization.py` (`persistent_id`), PyTorch 2.13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pure_detect.errors import InputError
from weights_convert.readers.content import MAX_RANK, Array
from weights_convert.readers.named_tensors import converted, widened_bfloat16
from weights_convert.readers.restricted_pickle import Builder

ByteOrder = Literal["<", ">"]


@dataclass(frozen=True)
class ElementType:
    """A type of numbers: PyTorch's name for it, and NumPy's type of the same size to read it with."""

    name: str
    numpy: str

    @property
    def bytes(self) -> int:
        """Return how many bytes an element takes."""
        return np.dtype(self.numpy).itemsize


ELEMENT_TYPES = {
    name: ElementType(name, numpy)
    for name, numpy in (
        ("float16", "f2"),
        ("float32", "f4"),
        ("float64", "f8"),
        ("bfloat16", "u2"),
        ("bool", "u1"),
        ("uint8", "u1"),
        ("uint16", "u2"),
        ("uint32", "u4"),
        ("uint64", "u8"),
        ("int8", "i1"),
        ("int16", "i2"),
        ("int32", "i4"),
        ("int64", "i8"),
    )
}


@dataclass(frozen=True)
class StorageType:
    """A storage's class, as a pickle names it."""

    element: ElementType


STORAGE_TYPES = {
    name: StorageType(ELEMENT_TYPES[element])
    for name, element in (
        ("torch.HalfStorage", "float16"),
        ("torch.FloatStorage", "float32"),
        ("torch.DoubleStorage", "float64"),
        ("torch.BFloat16Storage", "bfloat16"),
        ("torch.BoolStorage", "bool"),
        ("torch.ByteStorage", "uint8"),
        ("torch.CharStorage", "int8"),
        ("torch.ShortStorage", "int16"),
        ("torch.IntStorage", "int32"),
        ("torch.LongStorage", "int64"),
        ("torch.storage.UntypedStorage", "uint8"),
    )
}


@dataclass(frozen=True)
class Storage:
    """A run of elements in the file under a key; `start` and `count` are the part of its `total` that is meant."""

    key: str
    element: ElementType
    total: int
    start: int
    count: int

    @property
    def bytes(self) -> int:
        """Return the length of the whole storage."""
        return self.total * self.element.bytes


@dataclass(frozen=True)
class Tensor:
    """A view of a storage: offset and strides count elements, from the storage's beginning."""

    storage: Storage
    element: ElementType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Return what the tensor takes in memory once read; an axis of length 0 counts as 1."""
        return math.prod(max(1, length) for length in self.shape) * max(4, self.element.bytes)

    def read(self, name: str, data: memoryview, byte_order: ByteOrder) -> Array:
        """Return the values, copied out of the storage's bytes; see `converted` for their type.

        Parameters
        ----------
        name : str
            For messages.
        data : memoryview
            The whole storage.
        byte_order : str
            "<" or ">".
        """
        dtype = np.dtype(self.element.numpy)
        if 0 in self.shape:
            values: Array = np.zeros(self.shape, dtype)
        else:
            step = dtype.itemsize
            strides = [step * stride for stride in self.strides]
            values = np.ndarray(self.shape, dtype.newbyteorder(byte_order), data, step * self.offset, strides)
        if self.element.name == "bfloat16":
            return widened_bfloat16(values)
        return converted(name, values != 0 if self.element.name == "bool" else values)


def storage_of(identifier: object) -> Storage:
    """Return what a pickle's persistent identifier means: always a storage, in PyTorch's files.

    Raises
    ------
    InputError
        If it means anything else.
    """
    match identifier:
        case ("storage", StorageType(element), str(key), str(), int(total)):
            start, count = 0, total
        case ("storage", StorageType(element), str(key), str(), int(total), None):
            start, count = 0, total
        case ("storage", StorageType(element), str(key), str(), int(total), (str(), int(start), int(count))):
            pass  # a view of a storage, as versions before 0.4 wrote it
        case _:
            raise InputError("expected an identifier of a storage, found another one")
    if start < 0 or count < 0 or start + count > total:
        raise InputError(f"expected a part of a storage of {total:,} elements, found {start:,} to {start + count:,}")
    return Storage(key, element, total, start, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, element: Any = None) -> Tensor:
    match (storage, offset, shape, strides, element or getattr(storage, "element", None)):
        case (Storage(), int(), tuple(), tuple(), ElementType() as kind):
            pass
        case _:
            raise InputError("expected a tensor's storage, offset, shape and strides, found other values")
    if not len(shape) == len(strides) <= MAX_RANK:
        raise InputError(f"expected as many strides as axes, at most {MAX_RANK}, found {len(strides)}, {len(shape)}")
    if any(type(n) is not int or not 0 <= n < 1 << 48 for n in (offset, *shape, *strides)):
        raise InputError("expected a tensor's offset, shape and strides as natural numbers, found others")
    offset += storage.start * storage.element.bytes // kind.bytes
    if 0 not in shape:
        last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides))
        available = (storage.start + storage.count) * storage.element.bytes // kind.bytes
        if last >= available:
            raise InputError(f"expected a tensor within its storage of {available:,} elements, found element {last:,}")
    return Tensor(storage, kind, offset, shape, strides)


def _tensor_v2(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks, [metadata])`."""
    match arguments:
        case (storage, offset, shape, strides, bool(), dict()):
            return _tensor(storage, offset, shape, strides)
        case (storage, offset, shape, strides, bool(), dict(), None | {} as metadata) if not metadata:
            return _tensor(storage, offset, shape, strides)
    raise InputError("expected the six arguments of a tensor, found others")


def _tensor_v3(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_tensor_v3(storage, offset, shape, strides, requires_grad, hooks, dtype)`: for types without storage."""
    match arguments:
        case (storage, offset, shape, strides, bool(), dict(), ElementType() as element):
            return _tensor(storage, offset, shape, strides, element)
    raise InputError("expected the seven arguments of a tensor, found others")


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    """`_rebuild_parameter(tensor, requires_grad, hooks)`."""
    match arguments:
        case (Tensor() as tensor, bool(), dict()):
            return tensor
    raise InputError("expected the three arguments of a parameter, found others")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """`OrderedDict()`, which is filled afterwards."""
    if arguments:
        raise InputError("expected an OrderedDict made empty, found one made of arguments")
    return {}


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """`torch.Size(tuple)`."""
    match arguments:
        case (tuple() as lengths,):
            return lengths
    raise InputError("expected a torch.Size made of a tuple, found another")


# Every name that a pickle may use. Of each added here, ask what it lets a stranger's file do.
ADMITTED: dict[str, Any] = {
    "collections.OrderedDict": Builder(_ordered_dict),
    "torch.Size": Builder(_size),
    "torch._utils._rebuild_tensor_v2": Builder(_tensor_v2),
    "torch._utils._rebuild_tensor_v3": Builder(_tensor_v3),
    "torch._utils._rebuild_parameter": Builder(_parameter),
    **STORAGE_TYPES,
    **{f"torch.{name}": element for name, element in ELEMENT_TYPES.items()},
}
