"""Layers one after the other, each with the mapping of its own lowest latency: mapping without overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from hw.hardware import Hardware
from overlapim_files import InputError
from solver.mapspace.arrays import BankShape
from solver.mapspace.frugal import frugal_allowed
from solver.mapspace.pools import Pools, shapes
from solver.params import RowPrices, SequentialParams
from solver.schedule.plan import Plan, one_after_another
from solver.search.fitting import fit, why_no_mapping
from solver.search.knapsack import sharing
from solver.stop import Stop, StoppedError
from solver.timing.problem import Problem
from solver.timing.profile import Profile, ceil_div

ROW_UNITS = 4096
"""Units in which rows are counted when they are shared out."""

PoolLookup = Callable[[int, BankShape], Sequence[Profile]]
"""What a layer may have on a shape of banks: a method of pools."""


def sequential(
    pools: Pools,
    stop: Stop,
    params: SequentialParams = SequentialParams(),
    found: Callable[[Plan], None] = lambda _: None,
) -> Plan:
    """Return the plan without overlap; `found` is called with a first one if another one is looked for.

    Under shared weights each layer may have the whole chip, or most of it. If the rows of all do not fit into
    a bank together, the fastest choice that does is looked for. As not all layers use all banks, rows are
    then given a price that rises until they can be placed; in the end only rows count. Under static weights
    the banks are shared out so that the sum of the layers' latencies is lowest; if time is short, only among
    some of the sizes. Where none of this leads to a plan, mappings and banks are chosen together. If time is
    so short that not even some sizes are looked at in a share of it, the first mappings that come up are
    enough for a plan to begin with, and only a share of what is left goes into a better one.

    Raises
    ------
    InputError
        if the chip cannot hold the network; names the limit, the layer and the amount.
    """
    try:
        return _thorough(pools, stop, stop.part(params.thorough), params, found)
    except StoppedError:
        plan = _hasty(pools, stop, params)
    found(plan)
    again = stop.part(params.again)
    with suppress(StoppedError):
        plan = min(plan, _thorough(pools, again, again, params, found), key=lambda p: p.latency)
    return plan


def _thorough(
    pools: Pools, stop: Stop, soon: Stop, params: SequentialParams, found: Callable[[Plan], None]
) -> Plan:
    """Return the plan of the best choice among good mappings.

    Parameters
    ----------
    soon : by when there is to be a plan, though of only some of the sizes that a layer may have.

    Raises
    ------
    StoppedError
        if there is none by then.
    """
    problem, quick = pools.problem, pools.until(soon)
    static = problem.hardware.weights == "static"
    if not static:
        plan = _sharing(problem, quick.pool, params)
        if plan is not None:
            found(plan)
            with suppress(StoppedError):
                other = _sharing(problem, partial(on_most_banks, quick, params.smallest), params)
                plan = min(plan, other or plan, key=lambda p: p.latency)
            return plan
    sizes, began = shapes(problem.hardware), stop.elapsed()
    plan = banks_apart(problem, quick.favourites, sizes[:: -params.coarse], params)
    if plan is not None:
        found(plan)
    if plan is None or stop.remaining() > params.coarse * (stop.elapsed() - began):
        patient = pools.until(stop if static else stop.part(params.apart))
        with suppress(StoppedError):
            plan = banks_apart(problem, patient.favourites, sizes, params) or plan
    if plan is not None and static:
        return plan
    return _together(pools, plan, stop, params)


def _hasty(pools: Pools, stop: Stop, params: SequentialParams) -> Plan:
    """Return a plan that is soon made, of the first mapping that comes up for each of some sizes."""
    problem, plan = pools.problem, None
    if problem.hardware.weights != "static":
        plan = _sharing(problem, pools.first, params)
    if plan is None:
        plan = banks_apart(problem, pools.first, shapes(problem.hardware)[:: -params.coarse], params)
    return plan or _together(pools, None, stop, params)


def _together(pools: Pools, apart: Plan | None, stop: Stop, params: SequentialParams) -> Plan:
    """Return the better of a plan with banks apart and one whose mappings and banks are chosen together."""
    try:
        together = fit(pools, row_prices(params.prices), stop, params.fitting)
    except InputError:
        if apart is None:
            raise
        return apart
    return together if apart is None else min(together, apart, key=lambda plan: plan.latency)


def _sharing(problem: Problem, look: PoolLookup, params: SequentialParams) -> Plan | None:
    """Return the plan in which each layer may have the whole chip; None if their rows do not fit into it."""
    options = _options(problem, look, shapes(problem.hardware)[-1:])
    return _first(problem, shared_choices(options, problem.hardware, params.prices), apart=False)


def on_most_banks(pools: Pools, smallest: float, layer: int, whole: BankShape) -> Sequence[Profile]:
    """Return what a layer may have on the whole chip, and the fastest on each of somewhat fewer banks.

    All banks are often more than the loops of a layer can be spread over without adding up between them.
    """
    least = smallest * math.prod(whole)
    fewer = [shape for shape in pools.sizes if least <= math.prod(shape) < math.prod(whole)]
    return [*pools.pool(layer, whole), *(p for shape in fewer for p in pools.quick(layer, shape))]


def banks_apart(
    problem: Problem, look: PoolLookup, sizes: Sequence[BankShape], params: SequentialParams
) -> Plan | None:
    """Return the plan in which every layer has banks of its own; None if they do not suffice."""
    if len(problem.layers) > problem.hardware.banks:
        return None
    options = _options(problem, look, sizes)
    choices = static_choices(options, problem.hardware.banks, params.retreat)
    return _first(problem, choices, apart=True)


def _options(problem: Problem, look: PoolLookup, sizes: Sequence[BankShape]) -> list[Sequence[Profile]]:
    """Return what each layer may have on any of some shapes; if that is nothing, on the whole chip."""
    layers = range(len(problem.layers))
    return [[p for shape in sizes for p in look(i, shape)] or _frugal(problem, i) for i in layers]


def _frugal(problem: Problem, layer: int) -> Sequence[Profile]:
    """Return what a layer may have on the whole chip with the fewest rows.

    Raises
    ------
    InputError
        if that is nothing.
    """
    frugal = frugal_allowed(problem, layer, shapes(problem.hardware)[-1])
    found = [problem.profile(layer, mapping) for mapping in frugal]
    if not found:
        raise InputError(why_no_mapping(problem, layer))
    return found


def _first(problem: Problem, choices: Iterator[list[Profile]], apart: bool) -> Plan | None:
    """Return the plan of the first choice for which there are banks."""
    plans = (one_after_another(problem, profiles, apart) for profiles in choices)
    return next((plan for plan in plans if plan is not None), None)


def row_prices(prices: RowPrices) -> list[float]:
    """Return the prices of rows that are tried, in turn: the first is none, at the last only rows count."""
    return [0.0, *np.geomspace(prices.least, prices.most, prices.count).tolist(), math.inf]


def shared_choices(
    options: Sequence[Sequence[Profile]], hardware: Hardware, prices: RowPrices
) -> Iterator[list[Profile]]:
    """Yield choices of one of the options of each layer, the fastest first, then ever fewer rows."""
    seen: set[tuple[int, ...]] = set()
    for chosen in itertools.chain(_within_rows(options, hardware), _at_prices(options, prices)):
        key = tuple(map(id, chosen))
        if key not in seen:
            seen.add(key)
            yield chosen


def _within_rows(options: Sequence[Sequence[Profile]], hardware: Hardware) -> Iterator[list[Profile]]:
    """Yield the fastest choice, and the fastest one whose rows fit into one bank together."""
    yield [min(pool, key=lambda p: (p.total, p.rows)) for pool in options]
    unit = ceil_div(hardware.rows_per_bank, ROW_UNITS)
    capacity = hardware.rows_per_bank // unit
    chosen = sharing(options, capacity, lambda p: ceil_div(p.rows, unit))(capacity)
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


def static_choices(options: Sequence[Sequence[Profile]], banks: int, retreat: int) -> Iterator[list[Profile]]:
    """Yield the best ways to share out all the banks, then fewer and fewer, in case they do not pack.

    Parameters
    ----------
    options : what each layer may have.
    retreat : each way takes one bank, and one of so many, less than the one before.
    """
    fastest = []
    for own in options:
        best: dict[int, Profile] = {}
        for p in own:
            if p.banks not in best or p.total < best[p.banks].total:
                best[p.banks] = p
        fastest.append(sorted(best.values(), key=lambda p: p.banks))
    capacity, share_out = banks, sharing(fastest, banks, lambda p: p.banks)
    while (chosen := share_out(capacity)) is not None:
        yield chosen
        used = sum(p.banks for p in chosen)
        capacity = min(capacity, used) - 1 - used // retreat
