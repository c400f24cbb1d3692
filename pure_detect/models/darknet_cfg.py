"""The grammar of Darknet's cfg files: sections, options, numbers. What the sections mean is in `darknet.py`.

Source: `read_cfg` (`parser.c`), `read_option` (`option_list.c`), `strip` (`utils.c`) of pjreddie/darknet. Differences:
a value that is no number is an error here, where C's `atoi` reads 0; a line without `=` likewise.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

from pure_detect.errors import InputError, shown

ALIASES = {
    "conv": "convolutional",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "soft": "softmax",
    "conn": "connected",
    "network": "net",
    "silence": "empty",
}

# A trailing comment after a number is harmless in Darknet, since atoi and atof stop at it.
_INTEGER = re.compile(r"([+-]?\d+)([#;].*)?")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([#;].*)?")

_Value = TypeVar("_Value", int, float)


@dataclass
class Section:
    """One section: its type, where it stands, and its options as text."""

    kind: str
    file: str
    line: int
    options: dict[str, tuple[str, int]] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def error(self, message: str, key: str | None = None) -> InputError:
        """Return the error that names file, line and section."""
        line = self.options[key][1] if key in self.options else self.line
        return InputError(f"{self.file}, line {line}: [{self.kind}] {message}")

    def text(self, key: str, default: str) -> str:
        """Return an option as text."""
        self._used.add(key)
        return self.options.get(key, (default, 0))[0]

    def choice(self, key: str, default: str, choices: Collection[str]) -> str:
        """Return an option that must be one of `choices`."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(f"{key}: expected one of {', '.join(choices)}, found {shown(value)}", key)
        return value

    def integer(self, key: str, default: int, *, least: int | None = None) -> int:
        """Return an option as an integer."""
        values = self._numbers(key, [default], _INTEGER, int, "an integer")
        if len(values) != 1 or (least is not None and values[0] < least):
            expected = "one integer" if least is None else f"an integer of at least {least}"
            raise self.error(f"{key}: expected {expected}, found {self._found(key)}", key)
        return values[0]

    def number(self, key: str, default: float) -> float:
        """Return an option as a float."""
        values = self._numbers(key, [default], _NUMBER, float, "a number")
        if len(values) != 1:
            raise self.error(f"{key}: expected one number, found {self._found(key)}", key)
        return values[0]

    def integers(self, key: str, default: list[int]) -> list[int]:
        """Return an option as a list of integers."""
        return self._numbers(key, default, _INTEGER, int, "integers separated by commas")

    def numbers(self, key: str, default: list[float]) -> list[float]:
        """Return an option as a list of floats."""
        return self._numbers(key, default, _NUMBER, float, "numbers separated by commas")

    def _found(self, key: str) -> str:
        return shown(self.options[key][0]) if key in self.options else "none"

    def _numbers(
        self, key: str, default: list[_Value], pattern: re.Pattern[str], kind: type[_Value], expected: str
    ) -> list[_Value]:
        self._used.add(key)
        if key not in self.options:
            return default
        text = self.options[key][0]
        found = [pattern.fullmatch(part) for part in text.partition("#")[0].rstrip(",").split(",")]
        if not all(found):
            raise self.error(f"{key}: expected {expected}, found {shown(text)}", key)
        try:
            return [kind(match[1]) for match in found if match]
        except ValueError:  # Python converts no integer of thousands of digits
            raise self.error(f"{key}: expected {expected}, found {shown(text)}", key) from None

    def require_default(self, **options: float) -> None:
        """Raise for options that would change the result in a way that is not supported."""
        for key, default in options.items():
            if self.number(key, default) != default:
                raise self.error(f"{key}={self.text(key, '')} is not supported, only {key}={default}", key)

    def warn_unknown(self, ignored: Collection[str]) -> None:
        """Warn once for every option that was neither read nor is known to matter in training only."""
        for key, (_, line) in self.options.items():
            if key not in self._used and key not in ignored:
                warnings.warn(
                    f"{self.file}, line {line}: [{self.kind}] unknown option {shown(key)} ignored", stacklevel=2
                )


def parse_cfg(text: str, file: str) -> list[Section]:
    """Split a cfg's text into sections; the first is `[net]`.

    Every space and tab is dropped, also inside values; lines that start with `#` or `;` are comments; of a repeated
    option the first counts.

    Raises
    ------
    InputError
        If the text does not follow the grammar; the message names `file` and the line.
    """
    sections: list[Section] = []
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if "\0" in raw:  # Darknet's C code would end the line there
            raise InputError(f"{file}, line {number}: expected text, found a zero byte in {shown(raw.strip())}")
        line = re.sub(r"\s", "", raw)
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            if "]" not in line:
                raise InputError(f"{file}, line {number}: expected [section], found {shown(raw.strip())}")
            kind = line[1 : line.index("]")]
            sections.append(Section(ALIASES.get(kind, kind), file, number))
        elif not sections:
            raise InputError(f"{file}, line {number}: expected a first section [net], found {shown(raw.strip())}")
        else:
            key, equals, value = line.partition("=")
            if not (key and equals and value):
                raise InputError(f"{file}, line {number}: expected option=value, found {shown(raw.strip())}")
            sections[-1].options.setdefault(key, (value, number))
    if not sections or sections[0].kind != "net":
        found = f"[{sections[0].kind}]" if sections else "an empty file"
        raise InputError(f"{file}: expected a Darknet cfg that starts with [net], found {found}")
    return sections
