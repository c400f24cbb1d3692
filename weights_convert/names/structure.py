"""Finds a network's convolutions in another description of it by what they are connected to, not by names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

IMAGE = -1  # the network's input, as the source of a step


class Step(NamedTuple):
    """A step that both descriptions know: what it is, and the steps that it reads, in any order."""

    kind: Any
    inputs: tuple[Any, ...]


Steps = Mapping[Any, Step]  # by a number or name, in an order in which they can run


def same_places(ours: Steps, theirs: Steps) -> tuple[dict[Any, Any], list[Any]]:
    """Return the partner of each step of ours, and the steps of ours that have none or several.

    Steps are partners where everything before them and everything behind them is the same: colour refinement, once
    down the graph and once up again.
    """
    numbers: dict[Any, int] = {}
    mine, other = (_colours(_flattened(steps), numbers) for steps in (ours, theirs))
    counts = Counter(mine.values()), Counter(other.values())
    by_colour = {colour: step for step, colour in other.items()}
    found = {step: by_colour[c] for step, c in mine.items() if counts[0][c] == counts[1][c] == 1}
    return found, [step for step in mine if step not in found]


def _flattened(steps: Steps) -> dict[Any, Step]:
    """Return the steps with sums of sums as one sum: some can add only two maps at once."""
    readers = Counter(name for step in steps.values() for name in step.inputs)
    result: dict[Any, Step] = {}
    for name, step in steps.items():
        inputs: list[Any] = []
        for source in step.inputs:
            inner = result.get(source)
            nested = step.kind == "add" and inner is not None and inner.kind == "add" and readers[source] == 1
            inputs += result.pop(source).inputs if nested else [source]
        result[name] = Step(step.kind, tuple(inputs))
    return result


def _colours(steps: Mapping[Any, Step], numbers: dict[Any, int]) -> dict[Any, int]:
    """Return a number for each step; only steps in the same place of equal graphs share one."""
    before: dict[Any, int] = {IMAGE: -1}
    readers: dict[Any, list[Any]] = {name: [] for name in (IMAGE, *steps)}
    for name, step in steps.items():
        key = (step.kind, *sorted(before[source] for source in step.inputs))
        before[name] = numbers.setdefault(key, len(numbers))
        for source in step.inputs:
            readers[source].append(name)
    whole: dict[Any, int] = {}
    for name in reversed(list(steps)):
        key = ("whole", before[name], *sorted(whole[reader] for reader in readers[name]))
        whole[name] = numbers.setdefault(key, len(numbers))
    return {name: whole[name] for name in steps}
