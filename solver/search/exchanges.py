"""Moves for static weights that are weighed exactly before they are made: a mapping, or banks for a mapping.

What a change of one layer does to the whole network is looked up (`Remaining`), much faster than all layers
are timed. So a move may be the best of many: of random changes of a mapping, of the mappings of some size, or
of the layers that could give banks away.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools
from solver.maxplus.through import Remaining
from solver.params import MoveParams
from solver.schedule.plan import Plan
from solver.search.state import State
from solver.search.static import StaticMoves
from solver.timing.mapping import Mapping
from solver.timing.profile import Profile
from solver.timing.timeline import Timeline

Weighed = tuple[int, Profile]
"""A profile and the latency that it leads to, or that minus the one that it came from."""


class Exchanges(StaticMoves):
    """See `Moves`."""

    def __init__(self, pools: Pools, rng: random.Random, params: MoveParams = MoveParams()) -> None:
        super().__init__(pools, rng, params)
        self.attention = params.exchange.attention
        self._remaining: deque[Remaining] = deque(maxlen=2)
        self._elite: dict[tuple[int, int], dict[Mapping, Profile]] = {}
        self._costs: dict[tuple[int, int], Weighed] = {}

    def history(self, restarts: int) -> int:
        """Return how many steps back a change is compared with: few until that leads nowhere, then more."""
        self._stalled = restarts > 0
        return min(self.params.exchange.shortest << min(restarts, 10), self.params.exchange.longest)

    def change(self, state: State, limit: float) -> State | None:
        """Return a state one move away that costs no more than the limit, or None if the move led nowhere."""
        if self.random.random() < self.params.exchange.unweighed:
            return super().change(state, limit)
        timeline = state.plan.timeline
        layer = self._layer(timeline.critical)
        if self._reorders(timeline.layers[layer].profile):
            return self._reordered(state, layer, limit)
        remaining = self._remaining_of(timeline)
        value, profile = self._another(layer, remaining, limit)
        if profile is None or value > limit:
            return None
        if profile.banks == timeline.layers[layer].profile.banks:
            return self._instead(state, layer, profile, limit)
        changed = self._replaced(layer, profile, timeline)
        if sum(times.profile.banks for times in changed.layers) <= self.problem.hardware.banks:
            return self._placed(changed, limit)
        return self._exchanged(layer, changed, remaining, limit)

    def _remaining_of(self, timeline: Timeline) -> Remaining:
        for remaining in self._remaining:
            if remaining.timeline is timeline:
                return remaining
        self._remaining.append(
            Remaining(self.problem, timeline, self._remaining[-1] if self._remaining else None)
        )
        return self._remaining[-1]

    def _instead(self, state: State, layer: int, profile: Profile, limit: float) -> State | None:
        """Give a layer a mapping of as many banks, cut so that it takes the ones that it has."""
        timeline = state.plan.timeline
        own = timeline.layers[layer].profile.mapping
        cut = self.placement.with_channels(layer, profile, own.channels)
        if cut is None:
            return None
        changed = self.state(Plan(self._replaced(layer, cut, timeline), state.plan.banks))
        return changed if changed.cost <= limit else None

    def _exchanged(self, layer: int, changed: Timeline, remaining: Remaining, limit: float) -> State | None:
        """Let the layer that can do so at the least cost give away the banks that are too many."""
        profiles = changed.profiles
        excess = sum(p.banks for p in profiles) - self.problem.hardware.banks
        able = [i for i, p in enumerate(profiles) if i != layer and p.banks > excess]
        smaller = self._offers({i: self.pools.size(profiles[i].banks - excess) for i in able}, remaining)
        cheapest = sorted(smaller, key=lambda i: smaller[i][0])
        after = self._remaining_of(changed)
        weighed = sorted(
            (after.through(i, smaller[i][1]), i) for i in cheapest[: self.params.exchange.givers]
        )
        for value, i in weighed[: self.params.exchange.placed]:
            if value > limit:
                break
            placed = self._placed(self._replaced(i, smaller[i][1], changed), limit)
            if placed is not None:
                return placed
        return None

    def _offers(self, sizes: dict[int, int], remaining: Remaining) -> dict[int, Weighed]:
        """Return what smaller sizes cost some of the layers, mostly of those that have been asked before."""
        asked = list(sizes.items())
        self.random.shuffle(asked)
        asked.sort(key=lambda key: key not in self._costs)
        known = sum(key in self._costs for key in asked)
        most = min(self.params.exchange.asked, known + self.params.exchange.fresh)
        costs = {i: self._cost(i, size, remaining) for i, size in asked[:most]}
        return {i: cost for i, cost in costs.items() if cost is not None}

    def _cost(self, layer: int, size: int, remaining: Remaining) -> Weighed | None:
        """Return the least that a size costs a layer, and the profile; this may be out of date."""
        key = layer, size
        if key not in self._costs or self.random.random() < self.params.exchange.renewal:
            weighed = self._weighed(layer, size, remaining)
            if not weighed:
                return None
            self._costs[key] = weighed[0][0] - remaining.timeline.latency, weighed[0][1]
        return self._costs[key]

    def _weighed(self, layer: int, size: int, remaining: Remaining) -> list[Weighed]:
        """Return the latency with each profile of a size, the best first."""
        close = self.pools.close(layer, self.pools.sizes[size])
        options = [*close, *self._elite.get((layer, size), {}).values()]
        return sorted(((remaining.through(layer, p), p) for p in options), key=_value)

    def _another(self, layer: int, remaining: Remaining, limit: float) -> tuple[int, Profile | None]:
        """Return a profile of a layer, other than its own, and the latency with it."""
        own, draw = remaining.timeline.layers[layer].profile, self.params.exchange.draw
        kind = self.random.random()
        if kind < draw.neighbours:
            weighed = self._changed(layer, own, remaining, limit)
            return min(weighed, key=_value, default=(0, None))
        size = self.pools.size(own.banks) + self._growth(kind, draw)
        if not 0 <= size < len(self.pools.sizes):
            return 0, None
        weighed = [x for x in self._weighed(layer, size, remaining) if x[1] is not own]
        return weighed[self._rank(draw, len(weighed))] if weighed else (0, None)

    def _changed(self, layer: int, own: Profile, remaining: Remaining, limit: float) -> list[Weighed]:
        """Return the latency with some random changes of a mapping; the good ones join the elite."""
        weighed = [(remaining.through(layer, p), p) for p in self._random_changes(layer, own)]
        for value, profile in weighed:
            if value <= limit:
                elite = self._elite.setdefault((layer, self.pools.size(profile.banks)), {})
                elite[profile.mapping] = profile
                if len(elite) > self.params.exchange.elite:
                    del elite[next(iter(elite))]
        return weighed

    def _random_changes(self, layer: int, own: Profile) -> Iterator[Profile]:
        params = self.params.exchange
        for _ in range(params.changes):
            mapping = own.mapping
            for _ in range(1 + int(self.random.expovariate(params.change_rate))):
                mapping = allowed_neighbour(self.problem, layer, mapping, self.random) or mapping
            if mapping != own.mapping and mapping.banks <= own.banks + params.larger:
                yield self.problem.profile(layer, mapping)


def _value(weighed: Weighed) -> int:
    return weighed[0]
