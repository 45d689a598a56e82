"""Caches of computed tables, within a limit on memory.

`functools.lru_cache` counts entries; tables differ in size by six orders of magnitude, so bytes are counted
here. All entries of a function are dropped together when its limit is reached, which costs one more
computation each.

Threads may share a cache: looking up is one operation of a dictionary, and storing holds a lock. Two threads
that miss the same entry at the same time both compute it; the first table is kept, and counted once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from solver.memory import evictable

LIMIT = 48 * 2**20
"""Bytes that the cache of one function holds at most."""

ENTRY = 600
"""Bytes that an entry takes beside its arrays, about."""

Arguments = ParamSpec("Arguments")
Table = TypeVar("Table")


def _size(table: object) -> int:
    if isinstance(table, np.ndarray):
        return table.nbytes + ENTRY
    return sum(map(_size, table)) + ENTRY if isinstance(table, tuple | list) else ENTRY


def cached(compute: Callable[Arguments, Table]) -> Callable[Arguments, Table]:
    """Cache the results of a function of hashable arguments; nobody may write into them."""
    tables: dict[tuple[object, ...], Table] = {}
    lock = threading.Lock()
    size = 0

    def clear() -> None:
        nonlocal size
        with lock:
            tables.clear()
            size = 0

    @wraps(compute)
    def lookup(*key: Arguments.args, **named: Arguments.kwargs) -> Table:
        nonlocal size
        entry = (*key, *named.items()) if named else key
        try:
            return tables[entry]
        except KeyError:
            table = compute(*key, **named)
        with lock:
            if entry in tables:
                return tables[entry]
            size += _size(table)
            if size > LIMIT:
                tables.clear()
                size = 0
            else:
                tables[entry] = table
        return table

    evictable(clear)
    return lookup
