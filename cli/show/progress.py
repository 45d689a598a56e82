"""What can be seen while work goes on: a moving picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, ConsoleOptions, Group
from rich.live import Live
from rich.text import Text

from cli.show.console import QUIET, console, say
from cli.show.tables import measured
from solver.run import Improvement, Observer
from solver.timing.objective import Measure, Value

PAUSE = 1.0
"""Off a terminal, bounds that rise sooner than this after a line are not told of; the next line has them."""

BARS = "▁▂▃▄▅▆▇█"
LEAST, MOST = 5, 40
"""Columns of the curve of improvements: with less room there is none."""

RECENT = 20
"""Improvements that the curve shows."""


def curve(points: Sequence[tuple[float, Value]], until: float, columns: int) -> str:
    """Return how a value has fallen over time, as a row of bars: the lowest for its least, which is the last.

    Parameters
    ----------
    points : (seconds, value) of each improvement, in the order of time.
    until : seconds at the end of the row, which begins at the first improvement.
    columns : at least two.
    """
    first, least, span = points[0][0], points[-1][1], max(points[0][1] - points[-1][1], 1)
    until = max(until, points[-1][0])
    bars, i = [], 0
    for left in reversed(range(columns)):
        now = until - (until - first) * left / (columns - 1)
        while i + 1 < len(points) and points[i + 1][0] <= now:
            i += 1
        bars.append(BARS[int(-(-(points[i][1] - least) * (len(BARS) - 1) // span))])
    return "".join(bars)


class Progress:
    """The state of some work; drawn anew several times a second."""

    def __init__(self, started: float, limit: float | None = None) -> None:
        self._started = started
        self._limit = limit
        self.text = "starting"

    def __rich_console__(self, terminal: Console, options: ConsoleOptions) -> Iterator[Group]:
        """Yield the lines as they are now."""
        lines = self.lines(time.monotonic(), options.max_width)
        yield Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def lines(self, now: float, width: int) -> list[str]:
        """Return what is to be seen at a time by `time.monotonic`, on so many columns."""
        return [f"{self.clock(now)}  {self.text}"]

    def clock(self, now: float) -> str:
        """Return the time that has passed, and that which is left if there is a limit."""
        passed = now - self._started
        if self._limit is None:
            return f"{passed:.1f} s"
        return f"{passed:.1f} of {self._limit:g} s, {max(self._limit - passed, 0.0):.1f} s left"


class SearchProgress(Progress, Observer):
    """How far a search has come: its best value and how that has fallen, its bound, and what it does.

    Parameters
    ----------
    tell : hears of improvements, a line for each lower value and one a second for higher bounds.
    measure : of what.
    """

    def __init__(
        self,
        started: float,
        limit: float | None,
        tell: Callable[[str], None] = say,
        measure: Measure = "makespan",
    ) -> None:
        super().__init__(started, limit)
        self._measure = measure
        self._tell = tell
        self._points: list[tuple[float, Value]] = []
        self._known = ""
        self._said = 0.0

    def improved(self, improvement: Improvement) -> None:
        """Show the new latency or bound."""
        bound = self._short(improvement.bound)
        known = f"{measured(improvement.value, self._measure)}, bound {bound}, gap {improvement.gap:.1%}"
        self._known = known
        faster = not self._points or improvement.value < self._points[-1][1]
        if faster:
            self._points.append((improvement.seconds, improvement.value))
        if faster or improvement.seconds >= self._said + PAUSE:
            self._tell(f"{improvement.seconds:8.2f} s  {known}")
            self._said = improvement.seconds

    def _short(self, value: Value) -> str:
        """Return a value without the unit that most have."""
        return measured(value, self._measure).removesuffix(" cycles")

    def doing(self, text: str) -> None:
        """Show what is being done."""
        self.text = text

    def lines(self, now: float, width: int) -> list[str]:
        """Return what is to be seen at a time by `time.monotonic`, on so many columns."""
        lines = [*super().lines(now, width), *filter(None, [self._known])]
        recent = self._points[-RECENT:]
        if len(recent) > 1:
            passed = now - self._started
            first, last = (
                measured(value, self._measure).removesuffix(" cycles")
                for value in (recent[0][1], recent[-1][1])
            )
            before = f"{first} at {recent[0][0]:.1f} s "
            after = f" {last}, {max(passed - recent[-1][0], 0.0):.1f} s ago"
            columns = min(width - len(before) - len(after), MOST)
            lines += [before + curve(recent, passed, columns) + after] if columns >= LEAST else []
        return lines


def draws() -> bool:
    """Whether progress is drawn: on a terminal, unless it is to be quiet."""
    return sys.stderr.isatty() and not QUIET.get()


def search_progress(started: float, limit: float | None, measure: Measure = "makespan") -> SearchProgress:
    """Return the progress of a search, which tells of improvements in lines if nothing is drawn.

    Whether that is so is asked now: searches side by side report from threads of their own.
    """
    silent = QUIET.get() or draws()
    return SearchProgress(started, limit, (lambda line: None) if silent else say, measure)


Shown = TypeVar("Shown", bound=Progress)


@contextmanager
def moving(progress: Shown) -> Iterator[Shown]:
    """Draw the progress on standard error if that is a terminal.

    It is drawn through a stream of its own: a thread does it, and processes that are forked meanwhile flush
    the usual ones when they end.
    """
    if not draws():
        yield progress
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as stream:
        live = Live(
            progress,
            console=console(stream),
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with live:
            yield progress
