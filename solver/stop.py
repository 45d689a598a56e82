"""When a search ends: a value that every method asks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self

from solver.memory import Memory

STEPS_PER_SECOND = 300
"""Steps of a nominal second: about what one process does with a network of `STEP_LAYERS` layers."""

STEP_LAYERS = 20

POLL_SECONDS = 0.1
"""How often who waits for others looks whether it is time to stop."""

Ending = Literal["optimal", "gap", "interrupt", "memory", "patience", "time", "iterations", "finished"]
"""Why a search ended; `finished` if the method had nothing more to do."""


class StoppedError(Exception):
    """It is time to stop, before there is a result."""


class Flag(Protocol):
    """Something that another thread or process can set: an event, or another stop."""

    def is_set(self) -> bool:
        """Whether it is set."""


@dataclass
class RunProgress:
    """What a search has done so far; a stop and its parts count together.

    Attributes
    ----------
    steps : of the search.
    work : nominal seconds of work that was not done in steps.
    improved : elapsed seconds at the last improvement; None before the first.
    ending : `optimal` or `gap` once that much is proved.
    """

    steps: int = 0
    work: float = 0.0
    improved: float | None = None
    ending: Ending | None = None


@dataclass(frozen=True)
class Stop:
    """Stop at the first of several limits, on an interrupt, or when nothing is left to find.

    A stop is a `Flag`, so that one can be the interrupt of another, which then ends no later.

    Attributes
    ----------
    seconds : of wall time since it was made. With `pace` steps to a second they are nominal: only work
        counts, so that a search does the same on every machine, however long that takes.
    iterations : steps of the search. With a limit on these and none on seconds a search is repeatable too.
    gap : stop once the gap that is proved, as a share of the latency, is no larger.
    patience : stop when for so many seconds, counted as above, no better plan and no higher bound was found,
        from the first plan on.
    memory : stop when it does not suffice, whatever is dropped.
    interrupt : stop when another thread or process sets it.
    started : when it was made, by `time.monotonic`.
    progress : what has been done; a stop and its parts share it.
    """

    seconds: float | None = None
    iterations: int | None = None
    gap: float | None = None
    patience: float | None = None
    interrupt: Flag = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    pace: int | None = None
    memory: Memory | None = None
    progress: RunProgress = field(default_factory=RunProgress)

    @classmethod
    def deterministic(
        cls, seconds: float, interrupt: Flag | None = None, started: float | None = None
    ) -> Self:
        """Return one that counts nominal seconds."""
        return cls(
            seconds=seconds,
            interrupt=interrupt or threading.Event(),
            started=time.monotonic() if started is None else started,
            pace=STEPS_PER_SECOND,
        )

    def part(self, share: float = 1.0, until: float = math.inf) -> Self:
        """Return the stop that is reached after a share of the time that is left.

        It counts together with this one, and is reached no later.

        Parameters
        ----------
        until : elapsed seconds at which the time that is shared out ends, unless this stop comes first.
        """
        elapsed = self.elapsed()
        seconds = elapsed + share * (min(until, elapsed + self.remaining()) - elapsed)
        return replace(self, seconds=seconds)

    def abroad(self, interrupt: Flag) -> Self:
        """Return a stop with the same limits for another process, which counts for itself.

        Improvements are noted here and not there, so whoever notes them sets its interrupt.
        """
        return replace(self, interrupt=interrupt, progress=RunProgress())

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self.progress.steps

    def wall(self) -> float:
        """Seconds of wall time since it was made: for people to read, never to decide anything by."""
        return time.monotonic() - self.started

    def elapsed(self) -> float:
        """Seconds that count against the limit."""
        return self.wall() if self.pace is None else self.progress.work + self.progress.steps / self.pace

    def remaining(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return math.inf if self.seconds is None else self.seconds - self.elapsed()

    def wall_remaining(self) -> float:
        """Seconds of wall time that are left; infinity without a limit, or where work is counted instead."""
        return math.inf if self.pace is not None else self.remaining()

    def count(self, steps: int) -> None:
        """Count steps."""
        self.progress.steps += steps

    def step(self) -> bool:
        """Count one step and return whether to stop."""
        self.count(1)
        return self.reached()

    def worked(self, seconds: float) -> None:
        """Count work that is not done in steps, in nominal seconds."""
        self.progress.work += seconds

    def improved(self, gap: float) -> None:
        """Note a better plan or a higher bound, and stop if what is proved is enough.

        Parameters
        ----------
        gap : the share of the latency by which the bound now falls short of it.
        """
        self.progress.improved = self.elapsed()
        if gap == 0:
            self.progress.ending = "optimal"
        elif self.gap is not None and gap <= self.gap:
            self.progress.ending = "gap"

    def ending(self) -> Ending | None:
        """Return why to stop; None while there is no reason."""
        if self.progress.ending is not None:
            return self.progress.ending
        if self.interrupt.is_set():
            return "interrupt"
        if self.memory is not None and self.memory.short():
            return "memory"
        if self.remaining() <= 0:
            return "time"
        if self.iterations is not None and self.steps > self.iterations:
            return "iterations"
        if self.patience is not None and self.progress.improved is not None:
            return "patience" if self.elapsed() - self.progress.improved >= self.patience else None
        return None

    def reached(self) -> bool:
        """Whether to stop."""
        return self.ending() is not None

    def is_set(self) -> bool:
        """Whether to stop: a stop can be the interrupt of another."""
        return self.reached()

    def check(self) -> None:
        """Raise `StoppedError` if it is time to stop."""
        if self.reached():
            raise StoppedError


class Stoppable(Protocol):
    """A solver that can be told from another thread to end."""

    def stop_search(self) -> None:
        """End soon."""


@contextmanager
def interrupting(solver: Stoppable, stop: Stop) -> Iterator[None]:
    """Stop the solver soon after the search is to stop, whether or not it has found anything."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if stop.reached():
                solver.stop_search()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
