"""Tables that are kept for the next time, within a limit on memory.

`functools.lru_cache` counts entries; tables differ in size by six orders of magnitude, so bytes are counted
here. All are dropped together when the limit is reached, which costs one more computation each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

LIMIT = 48 * 2**20
"""Bytes kept for each function."""

ENTRY = 600
"""Bytes that an entry takes beside its arrays, about."""

Table = TypeVar("Table")
_forgetters: list[Callable[[], None]] = []


def _size(table: object) -> int:
    if isinstance(table, np.ndarray):
        return table.nbytes + ENTRY
    return sum(map(_size, table)) + ENTRY if isinstance(table, tuple) else ENTRY


def kept(compute: Callable[..., Table]) -> Callable[..., Table]:
    """Keep the results of a function of hashable arguments; nobody may write into them."""
    tables: dict[tuple[Any, ...], Table] = {}
    size = 0

    def forget() -> None:
        nonlocal size
        tables.clear()
        size = 0

    @wraps(compute)
    def lookup(*key: Any) -> Table:
        nonlocal size
        try:
            return tables[key]
        except KeyError:
            table = compute(*key)
        size += _size(table)
        if size > LIMIT:
            forget()
        else:
            tables[key] = table
        return table

    _forgetters.append(forget)
    return lookup


def forget_all() -> None:
    """Drop every table that is kept, so that a measurement starts from nothing."""
    for forget in _forgetters:
        forget()
