"""Layers that may share banks on banks of their own, as if weights were static.

Such a plan is valid however weights are kept. On a chip that is large for a network it may be better than all
plans in which layers take turns, and changes of a few layers rarely lead from one kind to the other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from overlapim_files import InputError
from solver.mapspace.pools import Pools, shapes
from solver.params import Params
from solver.schedule.plan import Plan
from solver.search.descent import Descent, Neighbourhood
from solver.search.layerwise import layerwise
from solver.search.sequential import banks_apart
from solver.search.static import StaticMoves
from solver.stop import Stop, StoppedError
from solver.timing.infinity import INFINITY
from solver.timing.timeline import evaluate


class BanksApart:
    """A search for plans with static weights that goes on from where it was.

    Attributes
    ----------
    pools : of the same problem with static weights.
    plan : the best one, a plan of that problem; None if there is none yet.
    """

    def __init__(self, pools: Pools, params: Params) -> None:
        static = pools.problem.hardware.with_weights("static")
        self.pools = Pools(replace(pools.problem, hardware=static), pools.params, pools.stop)
        self.plan: Plan | None = None
        self._problem, self._params, self._best = pools.problem, params, INFINITY
        self._steps = params.descent.apart.steps * len(pools.problem.layers)

    def begin(self, best: Plan, stop: Stop, seed: int, found: Callable[[Plan], None]) -> bool:
        """Make a first plan, if there is a way and time for it.

        Parameters
        ----------
        best : the best of the other plans.
        found : called with what the first plan is worth with the weights that the chip has.

        Returns
        -------
        Whether that is so much better than the others that more of these are not worth the time.
        """
        params = self._params.descent.apart
        limit = params.clear * best.latency
        self.plan = self._first(limit, _part(stop, params.first, self._steps), seed)
        if self.plan is None:
            return False
        found(self._as_kept(self.plan))
        return self.plan.latency < limit

    def go_on(self, best: Plan, stop: Stop, seed: int, found: Callable[[Plan], None]) -> None:
        """Search for longer the nearer it comes to the best of the other plans, and remember that one."""
        self._best = best.latency
        for share, near in self._params.descent.apart.rounds:
            if stop.reached() or self.behind() > near:
                return
            self.search(_part(stop, share, self._steps), seed, found, StaticMoves)

    def behind(self) -> float:
        """Return how many times as late as the best of the others its plan is."""
        return math.inf if self.plan is None else self.plan.latency / self._best

    def _first(self, limit: float, stop: Stop, seed: int) -> Plan | None:
        """Share out the banks evenly and, if that comes to no less than a limit, for the lowest sum."""
        params, alone = self._params, self.pools.until(stop)
        even = StaticMoves(alone, random.Random(seed), params.descent.moves).starts(stop)
        plans: list[Plan] = []
        with suppress(InputError, StoppedError):
            plans += [state.plan for state in islice(even, params.descent.first_starts)]
            if all(plan.latency >= limit for plan in plans):
                sizes = shapes(self._problem.hardware)[:: -params.sequential.coarse]
                lowest = banks_apart(alone.problem, alone.favourites, sizes, params.sequential)
                walk = replace(params.layerwise, strategy=params.descent.walk)
                plans += [layerwise(alone, lowest, stop, walk)] if lowest else []
        return min(plans, key=lambda plan: plan.latency, default=None)

    def share(self) -> float:
        """Return which share of further searches it is worth: none if its plan is far from the best."""
        shares = self._params.descent.apart.shares
        return next((share for most, share in shares if self.behind() <= most), 0.0)

    def search(self, stop: Stop, seed: int, found: Callable[[Plan], None], moves: Neighbourhood) -> None:
        """Search, from the best plan on."""
        if self.plan is not None:
            search = Descent(self.pools.until(stop), seed, self._params.descent, neighbourhood=moves)
            self.plan = search.run(self.plan, stop, lambda plan: found(self._as_kept(plan)), searched=True)

    def _as_kept(self, plan: Plan) -> Plan:
        """Return a plan as one of the problem whose weights are kept otherwise."""
        profiles = [self._problem.profile(i, own.mapping) for i, own in enumerate(plan.profiles)]
        return Plan(evaluate(self._problem, profiles, plan.releases, plan.orders), plan.banks)


def _part(stop: Stop, share: float, most: int) -> Stop:
    """Return the stop of a share of the time and of the steps that are left, and of so many steps at most."""
    part = stop if math.isinf(stop.remaining()) else stop.part(share)
    left = most if stop.iterations is None else min(most, int(share * (stop.iterations - stop.steps)))
    return replace(part, iterations=stop.steps + left)
