"""The interval of a plan: how soon the next inference can follow on the same banks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solver.schedule.banks import Banks
from solver.timing.profile import Cycles


def interval(starts: Sequence[int], ends: Sequence[int], banks: Sequence[Banks]) -> int:
    """Return the least number of cycles by which all inferences can follow each other.

    Two layers on one bank that hold it during [a, z) and [b, y) rule out an interval of which a multiple lies
    strictly between b - z and y - a: the bank would be held twice then. So an interval that is ruled out by a
    multiple has to grow until that multiple is past the gap, which gives the next one to be tried.

    Parameters
    ----------
    starts, ends, banks : when each layer holds its banks, and which.
    """
    low, high = _ruled_out(starts, ends, banks)
    found = _longest_held(starts, ends, banks)
    while True:
        multiple = low // found + 1
        late = multiple * found < high
        if not late.any():
            return found
        found = int((-(-high[late] // multiple[late])).max())


def _longest_held(starts: Sequence[int], ends: Sequence[int], banks: Sequence[Banks]) -> int:
    """Return the cycles for which the bank is held that is held longest, at least 1."""
    held = np.zeros(max(int(own.max()) for own in banks) + 1, np.int64)
    for start, end, own in zip(starts, ends, banks, strict=True):
        held[own] += end - start
    return max(int(held.max()), 1)


def _ruled_out(starts: Sequence[int], ends: Sequence[int], banks: Sequence[Banks]) -> tuple[Cycles, Cycles]:
    """Return the gaps no multiple of the interval may lie in, both ends of them; shape (pairs of layers,)."""
    sets = [sum(1 << bank for bank in own.tolist()) for own in banks]
    first, second = [], []
    order = sorted(range(len(banks)), key=lambda i: starts[i])
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if sets[i] & sets[j]:
                first.append(i)
                second.append(j)
    start, end = np.array(starts, np.int64), np.array(ends, np.int64)
    return start[second] - end[first], end[second] - start[first]
