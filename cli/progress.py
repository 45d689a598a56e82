"""What can be seen while work goes on: one moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from cli.console import console, say


class Progress:
    """The state of some work; drawn anew several times a second."""

    def __init__(self, started: float, limit: float | None = None) -> None:
        self._started = started
        self._limit = limit
        self._first = 0
        self.text = "starting"

    def __rich__(self) -> Text:
        """Return the line as it is now."""
        limit = "" if self._limit is None else f" of {self._limit:g}"
        return Text(f"{time.monotonic() - self._started:.1f}{limit} s  {self.text}", no_wrap=True)

    def found(self, seconds: float, latency: int) -> None:
        """Tell of a better answer."""
        self._first = self._first or latency
        self.text = f"{latency:,} cycles, {self._first / latency:.2f}x as fast as the first answer"
        if not sys.stderr.isatty():
            say(f"{seconds:8.2f} s  {self.text}")


@contextmanager
def moving(progress: Progress) -> Iterator[Progress]:
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
