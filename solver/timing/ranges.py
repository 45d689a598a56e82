"""Ranges of a table: the largest entry in each of many, and the least value that any of many gives an entry.

Both go over ranges whose length is a power of two; two of them cover any range. So they take n log n.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.windows import Indices

Entries = npt.NDArray[np.int64]


def range_maximum(table: Entries, low: Indices, high: Indices) -> Entries:
    """Return the maximum of `table[low..high]` along the first axis, minus infinity for an empty range."""
    length = high - low + 1
    result = np.full((len(low), *table.shape[1:]), MINUS_INFINITY, np.int64)
    level, size = table, 1
    while size <= length.max(initial=0):
        chosen = np.flatnonzero((length >= size) & (length < 2 * size))
        if len(chosen):
            result[chosen] = np.maximum(level[low[chosen]], level[high[chosen] - size + 1])
        if len(level) > size:
            level = np.maximum(level[:-size], level[size:])
        size *= 2
    return result


def range_minima(values: Entries, low: Indices, high: Indices, entries: int) -> Entries:
    """Return for each entry the least of the values whose range `low..high` has it, infinity if none does.

    Parameters
    ----------
    values : (ranges, ..); further axes are kept, at the end.
    """
    length = high - low + 1
    size = 1 << max(int(length.max(initial=0)).bit_length() - 1, 0)
    level = np.full((entries - size + 1, *values.shape[1:]), INFINITY, np.int64)
    while True:
        # `level[i]` holds what is put on all of the entries from i to i + size - 1.
        chosen = np.flatnonzero((length >= size) & (length < 2 * size))
        for first in (low[chosen], high[chosen] - size + 1):
            np.minimum.at(level, first, values[chosen])
        if size == 1:
            return level
        size //= 2
        finer = np.full((entries - size + 1, *values.shape[1:]), INFINITY, np.int64)
        for part in (finer[: len(level)], finer[size:]):
            np.minimum(part, level, out=part)
        level = finer
