"""A start for layers that share the chip, side by side where that wastes less than one after the other.

Malleable tasks: on fewer banks a layer takes longer, but leaves fewer lanes idle and room for layers beside
it. Each layer takes the mapping of least `time * (banks + price)`: at a high price the fastest one, at a low
one that which wastes least. One price for all layers is looked for first; then layers get prices of their
own, which rise along the critical path and fall elsewhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from solver.mapspace.arrays import BankShape
from solver.mapspace.pools import Pools, shapes
from solver.params import SharesParams
from solver.schedule.plan import Plan, overlap_shared
from solver.stop import Stop, StoppedError
from solver.timing.profile import Profile


def share_banks(
    pools: Pools,
    start: Plan,
    stop: Stop,
    seed: int,
    found: Callable[[Plan], None],
    params: SharesParams = SharesParams(),
) -> None:
    """Look for plans better than `start` of layers that get banks at a price; `found` is called with each."""
    search = _Prices(pools, start, stop, seed, found, params)
    search.sweep()
    search.adjust()


class _Prices:
    """The best plan so far, and the prices that it came from."""

    def __init__(
        self,
        pools: Pools,
        start: Plan,
        stop: Stop,
        seed: int,
        found: Callable[[Plan], None],
        params: SharesParams,
    ) -> None:
        self.problem, self.stop, self.params = pools.problem, stop, params
        self.random = random.Random(seed)
        self.best, self.found = start, found
        self.modes = _modes(pools, start, stop.part(params.looking), params)

    def sweep(self) -> None:
        """Try one price for all layers, from high to low."""
        banks, number = self.problem.hardware.banks, len(self.modes)
        tried = [[banks * 2.0**exponent] * number for exponent in self.params.exponents]
        found = [(plan, own) for own in tried if not self.stop.step() and (plan := self._at(own)) is not None]
        if found:
            self.plan, self.prices = min(found, key=lambda pair: pair[0].latency)
        else:
            self.plan, self.prices = self.best, []

    def adjust(self) -> None:
        """Change the prices of layers, as long as that has brought something not long ago."""
        idle = 0
        while self.prices and idle < self.params.patience and not self.stop.step():
            idle += 1
            path, rise = (
                set(self.plan.timeline.critical),
                self.random.uniform(self.params.least_rise, self.params.most_rise),
            )
            factors = (rise if i in path else rise**-self.params.fall for i in range(len(self.prices)))
            changed = [
                p * f if self.random.random() < 0.5 else p for p, f in zip(self.prices, factors, strict=True)
            ]
            plan = self._at(changed)
            if plan is not None and plan.latency <= self.params.slack * self.plan.latency:
                idle = 0 if plan is self.best else idle
                self.plan, self.prices = plan, changed

    def _at(self, prices: Sequence[float]) -> Plan | None:
        """Return the plan at prices; None if the rows do not suffice."""
        profiles = [_cheapest(own, price) for own, price in zip(self.modes, prices, strict=True)]
        order = self.problem.network.topological
        plan = overlap_shared(self.problem, profiles, order, frozenset(order), self.best)
        if plan is not None and plan.latency < self.best.latency:
            self.best = plan
            self.found(plan)
        return plan


def _cheapest(modes: Sequence[Profile], price: float) -> Profile:
    return min(modes, key=lambda p: p.total * (p.banks + price))


def _modes(pools: Pools, start: Plan, stop: Stop, params: SharesParams) -> list[list[Profile]]:
    """Return a fast mapping of each layer for some sizes of banks, as many sizes as time allows."""
    modes = [[profile] for profile in start.profiles]
    with suppress(StoppedError):
        for shape in _by_halves(shapes(pools.problem.hardware), params.finest):
            for i, own in enumerate(modes):
                stop.check()
                own += pools.until(stop).quick(i, shape)
    return modes


def _by_halves(sizes: Sequence[BankShape], finest: int) -> list[BankShape]:
    """Return the shapes from the largest down to a part of it: first halves of halves, then the others."""
    most = math.prod(sizes[-1])
    kept = [shape for shape in reversed(sizes) if math.prod(shape) * finest >= most]
    return sorted(
        kept, key=lambda shape: most % math.prod(shape) > 0 or (most // math.prod(shape)).bit_count() > 1
    )
