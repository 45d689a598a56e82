"""Widths of a dim, of a loop or of a tile, that are worth trying."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def useful_widths(bound: int) -> list[int]:
    """Return the widths of a dim of which each saves a step, from 1 to the bound."""
    useful = [bound]
    while useful[-1] > 1:
        # The next smaller width, as small as its number of steps allows.
        useful.append(-(-bound // -(-bound // (useful[-1] - 1))))
    return useful[::-1]


@lru_cache(maxsize=2**12)
def some_widths(bound: int, most: int) -> list[int]:
    """Return the widths of a dim that save a step, thinned to about `most`, from 1 to the bound."""
    useful = useful_widths(bound)
    if len(useful) <= most:
        return useful
    places = np.unique(np.geomspace(1, len(useful), most).round().astype(int)) - 1
    powers = [n for n in useful if n & (n - 1) == 0]
    return sorted({useful[i] for i in places} | set(powers))
