"""What searches begin with, and which moves they make, where something other than the latency counts.

A stream of inferences is soonest done where all layers take about equally long, each on banks of its own.
Energy, standby aside, is a sum over the layers: each may have the mapping that takes least.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools, shapes
from solver.params import Params, PursuitParams
from solver.schedule.goal import Goal
from solver.schedule.pace import apart
from solver.schedule.plan import Plan, one_after_another, overlap_shared, overlap_static
from solver.search.balance import Balance
from solver.search.descent import Neighbourhood, single_moves
from solver.search.static import StaticMoves
from solver.stop import Stop, StoppedError
from solver.timing.energy import standby_energy
from solver.timing.problem import Problem
from solver.timing.profile import Profile


def neighbourhoods(problem: Problem, plan: Plan, usual: Sequence[Neighbourhood]) -> Sequence[Neighbourhood]:
    """Return the kinds of moves to go on with from a plan, `usual` being those for the latency alone."""
    objective, static = problem.objective, problem.hardware.weights == "static"
    if objective.plain or not (static or objective.streams):
        return usual
    return [apart_moves if static or apart(plan) else single_moves]


apart_moves: Neighbourhood = StaticMoves
"""Moves of layers that keep banks of their own, whatever else the chip allows."""


def first_plans(pools: Pools, stop: Stop, seed: int, params: Params) -> Iterator[Plan]:
    """Yield plans for what the objective weighs beside the latency, as many as there is time for."""
    objective = pools.problem.objective
    with suppress(StoppedError):
        if objective.streams:
            moves = StaticMoves(pools, random.Random(seed), params.descent.moves)
            yield from (state.plan for state in moves.starts(stop))
        if objective.weighs_energy:
            yield from _economical(pools, stop, seed, params)


def _economical(pools: Pools, stop: Stop, seed: int, params: Params) -> Iterator[Plan]:
    """Yield plans in which each layer has the mapping that takes least, as far as there are banks for it."""
    problem, line = pools.problem, pools.problem.network.topological
    search = _Thrift(pools, random.Random(seed), params.descent.pursuit)
    profiles = [search.of(i, stop) for i in range(len(problem.layers))]
    if problem.hardware.weights != "static":
        plans = [overlap_shared(problem, profiles, line, frozenset(line))]
        plans.append(one_after_another(problem, profiles, apart=False))
    else:
        balance = params.descent.moves.balance
        even = Balance(pools, problem.hardware.banks, *balance.weights[0], balance)
        scarce = sum(p.banks for p in profiles) > problem.hardware.banks
        plans = [overlap_static(problem, (scarce and even.fitted(profiles, stop)) or profiles)]
    yield from filter(None, plans)


class _Thrift:
    """Looks for the mapping of a layer that takes least, by itself."""

    def __init__(self, pools: Pools, rng: random.Random, params: PursuitParams) -> None:
        self._pools, self._random, self._params = pools, rng, params
        self._goal = Goal(pools.problem)
        self._standby = standby_energy(pools.problem.hardware, 1)

    def of(self, layer: int, stop: Stop) -> Profile:
        """Return the best of the pools' mappings and of random changes of it.

        Raises
        ------
        StoppedError
            if it is time to stop.
        """
        problem = self._pools.problem
        pooled = [
            p for shape in shapes(problem.hardware) for p in self._pools.until(stop).quick(layer, shape)
        ]
        best = min(pooled, key=self._price)
        for _ in range(self._params.changes):
            stop.check()
            mapping = best.mapping
            for _ in range(1 + int(self._random.expovariate(self._params.change_rate))):
                mapping = allowed_neighbour(problem, layer, mapping, self._random) or mapping
            if self._price(changed := problem.profile(layer, mapping)) < self._price(best):
                best = changed
        return best

    def _price(self, profile: Profile) -> float:
        """Return what is minimised if the layer is all of the network."""
        energy = self._goal.energy(profile) + self._standby * profile.total
        return energy * (profile.total if self._pools.problem.objective.measure == "edp" else 1)
