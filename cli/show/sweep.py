"""How a sweep looks on a screen: how far it has come, and the fronts that came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cli.records.sweep import SweepCounts
from cli.show.console import QUIET, console, printable, say
from cli.show.facts import Fact, show_facts
from cli.show.progress import PAUSE, Progress, draws
from cli.show.tables import joules, number, per_second, table, time_taken
from solver.sweep.cases import CaseRecord
from solver.sweep.front import SweepFront
from solver.sweep.run import SweepObserver, SweepState
from solver.sweep.table import SETTING, Row
from solver.sweep.task import TaskRecord

SHOWN = 20
"""Designs of a front that are printed; the table of the sweep has all."""

BAR = 30


@dataclass(frozen=True)
class DesignMeasure:
    """A column that designs are compared by.

    Attributes
    ----------
    axis : its title along an axis, with the unit of values that are divided by `unit`.
    text : returns a value as text with its own unit.
    """

    column: str
    title: str
    axis: str
    unit: float
    text: Callable[[Any], str]

    def scaled(self, value: float | None) -> float | None:
        """Return a value in the unit of the axis."""
        return None if value is None else value / self.unit


LATENCY = DesignMeasure("latency_ns", "latency", "latency (ms)", 1e6, time_taken)
ENERGY = DesignMeasure("energy_pj", "energy", "energy (uJ)", 1e6, joules)
THROUGHPUT = DesignMeasure("inferences_per_s", "inferences/s", "inferences a second", 1, per_second)
SIZES = {
    "lanes": DesignMeasure("lanes", "lanes", "lanes", 1, lambda value: number(round(value))),
    "area": DesignMeasure("area", "area", "area", 1, lambda value: f"{value:.4g}"),
}


def measures_of(front: SweepFront) -> list[DesignMeasure]:
    """Return what the designs of a front are compared by; the size of the chip stands last."""
    known = all(row["energy_pj"] is not None for row in front.rows)
    return [LATENCY, *([ENERGY] if known else []), THROUGHPUT, SIZES[front.size]]


def varied(rows: Sequence[Row]) -> list[str]:
    """Return the columns of what the specification sets that differ between rows."""
    columns = [column for column in rows[0] if column.startswith(SETTING)]
    return [x for x in (*columns, "weights", "objective") if len({repr(row[x]) for row in rows}) > 1]


def design_name(row: Row, limit: int) -> str:
    """Return what a design is called."""
    return printable(row["name"], limit)


def show_fronts(fronts: Sequence[SweepFront]) -> None:
    """Print a table for each front."""
    answers = console()
    for front in fronts:
        answers.print(_title(front), soft_wrap=True)
        _show_front(front)
        if len(front.front) > SHOWN:
            answers.print(f"and {len(front.front) - SHOWN} more, which the table and the page have")
        answers.print()


def _title(front: SweepFront) -> str:
    counts = f"{len(front.front)} of {len(front.rows)} designs are on the front"
    return f"{workload_name(front)}: {counts}"


def workload_name(front: SweepFront) -> str:
    """Return what the designs of a front are for."""
    batch = f", batch of {front.batch:,}" if front.batch > 1 else ""
    inferences = f", {front.inferences:,} inferences" if front.inferences > 1 else ""
    return f"{printable(front.network, 80)}{batch}{inferences}"


def _show_front(front: SweepFront) -> None:
    measures, settings = measures_of(front), varied(front.rows)
    names = [printable(column.removeprefix(SETTING)) for column in settings]
    rows = table(("chip", *names, *(x.title for x in measures), "gap"), ("chip", "weights", "objective"))
    for row in front.front[:SHOWN]:
        own = ["-" if row[column] is None else printable(str(row[column])) for column in settings]
        figures = [measure.text(row[measure.column]) for measure in measures]
        rows.add_row(printable(row["chip"]), *own, *figures, f"{row['gap']:.1%}")
    console().print(rows)


def show_counts(counts: SweepCounts, reasons: Sequence[Fact]) -> None:
    """Print what came of all cases, and the first reasons why there are no solutions."""
    parts = [f"{counts.solved:,} solved", f"{counts.refused:,} refused", f"{counts.failed:,} failed"]
    left = [f"{counts.open:,} open"] if counts.open else []
    show_facts([("cases", f"{counts.cases:,}: {', '.join([*parts, *left])}"), *reasons])


class SweepProgress(Progress, SweepObserver):
    """How far a sweep has come.

    Parameters
    ----------
    tell : hears of cases that have ended, a line a second at most.
    """

    def __init__(self, started: float, limit: float | None, tell: Callable[[str], None]) -> None:
        super().__init__(started, limit)
        self.text = "starting processes"
        self._tell = tell
        self._said = -math.inf
        self._state = SweepState(0, 0)
        self._last = ""

    def changed(self, state: SweepState) -> None:
        """Show how far it is."""
        self._state = state
        self.text = counted(state) if state.slots or state.done == state.total else "waiting for processes"

    def ended(self, case: CaseRecord, record: TaskRecord) -> None:
        """Show what came of a case."""
        figures = record.figures
        came = f"{figures.latency:,} cycles" if figures else f"{record.outcome}: {record.reason}"
        self._last = f"{printable(case.network)} on {printable(case.name, 100)}, seed {case.seed}: {came}"
        now = time.monotonic()
        if now >= self._said + PAUSE:
            self._tell(f"{now - self._started:8.2f} s  {self._last}")
            self._said = now

    def lines(self, now: float, width: int) -> list[str]:
        """Return what is to be seen at a time by `time.monotonic`, on so many columns."""
        done, total = self._state.done, max(self._state.total, 1)
        full = BAR * done // total
        bar = [f"[{'=' * full}{' ' * (BAR - full)}] {done / total:.0%}"] if self._state.total else []
        return [*super().lines(now, width), *bar, *filter(None, [self._last])]


def counted(state: SweepState) -> str:
    """Return how far a sweep is, in words."""
    counts = f"{state.done:,} of {state.total:,} done, {state.running:,} running, {state.failed:,} failed"
    if state.done == state.total:
        return counts
    if state.ending:
        return f"{counts}; no more begin"
    return f"{counts}, about {_span(state.seconds_left)} left"


def _span(seconds: float) -> str:
    """Return a time as people say it."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def sweep_progress(started: float, limit: float | None) -> SweepProgress:
    """Return the progress of a sweep, which tells of cases in lines if nothing is drawn."""
    silent = QUIET.get() or draws()
    return SweepProgress(started, limit, (lambda line: None) if silent else say)
