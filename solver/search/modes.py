"""Modes of a layer, from few banks to the whole chip: mappings each better than any other in something."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from solver.mapspace.neighbours import neighbour
from solver.mapspace.pools import Pools, lag, shapes
from solver.maxplus.lags import rigid_lag
from solver.params import WindowParams
from solver.schedule.plan import Plan
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
        known = [plan.profiles[layer], *self._known.get(layer, ()), *self._pooled[layer]]
        unlike = {profile.mapping: profile for profile in (*self._drawn(layer, known), *reversed(known))}
        self._known[layer] = self._best(layer, unlike.values(), plan)
        pooled = {profile.mapping: profile for profile in (*self._known[layer], *self._pooled[layer])}
        return list(pooled.values())

    def _some(self, layer: int) -> list[Profile]:
        """Return pooled mappings, those that hand on their outputs early among them."""
        hardware = self._pools.problem.hardware
        sizes = [s for s in shapes(hardware) if math.prod(s) * self._params.finest >= hardware.most_banks]
        pooled = [profile for shape in sizes for profile in self._pools.close(layer, shape)]
        best: list[Profile] = []
        for profile in sorted(pooled, key=lambda p: (length(p), p.banks, lag(p), p.rows)):
            share = min(lag(profile), 1.0) * self._params.finer
            if not any(
                p.banks <= profile.banks and lag(p) <= share and p.rows <= self._least(profile) for p in best
            ):
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
                changed = neighbour(problem.layers[layer], mapping, problem.hardware, self._random)
                mapping = changed or mapping
            yield problem.profile(layer, mapping)

    def _best(self, layer: int, profiles: Iterable[Profile], plan: Plan) -> list[Profile]:
        """Leave out what is no better than a faster one in anything, or hardly so.

        Fewer banks are better, and fewer rows where they may be short, and if readers can start earlier.
        """
        kept: list[tuple[int, float, int]] = []
        best = []
        judged = [(length(p), self._readers_start(layer, p, plan), p) for p in profiles]
        for time, then, profile in sorted(judged, key=lambda own: (*own[:2], own[2].banks, own[2].rows)):
            slack = self._params.alike * time
            rows = self._least(profile)
            if not any(b <= profile.banks and t <= then + slack and r <= rows for b, t, r in kept):
                kept.append((profile.banks, then, profile.rows))
                best.append(profile)
        return best

    def _readers_start(self, layer: int, profile: Profile, plan: Plan) -> int:
        """Return when all readers of a layer could start if it had a mapping; when it ended without any."""
        problem, transfer = self._pools.problem, self._pools.problem.hardware.cycles.transfer
        start, asked = 0, []
        for edge in problem.edges[layer]:
            source = plan.timeline.layers[edge.producer]
            before = rigid_lag(source.profile, profile, edge, transfer)
            start = max(start, rigid_start(source) + (before or 0))
        for reader, edge in problem.readers[layer]:
            after = rigid_lag(profile, plan.profiles[reader], edge, transfer)
            asked += [] if after is None else [after]
        return start + max(asked, default=length(profile))
