"""Pickles of tensors and plain containers, read by a machine that can do nothing else.

A pickle is a program for a stack machine, and Python's own runs whatever function the program names. The machine here
has the operations that `torch.save` writes, no more. A name is looked up in a table that the caller gives, never
imported; a call is made only to an entry of that table, which checks its arguments; there is no way to an attribute,
and the state of an object is thrown away. Anything else ends the reading before it has any effect.

It is bounded, too: in bytes, in operations, in the size of a number, and in what may be a key (the hash of a nested
tuple can take for ever).

Source: the opcodes of Python's `pickletools`, protocol 2; `torch/_weights_only_unpickler.py` of PyTorch 2.13.
"""

from __future__ import annotations

import pickle  # for the names of its opcodes alone: nothing here is unpickled by it
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pure_detect.errors import InputError
from weights_convert.readers.content import shown

PROTOCOL = 2  # torch.save's default in every version
MAX_BYTES = 32 << 20
MAX_OPERATIONS = 2_000_000  # a tensor takes about 50
MAX_INTEGER_BYTES = 8
MAX_NAME_BYTES = 256
OPERATION_NAMES = {operation.code.encode("latin-1"): operation.name for operation in pickletools.opcodes}
KEY_TYPES = (str, int, float, bool, type(None))

ADVICE = "of a model that you trust, save model.state_dict() with torch.save, and convert that"


@dataclass(frozen=True)
class Builder:
    """A function that a pickle may call, on the arguments as they come: it must check them, and raise InputError."""

    build: Callable[[tuple[Any, ...]], Any]


def load(
    content: memoryview, start: int, admitted: Mapping[str, Any], persistent: Callable[[Any], Any]
) -> tuple[Any, int]:
    """Read one pickle.

    Parameters
    ----------
    content : memoryview
        The bytes of the file or record.
    start : int
        Where in them the pickle begins.
    admitted : mapping of str to object
        By "module.name", what the pickle may name: a `Builder`, or a value.
    persistent : callable
        Returns the value that an identifier outside the pickle stands for, or raises InputError.

    Returns
    -------
    (object, int)
        The value, of dicts, lists, tuples, numbers, strings, None and what the builders make; and where the pickle
        ends.

    Raises
    ------
    InputError
        If it is damaged, too large, or asks for anything else.
    """
    machine = _Machine(content[: start + MAX_BYTES], start, admitted, persistent)
    for _ in range(MAX_OPERATIONS):
        code = machine.read(1)
        if code == pickle.STOP:
            return machine.pop(), machine.at
        operation = OPERATIONS.get(code)
        if operation is None:
            found = OPERATION_NAMES.get(code, code.hex())
            raise machine.refusal(f"expected tensors and plain containers, found the operation {found}; {ADVICE}")
        operation(machine)
    raise InputError(f"expected a pickle of at most {MAX_OPERATIONS:,} operations, found more")


