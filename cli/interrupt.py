"""Ending early: the first Ctrl-C or SIGTERM asks for the best answer so far, the second one gives up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that gave up, or of benchmarks that have cases left."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A flag for `Stop.interrupt` that signals set. It takes no lock, as a handler may run anywhere."""

    def __init__(self) -> None:
        self._name = ""

    def is_set(self) -> bool:
        """Whether a signal has come."""
        return bool(self._name)

    @property
    def name(self) -> str:
        """The first signal that came, empty if none did."""
        return self._name

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; give up on the second."""
        if self._name:
            raise KeyboardInterrupt
        self._name = signal.Signals(number).name


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Catch signals as long as the context lasts."""
    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt.handle) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
