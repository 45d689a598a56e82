"""A solver that stops when the search does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ortools.sat.python.cp_model import CpSolver

from solver.stop import POLL_SECONDS, Stop


@contextmanager
def interrupting(solver: CpSolver, stop: Stop) -> Iterator[None]:
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