class _Machine:
    """The stack, the marks in it, the memo and the place in the program."""

    def __init__(
        self, content: memoryview, at: int, admitted: Mapping[str, Any], persistent: Callable[[Any], Any]
    ) -> None:
        self.content, self.at, self.admitted, self.persistent = content, at, admitted, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def refusal(self, text: str) -> InputError:
        return InputError(f"{text} (at byte {self.at:,})")

    def read(self, count: int) -> bytes:
        taken = bytes(self.content[self.at : self.at + count])
        if len(taken) < count:
            raise self.refusal("expected more of a pickle, found its end: a truncated or damaged file")
        self.at += count
        return taken

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def text(self, length: int) -> str:
        try:
            return self.read(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.refusal("expected text in UTF-8, found other bytes") from None

    def line(self) -> str:
        end = bytes(self.content[self.at : self.at + MAX_NAME_BYTES]).find(b"\n")
        if end < 0:
            raise self.refusal(f"expected a name of at most {MAX_NAME_BYTES} bytes, found more")
        return self.text(end + 1)[:-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise self.refusal("expected a value on the stack, found none: a damaged pickle")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.below:
            raise self.refusal("expected a mark on the stack, found none: a damaged pickle")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            found = type(self.stack[-1]).__name__ if self.stack else "nothing"
            raise self.refusal(f"expected a {kind.__name__} on the stack, found {found}")
        return self.stack[-1]


def _protocol(m: _Machine) -> None:
    found = m.number("<B")
    if found != PROTOCOL:
        raise m.refusal(f"expected pickle protocol {PROTOCOL}, torch.save's default, found {found}")


def _mark(m: _Machine) -> None:
    m.below.append(m.stack)
    m.stack = []


def _long(m: _Machine) -> None:
    length = m.number("<B")
    if length > MAX_INTEGER_BYTES:
        raise m.refusal(f"expected integers of at most {MAX_INTEGER_BYTES} bytes, found {length}")
    m.push(int.from_bytes(m.read(length), "little", signed=True))


def _name(m: _Machine) -> None:
    name = f"{m.line()}.{m.line()}"
    if name not in m.admitted:
        raise m.refusal(f"expected tensors and plain containers, found the Python object {shown(name)}; {ADVICE}")
    m.push(m.admitted[name])


def _call(m: _Machine) -> None:
    arguments, function = m.pop(), m.pop()
    if type(function) is not Builder or type(arguments) is not tuple:
        raise m.refusal(f"expected the arguments of a tensor or container, found {type(arguments).__name__}")
    m.push(function.build(arguments))


def _state(m: _Machine) -> None:
    """Throw the state of an OrderedDict away: a state dict's `_metadata`, the versions of its modules."""
    m.pop()
    m.top(dict)


def _remember(m: _Machine, key: int) -> None:
    value = m.pop()
    m.memo[key] = value
    m.push(value)


def _recall(m: _Machine, key: int) -> None:
    if key not in m.memo:
        raise m.refusal(f"expected memo {key} to be set, found it unset: a damaged pickle")
    m.push(m.memo[key])


def _extend(m: _Machine, items: list[Any]) -> None:
    m.top(list).extend(items)


def _set_items(m: _Machine, items: list[Any]) -> None:
    target = m.top(dict)
    if len(items) % 2:
        raise m.refusal("expected keys with values, found an odd number of items: a damaged pickle")
    for key, value in zip(items[::2], items[1::2]):
        if type(key) not in KEY_TYPES:
            raise m.refusal(f"expected text or numbers as keys, found {type(key).__name__}")
        target[key] = value


OPERATIONS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: _protocol,
    pickle.MARK: _mark,
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: _long,
    pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
    pickle.BINUNICODE: lambda m: m.push(m.text(m.number("<I"))),
    pickle.SHORT_BINSTRING: lambda m: m.push(m.text(m.number("<B"))),  # Python 2's str
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.push((m.pop(),)),
    pickle.TUPLE2: lambda m: m.push((m.pop(), m.pop())[::-1]),
    pickle.TUPLE3: lambda m: m.push((m.pop(), m.pop(), m.pop())[::-1]),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_to_mark())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.APPEND: lambda m: _extend(m, [m.pop()]),
    pickle.APPENDS: lambda m: _extend(m, m.pop_to_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.SETITEM: lambda m: _set_items(m, [m.pop(), m.pop()][::-1]),
    pickle.SETITEMS: lambda m: _set_items(m, m.pop_to_mark()),
    pickle.BINPUT: lambda m: _remember(m, m.number("<B")),
    pickle.LONG_BINPUT: lambda m: _remember(m, m.number("<I")),
    pickle.BINGET: lambda m: _recall(m, m.number("<B")),
    pickle.LONG_BINGET: lambda m: _recall(m, m.number("<I")),
    pickle.GLOBAL: _name,
    pickle.REDUCE: _call,
    pickle.BUILD: _state,
    pickle.BINPERSID: lambda m: m.push(m.persistent(m.pop())),
}
