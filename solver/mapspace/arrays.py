"""Ways to spread a shape of banks over the dims of a layer: bounds of loops over channels and banks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from hw.hardware import Hardware, Level
from models.network import DIMS, OUTPUT_DIMS
from solver.mapspace.estimate import WEIGHT_POSITIONS, Ints, ceil_divide
from solver.params import PoolParams
from solver.timing.cache import cached

BankShape = tuple[int, int]
"""Channels, and banks in each of them."""


@cached
def _spread(count: int, bounds: tuple[int, ...]) -> Ints:
    """Return ways to spread `count` units over one or two dims; shape (ways, dims)."""
    active = [i for i, bound in enumerate(bounds) if bound > 1]
    ways = {(1,) * len(bounds)}
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    for i, j in itertools.combinations_with_replacement(active, 2):
        for first in divisors if i != j else [count]:
            way = [1] * len(bounds)
            way[i] = min(first, bounds[i])
            if i != j:
                way[j] = min(count // first, bounds[j])
            ways.add(tuple(way))
    return np.array(sorted(ways), np.int64)


def over_level(bounds: Ints, hardware: Hardware, level: Level) -> Ints:
    """Return the bounds, with 1 for dims that loops at a level may not be over."""
    allowed = np.array([hardware.may_spread(level, dim) for dim in DIMS])
    return np.where(allowed, bounds, 1)


def bank_arrays(
    bounds: Ints, hardware: Hardware, shape: BankShape, params: PoolParams
) -> Iterator[list[tuple[Ints, Ints]]]:
    """Yield ways to spread a shape over the dims, as (channel bounds, bank bounds).

    First the most even ones; then, should none of these keep to the rows, those that leave the fewest weights
    in each bank.
    """
    channels = _spread(shape[0], tuple(over_level(bounds, hardware, "channel").tolist()))
    banks = _spread(shape[1], tuple(over_level(bounds, hardware, "bank").tolist()))
    pairs = channels[:, None, :] * banks[None, :, :]
    used = pairs.prod(axis=-1)
    waste = (ceil_divide(bounds, pairs) * pairs / bounds).prod(axis=-1) * (shape[0] * shape[1] / used)
    reduction = len(OUTPUT_DIMS)
    waste *= 1 + params.reduction_waste * np.log2(pairs[..., reduction:].prod(axis=-1))
    even = np.argsort(waste, axis=None, kind="stable")
    yield _first(even, channels, banks, pairs, params.arrays)
    weights = ceil_divide(bounds, pairs)[..., WEIGHT_POSITIONS].prod(axis=-1)
    light = np.lexsort((waste.ravel(), weights.ravel()))
    yield _first(light, channels, banks, pairs, params.arrays)


def _first(best: Ints, channels: Ints, banks: Ints, pairs: Ints, most: int) -> list[tuple[Ints, Ints]]:
    """Return the first so many that differ in their products, given the order of all pairs."""
    chosen: dict[tuple[int, ...], tuple[Ints, Ints]] = {}
    for flat in best.tolist():
        c, b = divmod(flat, len(banks))
        chosen.setdefault(tuple(pairs[c, b].tolist()), (channels[c], banks[b]))
        if len(chosen) == most:
            break
    return list(chosen.values())
