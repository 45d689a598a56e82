"""Modes of a layer, from few banks to the whole chip: mappings each better than any other in something."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools, lag, shapes
from solver.maxplus.lags import rigid_lag
from solver.params import WindowParams
from solver.schedule.plan import Plan
from solver.timing.infinity import INFINITY
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes


def length(profile: Profile) -> int:
    """Return for how long a layer holds its banks if it does not wait."""
    return profile.lead + profile.last_finish


def rigid_start(times: LayerTimes) -> int:
    """Return when a layer would start if it ended as it does without waiting."""
    return max(0, times.end - length(times.profile))


class Modes:
    """The modes of the layers of a problem: pooled ones, and random changes of those that were good."""

    def __init__(self, pools: Pools, rng: random.Random, params: WindowParams) -> None:
        self._pools, self._random, self._params = pools, rng, params
        self._pooled: dict[int, list[Profile]] = {}
        self._known: dict[int, list[Profile]] = {}

    def of(self, layer: int, plan: Plan) -> list[Profile]:
        """Return the modes of a layer, after a few more have been drawn.

        Random changes are among them if they are better than the others for the layers around in a plan.

        Raises
        ------
        StoppedError
            if it is time to stop before all of them are there.
        """
        if layer not in self._pooled:
            self._pooled[layer] = self._some(layer)
        pooled = self._pooled[layer]
        own = plan.profiles[layer]
        known = [own, *self._known.get(layer, ()), *pooled]
        seen = {profile.mapping for profile in pooled}
        drawn = {
            p.mapping: p for p in (*self._drawn(layer, known), *reversed(known)) if p.mapping not in seen
        }
        self._known[layer] = self._best(layer, list(drawn.values()), plan)
        return [*pooled, *self._known[layer]]

    def _some(self, layer: int) -> list[Profile]:
        """Return pooled mappings, those that hand on their outputs early among them."""
        hardware = self._pools.problem.hardware
        sizes = [s for s in shapes(hardware) if math.prod(s) * self._params.finest >= hardware.most_banks]
        pooled = [profile for shape in sizes for profile in self._pools.close(layer, shape)]
        kept: list[tuple[int, float, int]] = []
        best: list[Profile] = []
        for profile in sorted(pooled, key=lambda p: (length(p), p.banks, lag(p), p.rows)):
            banks, late, rows = profile.banks, min(lag(profile), 1.0), self._least(profile)
            if not any(b <= banks and x <= self._params.finer * late and r <= rows for b, x, r in kept):
                kept.append((banks, late, rows))
                best.append(profile)
        return best

    def _least(self, profile: Profile) -> int:
        """Return the rows of a layer, or so many that fewer do not matter."""
        hardware = self._pools.problem.hardware
        share = hardware.rows_per_bank
        if hardware.weights == "shared":
            share //= len(self._pools.problem.layers)
        return max(profile.rows, share)

    def _drawn(self, layer: int, known: list[Profile]) -> Iterable[Profile]:
        """Yield random changes of known modes."""
        problem = self._pools.problem
        for _ in range(self._params.draws):
            mapping = self._random.choice(known).mapping
            for _ in range(1 + int(self._random.expovariate(self._params.change_rate))):
                changed = allowed_neighbour(problem, layer, mapping, self._random)
                mapping = changed or mapping
            yield problem.profile(layer, mapping)

    def _best(self, layer: int, profiles: list[Profile], plan: Plan) -> list[Profile]:
        """Return those that gain most over the pooled ones of as few banks: in time, or for their readers."""
        pooled = [(p, self._readers_start(layer, p, plan)) for p in self._pooled[layer]]
        gains = []
        for profile in profiles:
            then, time = self._readers_start(layer, profile, plan), length(profile)
            rows = self._least(profile)
            gain = min(
                (
                    max(t - then, length(p) - time)
                    for p, t in pooled
                    if p.banks <= profile.banks and p.rows <= rows
                ),
                default=INFINITY,
            )
            if gain > self._params.alike * time:
                gains.append((gain, profile))
        return [profile for _, profile in sorted(gains, key=lambda own: -own[0])[: self._params.varied]]

    def _readers_start(self, layer: int, profile: Profile, plan: Plan) -> int:
        """Return when all readers of a layer could start if it had a mapping; when it ended without any."""
        problem, transfer = self._pools.problem, self._pools.problem.hardware.cycles.transfer
        self._pools.stop.check()
        start, asked = 0, []
        for edge in problem.edges[layer]:
            source = plan.timeline.layers[edge.producer]
            before = rigid_lag(source.profile, profile, edge, transfer)
            start = max(start, rigid_start(source) + (before or 0))
        for reader, edge in problem.readers[layer]:
            after = rigid_lag(profile, plan.profiles[reader], edge, transfer)
            asked += [] if after is None else [after]
        return start + max(asked, default=length(profile))
