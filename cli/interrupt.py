"""Ending early: the first Ctrl-C or SIGTERM asks for the best answer so far, the second one gives up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that gave up, or of benchmarks that have cases left."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A flag for `Stop.interrupt` that signals set. It takes no lock, as a handler may run anywhere.

    Python runs a handler once its main thread is back from what it has called, which may be a solver that
    takes long. What it writes to the wakeup descriptor at once is read by whoever asks, in any thread.

    Parameters
    ----------
    woken : the end to read of the pipe of the wakeup descriptor, which does not block.
    """

    def __init__(self, woken: int | None = None) -> None:
        self._name = ""
        self._handled = 0
        self._woken = woken

    def is_set(self) -> bool:
        """Whether a signal has come."""
        if not self._name and self._woken is not None:
            with suppress(OSError):
                come = [number for number in os.read(self._woken, 64) if number in SIGNALS]
                self._name = signal.Signals(come[0]).name if come else ""
        return bool(self._name)

    @property
    def name(self) -> str:
        """The first signal that came, empty if none did."""
        return self._name

    def close(self) -> None:
        """Look for the last time."""
        self.is_set()
        self._woken = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; give up on the second."""
        self._handled += 1
        if self._handled > 1:
            raise KeyboardInterrupt
        self._name = self._name or signal.Signals(number).name


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Catch signals as long as the context lasts."""
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    interrupt = Interrupt(woken)
    woken_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    before = {number: signal.signal(number, interrupt.handle) for number in SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(woken_before)
        interrupt.close()
        os.close(woken)
        os.close(waker)
