"""The interval of a plan: how soon the next inference can follow on the same banks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from solver.schedule.banks import Banks

DOUBLINGS = 32
"""Numbers of up to 2^31 banks can be doubled so often within 64 bits."""


def interval(starts: Sequence[int], ends: Sequence[int], banks: Sequence[Banks]) -> int:
    """Return the least number of cycles by which all inferences can follow each other.

    Two layers on one bank that hold it during [a, z) and [b, y) rule out an interval of which a multiple lies
    strictly between b - z and y - a: the bank would be held twice then. So an interval that is ruled out by a
    multiple has to grow until that multiple is past the gap, which gives the next one to be tried.

    Parameters
    ----------
    starts, ends, banks : when each layer holds its banks, and which.
    """
    found, count, agreed, row = _longest_held(starts, ends, banks), len(starts), 0, 0
    if _apart(banks):
        return found
    order = np.argsort(np.array(starts, np.int64), kind="stable")
    start, end = np.array(starts, np.int64)[order], np.array(ends, np.int64)[order]
    sets = _bank_sets([banks[i] for i in order.tolist()])
    # Each layer with all after it, again and again until none of them objects any more.
    while agreed < count:
        others = row + 1 + np.flatnonzero((sets[row + 1 :] & sets[row]).any(axis=1))
        low, high = start[others] - end[row], end[others] - start[row]
        agreed += 1
        while (late := (multiple := low // found + 1) * found < high).any():
            found, agreed = int((-(-high[late] // multiple[late])).max()), 0
        row = (row + 1) % count
    return found


def _apart(banks: Sequence[Banks]) -> bool:
    """Whether no bank serves two layers."""
    served = np.zeros(max(int(own.max()) for own in banks) + 1, np.bool_)
    for own in banks:
        if served[own].any():
            return False
        served[own] = True
    return True


def _longest_held(starts: Sequence[int], ends: Sequence[int], banks: Sequence[Banks]) -> int:
    """Return the cycles for which the bank is held that is held longest, at least 1."""
    held = np.zeros(max(int(own.max()) for own in banks) + 1, np.int64)
    for start, end, own in zip(starts, ends, banks, strict=True):
        held[own] += end - start
    return max(int(held.max()), 1)


def bank_classes(banks: Sequence[Banks]) -> npt.NDArray[np.int64]:
    """Return a number for each bank up to the last that is held; the same where the same layers hold them."""
    classes = np.zeros(max(int(own.max()) for own in banks) + 1, np.int64)
    for turn, own in enumerate(banks, 1):
        classes *= 2
        classes[own] += 1
        if turn % DOUBLINGS == 0 or turn == len(banks):
            classes = np.unique(classes, return_inverse=True)[1]
    return classes


def _bank_sets(banks: Sequence[Banks]) -> npt.NDArray[np.uint8]:
    """Return sets with the same intersections as those of the banks, as bits; shape (layers, bytes).

    Banks that the same layers hold are one bit: there are a few in most plans, of a thousand banks.
    """
    classes = bank_classes(banks)
    sets = np.zeros((len(banks), int(classes.max()) + 1), np.bool_)
    for held, own in zip(sets, banks, strict=True):
        held[classes[own]] = True
    return np.packbits(sets, axis=1)
