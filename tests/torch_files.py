"""PyTorch files made by hand, opcode by opcode, with no PyTorch: honest ones, and such as only an attacker writes."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
SIZES = {"Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Int": 4}


class Raw(NamedTuple):
    """Opcodes to stand in a pickle as they are; they must leave one value on the stack."""

    opcodes: bytes


def opcodes(value: Any) -> bytes:
    """Return the opcodes of protocol 2 that make a value, as torch.save writes them but for the memo."""
    match value:
        case Raw():
            return value.opcodes
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a\x08" + struct.pack("<q", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(k) + opcodes(v) for k, v in value.items()) + b"u"
    raise TypeError(type(value))


def named(module: str, name: str) -> Raw:
    """Return the opcode that looks a name up."""
    return Raw(f"c{module}\n{name}\n".encode())


def called(function: Raw, *arguments: Any) -> Raw:
    """Return the opcodes that call a function."""
    return Raw(opcodes(function) + opcodes(arguments) + b"R")


ORDERED_DICT = called(named("collections", "OrderedDict"))


def storage(key: str, kind: str, total: int, *view: Any) -> Raw:
    """Return the opcodes of a storage; `view` is what the legacy format adds."""
    return Raw(opcodes(("storage", named("torch", f"{kind}Storage"), key, "cpu", total, *view)) + b"Q")


def tensor(where: Raw, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *metadata: Any) -> Raw:
    """Return the opcodes of a tensor: a view of a storage."""
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    return called(rebuild, where, offset, shape, strides, False, ORDERED_DICT, *metadata)


def parameter(values: Raw) -> Raw:
    """Return the opcodes of an nn.Parameter."""
    return called(named("torch._utils", "_rebuild_parameter"), values, True, ORDERED_DICT)


def pickled(value: Any) -> bytes:
    """Return a whole pickle."""
    return b"\x80\x02" + opcodes(value) + b"."


def zip_file(
    pickle_bytes: bytes, storages: dict[str, bytes] | None = None, extra: dict[str, bytes] | None = None, **options: Any
) -> bytes:
    """Return a file of the zip format, written by Python's zipfile."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        for name, data in (extra or {}).items():
            archive.writestr(f"archive/{name}", data)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)
    return buffer.getvalue()


def legacy_file(
    pickle_bytes: bytes,
    storages: dict[str, tuple[int, bytes]] | None = None,
    *,
    version: bytes = pickled(1001),
    machine: bytes = pickled({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}),
    keys: bytes | None = None,
) -> bytes:
    """Return a file of the legacy format; a storage is its number of elements and its bytes."""
    storages = storages or {}
    keys = pickled(list(storages)) if keys is None else keys
    values = b"".join(struct.pack("<q", count) + data for count, data in storages.values())
    return MAGIC + version + machine + pickle_bytes + keys + values


class Runs:
    """An object whose pickle calls a function when it is read by Python's own `pickle`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def python_pickle(value: Any, protocol: int) -> bytes:
    """Return Python's own pickle of a value."""
    return pickle.dumps(value, protocol)
