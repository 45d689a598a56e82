"""When a search ends: a value that every method asks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol, Self

STEPS_PER_SECOND = 300
"""Steps of a nominal second: about what one process does with a network of twenty layers."""


class StoppedError(Exception):
    """It is time to stop, before there is a result."""


class Flag(Protocol):
    """Something that another thread or process can set: an event."""

    def is_set(self) -> bool:
        """Whether it is set."""


@dataclass
class Stop:
    """Stop after `seconds`, after `iterations` steps, on `interrupt`, or when nothing is left to find.

    Seconds are wall time since it was made. With `pace` steps to a second they are nominal: only work counts,
    so that a search does the same on every machine, however long that takes. A search with a limit on
    iterations and none on seconds is repeatable too.
    """

    seconds: float | None = None
    iterations: int | None = None
    interrupt: Flag = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    steps: int = 0
    pace: int | None = None
    work: float = 0.0
    """Nominal seconds of work that was not done in steps."""
    ended: bool = False

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

    def wall(self) -> float:
        """Seconds of wall time since it was made: for people to read, never to decide anything by."""
        return time.monotonic() - self.started

    def elapsed(self) -> float:
        """Seconds that count against the limit."""
        return self.wall() if self.pace is None else self.work + self.steps / self.pace

    def remaining(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return float("inf") if self.seconds is None else self.seconds - self.elapsed()

    def step(self) -> bool:
        """Count one step and return whether to stop."""
        self.steps += 1
        return self.reached()

    def worked(self, seconds: float) -> None:
        """Count work that another solver has measured in deterministic seconds."""
        self.work += seconds

    def end(self) -> None:
        """Stop everything that asks from now on: nothing better can be found."""
        self.ended = True

    def reached(self) -> bool:
        """Whether to stop."""
        if self.ended or self.interrupt.is_set():
            return True
        if self.iterations is not None and self.steps > self.iterations:
            return True
        return self.remaining() <= 0

    def check(self) -> None:
        """Raise `StoppedError` if it is time to stop."""
        if self.reached():
            raise StoppedError
