"""The memory of a run: how much it may have, and what is dropped before that is reached.

What can be made again is kept in caches, each of which says here how it is emptied: those of functions
(`evictable`) and those of objects (`Cache`). A `Memory` is part of the stop of a search, so that it is asked
wherever time is. Once the processes of the run have come to a share of its limit, each of them empties all of
its caches; a search for which that is not enough ends. What a cache held is never seen in an answer.
"""

from __future__ import annotations

import ctypes
import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

EVICTED = 0.6
"""Share of the limit from which on caches are emptied."""

REGROWN = 0.1
"""Share of the limit by which a run has to grow until they are emptied anew."""

EXHAUSTED = 0.85
"""Share of the limit from which on a search ends; the rest is for its last check and what is written."""

ASKED_SECONDS = 0.1
"""How often it is measured, at most."""

ASKED_SHARE = 0.02
"""Share of the time that measuring may take; a process of many pages takes longer."""

Key = TypeVar("Key")
Entry = TypeVar("Entry")

_clearers: list[Callable[[], None]] = []
_caches: weakref.WeakValueDictionary[int, Cache[object, object]] = weakref.WeakValueDictionary()


class Cache(dict[Key, Entry]):
    """What an object has computed and can compute again; it may be emptied at any time, even while used."""

    def __init__(self) -> None:
        super().__init__()
        _caches[id(self)] = self  # type: ignore[assignment]  # only emptied


def evictable(clear: Callable[[], None]) -> None:
    """Note how a cache that lasts as long as the process is emptied."""
    _clearers.append(clear)


def clear_caches() -> None:
    """Drop all that is cached, so that it takes no memory and a measurement starts from nothing."""
    for cache in list(_caches.values()):
        cache.clear()
    for clear in _clearers:  # the compiled core last: it gives back what the caches held
        clear()


def machine_memory() -> int:
    """Return the bytes that the processes of this machine, or of this control group, have together."""
    most = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in ("", "memory"):
                name = "memory.limit_in_bytes" if kinds else "memory.max"
                inner = CGROUPS / kinds / path.lstrip("/")
                most += [_limit(folder / name) for folder in (inner, *inner.parents)]
    return min(filter(None, most))


def _limit(file: Path) -> int:
    """Return the number in a file; 0 if there is none."""
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return 0


def used_memory(root: int) -> int:
    """Return the bytes that a process and those that it has started hold; 0 where that cannot be told.

    What several processes share counts once.
    """
    total = 0
    for process in (root, *_children(root)):
        with suppress(OSError, ValueError):
            rollup = (PROC / str(process) / "smaps_rollup").read_text()
            total += 1024 * next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
            )
    return total


def _children(process: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in (PROC / str(process) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


@dataclass
class Memory:
    """The most that a run may have, with all of its processes.

    Attributes
    ----------
    limit : in bytes; half of what the machine has unless given.
    root : the process that began the run.
    """

    limit: int = field(default_factory=lambda: machine_memory() // 2)
    root: int = field(default_factory=os.getpid)
    _next: float = 0.0
    _left: int = 0
    _short: bool = False

    def short(self) -> bool:
        """Whether the search has to end for want of memory; empties the caches before that."""
        if self._short or time.monotonic() < self._next:
            return self._short
        began = time.thread_time()
        used = used_memory(self.root)
        if used > max(EVICTED * self.limit, self._left + REGROWN * self.limit):
            clear_caches()
            _give_back()
            used = self._left = used_memory(self.root)
        self._short = used > EXHAUSTED * self.limit
        spent = time.thread_time() - began
        self._next = time.monotonic() + max(ASKED_SECONDS, spent / ASKED_SHARE)
        return self._short


def _give_back() -> None:
    """Give what is free back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
