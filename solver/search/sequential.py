"""Layers one after the other, each with the mapping of its own lowest latency: mapping without overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hw.hardware import Hardware
from overlapim_files import InputError
from solver.mapspace.frugal import frugal_mappings
from solver.mapspace.pools import BankShape, Pools, shapes
from solver.params import RowPrices, SequentialParams
from solver.schedule.plan import Plan, one_after_another
from solver.search.fitting import fit, why_no_mapping
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.profile import Profile, ceil_div

ROW_UNITS = 4096
"""Units in which rows are counted when they are shared out."""


def sequential(
    pools: Pools,
    stop: Stop,
    params: SequentialParams = SequentialParams(),
    found: Callable[[Plan], None] = lambda _: None,
) -> Plan:
    """Return the plan without overlap; `found` is called with a first one if the banks are shared out twice.

    Under shared weights each layer may have the whole chip. If the rows of all layers do not fit into a bank
    together, the fastest choice that does is looked for. As not all layers use all banks, rows are then given
    a price that rises until they can be placed; in the end only rows count. Under static weights the banks
    are shared out so that the sum of the layers' latencies is lowest; if time is short, only among some of
    the sizes. Where none of this leads to a plan, mappings and banks are chosen together.

    Raises
    ------
    InputError
        if the chip cannot hold the network; names the limit, the layer and the amount.
    """
    if pools.problem.hardware.weights == "static":
        plan = _apart(pools, stop, params, found)
        return plan or fit(pools, row_prices(params.prices), stop, params.fitting)
    plan = _first(pools.problem, _shared_choices(pools, params.prices), apart=False)
    return plan or _together(pools, stop, params, found)


def _apart(pools: Pools, stop: Stop, params: SequentialParams, found: Callable[[Plan], None]) -> Plan | None:
    """Return the plan in which every layer has banks of its own; None if there is none."""
    problem, sizes, began = pools.problem, shapes(pools.problem.hardware), stop.elapsed()
    coarse, retreat = params.coarse, params.retreat
    plan = _first(problem, static_choices(pools, sizes[::-coarse], Stop(), retreat), apart=True)
    if plan is None:
        return _first(problem, static_choices(pools, sizes, Stop(), retreat), apart=True)
    if stop.remaining() > coarse * (stop.elapsed() - began):
        found(plan)
        plan = _first(problem, static_choices(pools, sizes, stop, retreat), apart=True) or plan
    return plan


def _together(pools: Pools, stop: Stop, params: SequentialParams, found: Callable[[Plan], None]) -> Plan:
    """Return the better of a plan with banks apart and one whose mappings and banks are chosen together."""
    apart = _apart(pools, stop.part(params.apart), params, found)
    if apart is not None:
        found(apart)
    try:
        together = fit(pools, row_prices(params.prices), stop, params.fitting)
    except InputError:
        if apart is None:
            raise
        return apart
    return together if apart is None else min(together, apart, key=lambda plan: plan.latency)


def _first(problem: Problem, choices: Iterator[list[Profile]], apart: bool) -> Plan | None:
    """Return the plan of the first choice for which there are banks."""
    plans = (one_after_another(problem, profiles, apart) for profiles in choices)
    return next((plan for plan in plans if plan is not None), None)


def row_prices(prices: RowPrices) -> list[float]:
    """Return the prices of rows that are tried, in turn: the first is none, at the last only rows count."""
    return [0.0, *np.geomspace(prices.least, prices.most, prices.count).tolist(), math.inf]


def _shared_choices(pools: Pools, prices: RowPrices) -> Iterator[list[Profile]]:
    options = [_on_all_banks(pools, i) for i in range(len(pools.problem.layers))]
    seen: set[tuple[int, ...]] = set()
    for chosen in itertools.chain(_within_rows(options, pools.problem.hardware), _at_prices(options, prices)):
        key = tuple(map(id, chosen))
        if key not in seen:
            seen.add(key)
            yield chosen


def _within_rows(options: Sequence[Sequence[Profile]], hardware: Hardware) -> Iterator[list[Profile]]:
    """Yield the fastest choice, and the fastest one whose rows fit into one bank together."""
    yield [min(pool, key=lambda p: (p.total, p.rows)) for pool in options]
    unit = ceil_div(hardware.rows_per_bank, ROW_UNITS)
    chosen = share_out(options, hardware.rows_per_bank // unit, lambda p: ceil_div(p.rows, unit))
    if chosen is not None:
        yield chosen


def _at_prices(options: Sequence[Sequence[Profile]], prices: RowPrices) -> Iterator[list[Profile]]:
    """Yield the cheapest choices at rising prices of rows, for layers that do not all use the same banks."""
    for price in row_prices(prices):
        yield [min(pool, key=lambda p: _priced(p, price)) for pool in options]


def _priced(profile: Profile, price: float) -> tuple[float, int]:
    """Return what a profile costs if each of its rows adds such a share of its time."""
    if math.isinf(price):
        return profile.rows, profile.total
    return profile.total * (1 + price * profile.rows), profile.rows


def static_choices(
    pools: Pools, sizes: Sequence[BankShape], stop: Stop, retreat: int
) -> Iterator[list[Profile]]:
    """Yield the best ways to share out all the banks, then fewer and fewer, in case they do not pack.

    Parameters
    ----------
    sizes : the shapes that a layer may have.
    stop : when reached while the layers are looked at, there is no choice.
    retreat : each way takes one bank, and one of so many, less than the one before.
    """
    options = []
    for i in range(len(pools.problem.layers)):
        if stop.reached():
            return
        best: dict[int, Profile] = {}
        for p in _on_any(pools, i, sizes):
            if p.banks not in best or p.total < best[p.banks].total:
                best[p.banks] = p
        options.append(sorted(best.values(), key=lambda p: p.banks))
    capacity = pools.problem.hardware.banks
    while (chosen := share_out(options, capacity)) is not None:
        yield chosen
        used = sum(p.banks for p in chosen)
        capacity = min(capacity, used) - 1 - used // retreat


def share_out(
    options: Sequence[Sequence[Profile]], capacity: int, size: Callable[[Profile], int] = lambda p: p.banks
) -> list[Profile] | None:
    """Choose one profile for each layer, of sizes that sum up to at most `capacity`, of least total time."""
    costs = [[float(p.total) for p in pool] for pool in options]
    best = np.zeros(capacity + 1)
    picks = []
    for pool, cost in zip(options, costs, strict=True):
        reached = np.full((len(pool), capacity + 1), np.inf)
        for row, (p, c) in enumerate(zip(pool, cost, strict=True)):
            if size(p) <= capacity:
                reached[row, size(p) :] = best[: capacity + 1 - size(p)] + c
        picks.append(reached.argmin(axis=0))
        best = reached.min(axis=0)
    if not math.isfinite(best[-1]):
        return None
    chosen, left = [], capacity
    for pool, pick in zip(reversed(options), reversed(picks), strict=True):
        chosen.append(pool[pick[left]])
        left -= size(chosen[-1])
    return chosen[::-1]


def _on_all_banks(pools: Pools, layer: int) -> Sequence[Profile]:
    """Return the layer's candidates on the whole chip; where there are none, what needs the fewest rows."""
    problem, whole = pools.problem, shapes(pools.problem.hardware)[-1]
    pool = pools.pool(layer, whole)
    if pool:
        return pool
    frugal = frugal_mappings(problem.layers[layer], problem.hardware, whole)
    found = [problem.profile(layer, mapping) for mapping in frugal]
    if not found:
        raise InputError(why_no_mapping(problem, layer))
    return found


def _on_any(pools: Pools, layer: int, sizes: Sequence[BankShape]) -> list[Profile]:
    """Return the layer's favourites on all shapes."""
    pool = [p for shape in sizes for p in pools.favourites(layer, shape)]
    return pool or [*_on_all_banks(pools, layer)]
