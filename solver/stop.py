"""When a search ends: a value that every method asks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol


class Flag(Protocol):
    """Something that another thread or process can set: an event."""

    def is_set(self) -> bool:
        """Whether it is set."""


@dataclass
class Stop:
    """Stop after `seconds` of wall time since it was made, after `iterations` steps, or on `interrupt`.

    A search with a limit on iterations and none on seconds is repeatable.
    """

    seconds: float | None = None
    iterations: int | None = None
    interrupt: Flag = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)
    steps: int = 0

    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.started

    def remaining(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return float("inf") if self.seconds is None else self.seconds - self.elapsed()

    def step(self) -> bool:
        """Count one step and return whether to stop."""
        self.steps += 1
        return self.reached()

    def reached(self) -> bool:
        """Whether to stop."""
        if self.interrupt.is_set() or (self.iterations is not None and self.steps > self.iterations):
            return True
        return self.remaining() <= 0
