"""What can be seen while work goes on: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.live import Live
from rich.text import Text

from cli.console import console, say
from solver.solve import Improvement, Observer

QUIET_SECONDS = 1.0
"""Off a terminal, bounds that rise sooner than this after a line are not told of; the next line has them."""


class Progress:
    """The state of some work; drawn anew several times a second."""

    def __init__(self, started: float, limit: float | None = None) -> None:
        self._started = started
        self._limit = limit
        self.text = "starting"

    def __rich__(self) -> Text:
        """Return the line as it is now."""
        limit = "" if self._limit is None else f" of {self._limit:g}"
        return Text(f"{time.monotonic() - self._started:.1f}{limit} s  {self.text}", no_wrap=True)


class SearchProgress(Progress, Observer):
    """How far a search has come: its best latency, its bound, and what it does."""

    def __init__(self, started: float, limit: float | None) -> None:
        super().__init__(started, limit)
        self._known = ""
        self._doing = ""
        self._latency = 0
        self._said = 0.0

    def improved(self, improvement: Improvement) -> None:
        """Show the new latency or bound."""
        self._known = f"{improvement.latency:,} cycles"
        if improvement.bound is not None:
            self._known += f", bound {improvement.bound:,}, gap {improvement.gap:.1%}"
        self._refresh()
        faster = improvement.latency != self._latency
        if not sys.stderr.isatty() and (faster or improvement.seconds >= self._said + QUIET_SECONDS):
            say(f"{improvement.seconds:8.2f} s  {self._known}")
            self._said = improvement.seconds
        self._latency = improvement.latency

    def doing(self, text: str) -> None:
        """Show what is being done."""
        self._doing = text
        self._refresh()

    def _refresh(self) -> None:
        self.text = "; ".join(filter(None, (self._known, self._doing)))


Shown = TypeVar("Shown", bound=Progress)


@contextmanager
def moving(progress: Shown) -> Iterator[Shown]:
    """Draw the progress on standard error if that is a terminal.

    It is drawn through a stream of its own: a thread does it, and processes that are forked meanwhile flush
    the usual ones when they end.
    """
    if not sys.stderr.isatty():
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
