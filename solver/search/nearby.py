"""Candidates near the best plan, from which CP-SAT chooses for all layers at once.

A descent changes one layer at a time, two if banks change hands. Here every layer gets some mappings of
the least impact on those around it, for each size that it may have instead, and the mappings that it has in
other good plans; CP-SAT finds the best combination of all of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools
from solver.maxplus.candidates import Candidate
from solver.maxplus.checkpoints import Candidates
from solver.maxplus.through import Remaining, as_candidate
from solver.params import NearbyParams
from solver.schedule.plan import Plan
from solver.stop import Stop, StoppedError
from solver.timing.mapping import Mapping
from solver.timing.profile import Profile


def crossed(plans: Sequence[Plan]) -> Candidates:
    """Return for each layer what it has in any of some plans: the best choice among them crosses these."""
    layers = zip(*(plan.timeline.layers for plan in plans), strict=True)
    return [_once([as_candidate(times) for times in own]) for own in layers]


def _once(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return each mapping and order once."""
    return list({(c.profile.mapping, c.blocks): c for c in reversed(candidates)}.values())


class Nearby:
    """Draws candidates near a plan; every random choice comes from the seed."""

    def __init__(self, pools: Pools, seed: int, params: NearbyParams) -> None:
        self._params = params
        self._pools = pools
        self._random = random.Random(seed)
        self._free = min(params.first, len(pools.problem.layers))

    def adapt(self, proved: bool) -> None:
        """Let more layers draw next time if the best choice was proved, otherwise fewer."""
        free = self._free * 3 // 2 if proved else self._free * 2 // 3
        self._free = min(max(free, self._params.fewest), len(self._pools.problem.layers))

    def candidates(self, plan: Plan, others: Sequence[Plan], stop: Stop) -> Candidates:
        """Return candidates for every layer, its own among them; most layers have no other one.

        Parameters
        ----------
        others : good plans; what layers have in them may go together with what they have in `plan`.
        stop : when to draw no more.
        """
        known = [[as_candidate(times)] for times in plan.timeline.layers]
        remaining = Remaining(self._pools.problem, plan.timeline)
        with suppress(StoppedError):
            for i in self._drawing(plan):
                stop.check()
                known[i] += [as_candidate(other.timeline.layers[i]) for other in others]
                known[i] += self._near(i, remaining, stop)
        return [_once(own) for own in known]

    def _drawing(self, plan: Plan) -> set[int]:
        """Return layers that mostly hang together, one of them on the critical path."""
        network = self._pools.problem.network
        free = {self._random.choice(plan.timeline.critical)}
        while len(free) < self._free:
            near = {j for i in free for j in (*network.producers[i], *network.consumers[i])} - free
            connected = near and self._random.random() < self._params.connected
            rest = near if connected else set(range(len(plan.profiles))) - free
            free.add(self._random.choice(sorted(rest)))
        return free

    def _near(self, layer: int, remaining: Remaining, stop: Stop) -> Iterator[Candidate]:
        """Yield for each number of banks those with which the network ends soonest, all else being equal.

        Left out are numbers of banks with which it does not end sooner than with fewer.
        """
        ranked: dict[int, list[tuple[int, int, Profile]]] = {}
        for number, profile in enumerate(self._drawn(layer, remaining.timeline.layers[layer].profile)):
            stop.check()
            value = remaining.through(layer, profile)
            if value <= self._params.later * remaining.timeline.latency:
                ranked.setdefault(profile.banks, []).append((value, number, profile))
        least = math.inf
        for banks in sorted(ranked):
            best = sorted(ranked[banks])[: self._params.each]
            if best[0][0] < least:
                least = best[0][0]
                yield from (Candidate(profile) for _, _, profile in best)

    def _drawn(self, layer: int, own: Profile) -> list[Profile]:
        """Return the profiles of random mappings that are neither much slower nor much larger."""
        problem, params = self._pools.problem, self._params
        pooled = self._pooled(layer, own)
        mappings: dict[Mapping, None] = dict.fromkeys(pooled)
        for _ in range(params.draws):
            mapping = own.mapping if self._random.random() < params.own else self._random.choice(pooled)
            for _ in range(1 + int(self._random.expovariate(params.change_rate))):
                mapping = allowed_neighbour(problem, layer, mapping, self._random) or mapping
            mappings[mapping] = None
        profiles = [problem.profile(layer, mapping) for mapping in mappings]
        most = self._pools.size(own.banks) + params.larger
        return [p for p in profiles if self._pools.size(p.banks) <= most]

    def _pooled(self, layer: int, own: Profile) -> list[Mapping]:
        sizes, place = self._pools.sizes, self._pools.size(own.banks)
        around = sizes[max(0, place - self._params.sizes) : place + self._params.sizes + 1]
        return [own.mapping, *(p.mapping for shape in around for p in self._pools.close(layer, shape))]
