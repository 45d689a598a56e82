"""What a sweep has come to, for scripts to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.sweep.front import SweepFront
from solver.sweep.table import Row


@dataclass(frozen=True)
class SweepCounts:
    """How many cases there are, and what came of them; `open` are not finished."""

    cases: int
    solved: int
    refused: int
    failed: int
    open: int


def sweep_counts(rows: Sequence[Row]) -> SweepCounts:
    """Return what came of the cases of a table."""
    outcomes = [row["outcome"] for row in rows]
    return SweepCounts(len(rows), *map(outcomes.count, ("solved", "refused", "failed", "open")))


@dataclass(frozen=True)
class SweepFrontRecord:
    """The designs on a front, as rows of the table."""

    network: str
    batch: int
    inferences: int
    designs: int
    front: tuple[Row, ...]


@dataclass(frozen=True)
class SweepAnswer:
    """What a sweep has come to, and the files of it; `page` is None if there is none."""

    folder: str
    counts: SweepCounts
    fronts: tuple[SweepFrontRecord, ...]
    table: str
    page: str | None


def front_records(fronts: Sequence[SweepFront]) -> tuple[SweepFrontRecord, ...]:
    """Return fronts for scripts to read."""
    return tuple(SweepFrontRecord(x.network, x.batch, x.inferences, len(x.rows), x.front) for x in fronts)
