"""Moves for static weights, where every layer keeps banks of its own: mappings and exchanges of banks."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools
from solver.params import MappingDraw, MoveParams
from solver.schedule.goal import Goal
from solver.schedule.pace import longest_held, paced, tightest
from solver.schedule.plan import Plan
from solver.schedule.transform import downstream, movable, restore, transform
from solver.search.balance import Balance
from solver.search.impact import impact
from solver.search.placement import Placement
from solver.search.state import State, decisive_layers
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from solver.timing.profile import Profile
from solver.timing.timeline import Order, Timeline, evaluate


class StaticMoves:
    """See `Moves`."""

    attention = INFINITY

    def __init__(self, pools: Pools, rng: random.Random, params: MoveParams = MoveParams()) -> None:
        self.params = params
        self.patience = params.static.patience
        self.pools = pools
        self.problem = pools.problem
        self.goal = Goal(pools.problem)
        self.random = rng
        self.placement = Placement(pools.problem, rng, params.placement)
        self._even: dict[tuple[float, float], list[Profile] | None] = {}
        self._stalled = False
        self._ranked: dict[tuple[int, int], list[Profile]] = {}

    def history(self, restarts: int) -> int:
        """Return how many steps back a change is compared with."""
        self._stalled = restarts > 0
        return self.params.history

    def state(self, plan: Plan) -> State:
        """Return the state to go on from with a plan."""
        return State(plan, self.goal.cost(plan.timeline))

    def starts(self, stop: Stop) -> Iterator[State]:
        """Yield plans in which the banks are shared out evenly, by different rules."""
        balance = self.params.balance
        equal = [(0.0, 0.0)] if self.problem.objective.streams else []
        for choice, sharing in [*equal, *balance.weights]:
            for part in balance.parts:
                if stop.reached():
                    return
                banks = int(self.problem.hardware.banks * part)
                profiles = Balance(self.pools, banks, choice, sharing, balance).share(stop)
                state = profiles and self._placed(self._evaluate(profiles, None), math.inf)
                if state:
                    yield state
                    break

    def afar(self, state: State, stop: Stop) -> State | None:
        """Return a state in which a part of the network is as another way to share the banks has it."""
        balance = self.params.balance
        rule = self.random.choice(balance.weights)
        even = Balance(self.pools, self.problem.hardware.banks, *rule, balance)
        if rule not in self._even:
            self._even[rule] = even.share(stop)
        others = self._even[rule]
        if others is None:
            return None
        region = self._region()
        mixed = [others[i] if i in region else own for i, own in enumerate(state.plan.profiles)]
        profiles = even.fitted(mixed, stop)
        return None if profiles is None else self._placed(self._evaluate(profiles, None), math.inf)

    def _region(self) -> set[int]:
        """Return some layers that hang together, up to all but one."""
        network, most = self.problem.network, self.random.randrange(1, max(len(self.problem.layers), 2))
        found = {self.random.randrange(len(self.problem.layers))}
        while len(found) < most:
            near = {j for i in found for j in (*network.producers[i], *network.consumers[i])} - found
            found.add(self.random.choice(sorted(near or set(range(len(self.problem.layers))) - found)))
        return found

    def change(self, state: State, limit: float) -> State | None:
        """Return a state one move away that costs no more than the limit, or None if the move led nowhere."""
        timeline = state.plan.timeline
        path = decisive_layers(self.goal, timeline, self.random, self.params)
        layer = self._layer(path)
        if self._reorders(timeline.layers[layer].profile):
            return self._reordered(state, layer, limit)
        profile = self._drawn(layer, timeline)
        if profile is None:
            return None
        changed = self._with(layer, profile, timeline, limit)
        if changed is None:
            return None
        profiles = changed.profiles
        excess = sum(p.banks for p in profiles) - self.problem.hardware.banks
        if excess <= 0:
            return self._placed(changed, limit)
        able = [i for i, p in enumerate(profiles) if i != layer and p.banks > excess]
        for i in self._donors(able, path):
            less = self.ranked(i, self.pools.size(profiles[i].banks - excess), changed)
            if less:
                exchanged = self._with(i, less[0], changed, limit)
                placed = None if exchanged is None else self._placed(exchanged, limit)
                if placed is not None:
                    return placed
        return None

    def _layer(self, path: Sequence[int]) -> int:
        """Return a layer to change, mostly one of those that are decisive."""
        critical = self.random.random() < self.params.critical
        return self.random.choice(path if critical else range(len(self.problem.layers)))

    def _reorders(self, profile: Profile) -> bool:
        """Whether to change the order of a layer's blocks."""
        return movable(profile) and self.random.random() < self.params.reorderings

    def _donors(self, able: list[int], path: list[int]) -> list[int]:
        """Return a few layers to take banks from, at random, half of them off the critical path."""
        donors = self.params.static.donors
        self.random.shuffle(able)
        chosen = sorted(able, key=path.__contains__)[: donors // 2]
        return chosen + [i for i in able if i not in chosen][: donors - len(chosen)]

    def _reordered(self, state: State, layer: int, limit: float) -> State | None:
        """Let a layer, perhaps with all after it, take its blocks as they become ready, or by its loops."""
        back = state.plan.orders[layer] is not None and self.random.random() < self.params.restored
        layers = {layer} if self.random.random() < self.params.alone else downstream(self.problem, layer)
        changed = self.state((restore if back else transform)(self.problem, state.plan, layers))
        most = limit if back or self._stalled else self.params.worth * state.cost
        return changed if changed.cost <= most else None

    def _evaluate(self, profiles: Sequence[Profile], previous: Timeline | None) -> Timeline:
        """Return when all layers run, in the orders that they had unless their blocks are others."""
        orders: list[Order | None] | None = None
        if previous is not None and previous.ordered:
            pairs = zip(previous.layers, profiles, strict=True)
            orders = [old.order_under(profile) for old, profile in pairs]
        if self.problem.objective.streams:
            return self._paced(profiles, orders or [None] * len(profiles), previous)
        return evaluate(self.problem, profiles, self.problem.earliest, orders, previous)

    def _paced(
        self, profiles: Sequence[Profile], orders: Sequence[Order | None], previous: Timeline | None
    ) -> Timeline:
        """Return the best of the times at the least interval, at the one from before and at the limit."""
        objective, longest = self.problem.objective, {tightest(profiles)}
        if previous is not None and objective.inferences <= len(profiles):
            longest.add(longest_held(previous))
        if objective.interval_at_most is not None:
            longest.add(objective.interval_at_most)
        tried = [paced(self.problem, profiles, orders, own) for own in sorted(longest)]
        return min(tried, key=self.goal.cost)

    def _with(self, layer: int, profile: Profile, timeline: Timeline, limit: float) -> Timeline | None:
        """Return a timeline in which one layer has another profile; None if it costs more than the limit."""
        changed = self._replaced(layer, profile, timeline)
        return changed if self.goal.cost(changed) <= limit else None

    def _replaced(self, layer: int, profile: Profile, timeline: Timeline) -> Timeline:
        """Return a timeline in which one layer has another profile."""
        profiles = timeline.profiles
        profiles[layer] = profile
        return self._evaluate(profiles, timeline)

    def _placed(self, timeline: Timeline, limit: float) -> State | None:
        """Find banks for all layers; None if there is no way or it costs more than the limit."""
        if self.goal.cost(timeline) > limit:
            return None
        own = timeline.profiles
        placed = self.placement.place(own)
        if placed is None:
            return None
        profiles, banks = placed
        # Profiles are equal if they are the same.
        state = self.state(Plan(timeline if profiles == own else self._evaluate(profiles, timeline), banks))
        return state if state.cost <= limit else None

    def _drawn(self, layer: int, timeline: Timeline) -> Profile | None:
        """Return another profile for a layer: a neighbour of its own, or one of the best of some size."""
        own, draw = timeline.layers[layer].profile, self.params.static.draw
        kind = self.random.random()
        if kind < draw.neighbours:
            mapping = allowed_neighbour(self.problem, layer, own.mapping, self.random)
            return None if mapping is None else self.problem.profile(layer, mapping)
        size = self.pools.size(own.banks) + self._growth(kind, draw)
        if not 0 <= size < len(self.pools.sizes):
            return None
        options = [p for p in self.ranked(layer, size, timeline) if p is not own]
        return options[self._rank(draw, len(options))] if options else None

    def _growth(self, kind: float, draw: MappingDraw) -> int:
        """Return by how many sizes a layer becomes larger, given the kind of the draw, from 0 to 1."""
        if kind < draw.neighbours + draw.same_size:
            return 0
        if kind < draw.neighbours + draw.same_size + draw.smaller:
            return -1
        return int(self.random.triangular(1, draw.growth, 1))

    def _rank(self, draw: MappingDraw, count: int) -> int:
        """Return the place of the one that is taken of so many options, the best first."""
        return min(int(self.random.expovariate(draw.rank_rate)), count - 1)

    def ranked(self, layer: int, size: int, timeline: Timeline) -> list[Profile]:
        """Return the best few profiles of a size for a layer among what it reads and what reads it.

        They are kept for a while, although other profiles may come to be around it.
        """
        key = layer, size
        if key not in self._ranked or self.random.random() < self.params.static.renewal:
            close = self.pools.close(layer, self.pools.sizes[size])
            by_impact = sorted(close, key=lambda p: impact(self.problem, layer, p, timeline))
            if self.problem.objective.weighs_energy:
                by_energy = sorted(close, key=self.goal.energy)
                by_impact = list(dict.fromkeys(itertools.chain(*zip(by_impact, by_energy, strict=True))))
            self._ranked[key] = by_impact[: self.params.static.ranked]
        return self._ranked[key]
