"""Cached tables: computed once, dropped when they take too much memory, and shared between threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from solver.memory import clear_caches
from solver.timing import cache
from solver.timing.cache import ENTRY, cached
from solver.timing.profile import Cycles

THREADS = 8
TABLE = 1000
"""Entries of 8 bytes of each table."""


class Counted:
    """A function of one number whose tables are cached; `calls` has the numbers it was computed for."""

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.calls: list[int] = []

        @cached
        def table(number: int) -> Cycles:
            self.calls.append(number)
            wait()
            return np.full(TABLE, number)

        self.table = table


@pytest.fixture
def often() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def room_for(tables: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", tables * (8 * TABLE + ENTRY))


def test_a_table_is_computed_once() -> None:
    counted = Counted()
    assert counted.table(3) is counted.table(3)
    counted.table(4)
    assert counted.calls == [3, 4]
    clear_caches()
    counted.table(3)
    assert counted.calls == [3, 4, 3]


def test_all_tables_are_dropped_when_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(2, monkeypatch)
    counted = Counted()
    for number in (1, 2, 1, 2, 3, 1):
        assert (counted.table(number) == number).all()
    assert counted.calls == [1, 2, 3, 1]


def test_threads_that_miss_together_share_one_table_that_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them compute it, since none can know of the others; then there is room for a second one."""
    room_for(2, monkeypatch)
    barrier = threading.Barrier(THREADS)
    counted = Counted(lambda: barrier.wait(timeout=10) if len(counted.calls) <= THREADS else None)
    with ThreadPoolExecutor(THREADS) as pool:
        tables = list(pool.map(counted.table, [1] * THREADS))
    assert counted.calls == [1] * THREADS
    assert all(table is tables[0] for table in tables)
    assert counted.table(2) is counted.table(2) and counted.table(1) is tables[0]


def test_threads_get_the_right_tables_while_others_are_dropped(
    often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(5, monkeypatch)
    counted = Counted()

    def ask(thread: int) -> int:
        right = 0
        for step in range(2000):
            number = (thread * 7 + step) % 11
            right += bool((counted.table(number) == number).all())
            if step % 100 == thread:
                clear_caches()
        return right

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(ask, range(THREADS))) == [2000] * THREADS
    assert 11 < len(counted.calls) <= THREADS * 2000


def test_no_count_is_lost_between_threads(often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What just fits stays, whoever computed it; one table more drops it all."""
    room_for(THREADS * 50, monkeypatch)
    counted = Counted()

    def fill(thread: int) -> None:
        for number in range(thread, THREADS * 50, THREADS):
            counted.table(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fill, range(THREADS)))
    for number in range(THREADS * 50):
        counted.table(number)
    assert sorted(counted.calls) == list(range(THREADS * 50))
    counted.table(-1)
    counted.table(0)
    assert counted.calls.count(0) == 2
