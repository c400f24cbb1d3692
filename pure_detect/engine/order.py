"""Which steps of a plan may overlap: a step waits for what it needs, not for all that stands before it."""

from __future__ import annotations

from collections.abc import Sequence

from pure_detect.engine.emitter import Step
from pure_detect.engine.step import AFTER

Spans = list[tuple[int, int]]


def set_order(steps: Sequence[Step]) -> None:
    """Note in each step's numbers the last one before it that it has to wait for, or -1.

    Those are the steps that write what it reads or writes, or read what it writes; maps that share memory count as one.
    """
    spans = [([m.span for m in made.reads], [m.span for m in made.writes]) for made in steps]
    for index, made in enumerate(steps):
        made.numbers[AFTER] = _last_conflict(spans, index)


def _last_conflict(spans: list[tuple[Spans, Spans]], index: int) -> int:
    reads, writes = spans[index]
    for earlier in range(index - 1, -1, -1):
        its_reads, its_writes = spans[earlier]
        if _overlap(writes, its_reads + its_writes) or _overlap(reads, its_writes):
            return earlier
    return -1


def _overlap(some: Spans, others: Spans) -> bool:
    return any(start < other_end and other_start < end for start, end in some for other_start, other_end in others)
