"""A mapping for each layer, of sizes that a capacity suffices for together: a multiple-choice knapsack.

Exact by a table over all capacities. Where that would be large, on chips of many banks under networks of many
layers, by steps in the order of what they save for their size, along the convex hull of each layer's choices:
n log n, and at most one step of one layer from the best possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from solver.timing.profile import Profile

MOST_ENTRIES = 2**24
"""Entries of the largest table, layers times capacity: 32 MiB."""

Size = Callable[[Profile], int]
Chooser = Callable[[int], list[Profile] | None]
"""Chooses a profile for each layer within a capacity, of least total time; None if none fit."""


def sharing(options: Sequence[Sequence[Profile]], most: int, size: Size) -> Chooser:
    """Return what chooses among options within capacities up to the largest."""
    return (by_table if len(options) * (most + 1) <= MOST_ENTRIES else by_steps)(options, most, size)


def by_table(options: Sequence[Sequence[Profile]], most: int, size: Size) -> Chooser:
    """Return a chooser that is exact."""
    best = np.zeros(most + 1)
    picks = []
    for pool in options:
        reached = np.full((len(pool), most + 1), np.inf)
        for row, p in enumerate(pool):
            if size(p) <= most:
                reached[row, size(p) :] = best[: most + 1 - size(p)] + float(p.total)
        picks.append(reached.argmin(axis=0).astype(np.uint16 if len(pool) < 2**16 else np.int64))
        best = reached.min(axis=0)

    def choose(capacity: int) -> list[Profile] | None:
        if capacity < 0 or not np.isfinite(best[capacity]):
            return None
        chosen, left = list[Profile](), capacity
        for pool, pick in zip(reversed(options), reversed(picks), strict=True):
            chosen.append(pool[pick[left]])
            left -= size(chosen[-1])
        return chosen[::-1]

    return choose


def by_steps(options: Sequence[Sequence[Profile]], _most: int, size: Size) -> Chooser:
    """Return a chooser that enlarges layers from their smallest choices, those first that gain most by it."""
    hulls = [_hull(pool, size) for pool in options]
    smallest = sum(size(hull[0]) for hull in hulls)
    steps = sorted(
        (
            ((after.total - before.total) / (size(after) - size(before)), layer, number)
            for layer, hull in enumerate(hulls)
            for number, (before, after) in enumerate(pairwise(hull))
        )
    )

    def choose(capacity: int) -> list[Profile] | None:
        left = capacity - smallest
        if left < 0:
            return None
        taken = [0] * len(hulls)
        for _, layer, number in steps:
            hull = hulls[layer]
            more = size(hull[number + 1]) - size(hull[number])
            # Steps of a layer gain less and less; once one did not fit, those after it do not follow.
            if number == taken[layer] and more <= left:
                taken[layer] += 1
                left -= more
        return [hull[number] for hull, number in zip(hulls, taken, strict=True)]

    return choose


def _hull(pool: Sequence[Profile], size: Size) -> list[Profile]:
    """Return the choices that are best at some price of size: from small to large, gaining less and less."""
    hull: list[Profile] = []
    for p in sorted(pool, key=lambda p: (size(p), p.total)):
        if hull and p.total >= hull[-1].total:
            continue
        while len(hull) > 1 and _bends(hull[-2], hull[-1], p, size):
            hull.pop()
        hull.append(p)
    return hull


def _bends(first: Profile, middle: Profile, last: Profile, size: Size) -> bool:
    """Whether the middle one is no better than something between the two others."""
    gain, more = first.total - middle.total, size(middle) - size(first)
    return gain * (size(last) - size(first)) <= (first.total - last.total) * more
