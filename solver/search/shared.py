"""Moves for shared weights: mappings, bank counts, and when layers choose their banks and start."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools, shapes
from solver.params import MoveParams
from solver.schedule.goal import Goal
from solver.schedule.pace import apart
from solver.schedule.plan import Plan, by_start, overlap_shared
from solver.schedule.transform import downstream, movable, transform
from solver.search.state import State, decisive_layers
from solver.search.static import StaticMoves
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from solver.timing.profile import Profile


@dataclass(frozen=True, eq=False)
class SharedState(State):
    """A plan with what led to it.

    Attributes
    ----------
    priority : the order in which the layers choose their banks.
    punctual : layers that start as late as they can without ending later.
    eager : layers that take their blocks as they become ready, where another order is allowed.
    """

    priority: tuple[int, ...]
    punctual: frozenset[int]
    eager: frozenset[int]


class SharedMoves:
    """See `Moves`."""

    attention = INFINITY

    def __init__(self, pools: Pools, rng: random.Random, params: MoveParams = MoveParams()) -> None:
        self.params = params
        self.patience = params.shared.patience
        self.pools = pools
        self.problem = pools.problem
        self.goal = Goal(pools.problem)
        self.random = rng
        self.shapes = shapes(pools.problem.hardware)
        self._apart = StaticMoves(pools, rng, params)
        self._stalled = False

    def history(self, restarts: int) -> int:
        """Return how many steps back a change is compared with."""
        self._stalled = restarts > 0
        return self.params.history

    def state(self, plan: Plan) -> SharedState:
        """Return the state to go on from with a plan."""
        order = by_start(self.problem, plan)
        eager = frozenset(i for i, own in enumerate(plan.orders) if own is not None)
        return SharedState(plan, self.goal.cost(plan.timeline, plan.banks), order, frozenset(order), eager)

    def starts(self, stop: Stop) -> Iterator[SharedState]:
        """Yield nothing: the plan without overlap is hard to beat."""
        return iter(())

    def afar(self, state: SharedState, stop: Stop) -> SharedState | None:
        """Return None: searches with shared weights begin anew near by."""
        return None

    def change(self, state: SharedState, limit: float) -> SharedState | None:
        """Return a state one move away that costs no more than the limit, or None if the move led nowhere."""
        if self._keeps_apart(state) and self.random.random() < self.params.shared.apart:
            kept = self._apart.change(state, limit)
            return None if kept is None else self.state(kept.plan)
        path = decisive_layers(self.goal, state.plan.timeline, self.random, self.params)
        params, critical = self.params.shared, self.random.random() < self.params.critical
        layer = self.random.choice(path if critical else range(len(self.problem.layers)))
        own = state.plan.profiles[layer]
        if movable(own) and self.random.random() < self.params.reorderings:
            changed = self._reordered(state, layer)
        elif (kind := self.random.random()) < params.reschedule:
            changed = self._reschedule(state, layer)
        elif kind > 1 - params.together:
            changed = self._together(state, layer)
        else:
            resize = kind < params.reschedule + params.resize
            profile = self._resize(own, layer) if resize else self._reshape(own, layer)
            place = state.priority.index(layer)
            changed = None if profile is None else self._planned(state, {layer: profile}, place)
        return None if changed is None or changed.cost > limit else changed

    def _keeps_apart(self, state: SharedState) -> bool:
        """Whether all layers have banks of their own, and these moves are better for that."""
        few = sum(p.banks for p in state.plan.profiles) <= self.problem.hardware.banks
        return few and self.goal.objective.plain and apart(state.plan)

    def _reordered(self, state: SharedState, layer: int) -> SharedState | None:
        """Let a layer, perhaps with all after it, take its blocks as they become ready, or by its loops."""
        layers = {layer} if self.random.random() < self.params.alone else downstream(self.problem, layer)
        back = layer in state.eager
        eager = state.eager - layers if back else state.eager | layers
        changed = self._planned(replace(state, eager=eager), {}, 0)
        if changed is None or back or self._stalled or changed.cost <= self.params.worth * state.cost:
            return changed
        return None

    def _planned(self, state: SharedState, changes: dict[int, Profile], since: int) -> SharedState | None:
        """Place the layers from a place in the line of those that choose on; the ones before stay."""
        profiles = list(state.plan.profiles)
        for i, profile in changes.items():
            profiles[i] = profile
        kept = 0 if state.eager else since
        plan = overlap_shared(self.problem, profiles, state.priority, state.punctual, state.plan, kept)
        if plan is not None and state.eager:
            plan = transform(self.problem, plan, state.eager)
        if plan is None:
            return None
        return replace(state, plan=plan, cost=self.goal.cost(plan.timeline, plan.banks))

    def _reshape(self, profile: Profile, layer: int) -> Profile | None:
        """Change one mapping a little."""
        mapping = allowed_neighbour(self.problem, layer, profile.mapping, self.random)
        return None if mapping is None else self.problem.profile(layer, mapping)

    def _resize(self, profile: Profile, layer: int) -> Profile | None:
        """Draw another mapping, on a shape of about the same size."""
        size = next(
            (i for i, (c, b) in enumerate(self.shapes) if c * b >= profile.banks), len(self.shapes) - 1
        )
        size = min(max(0, size + self.random.choice(self.params.shared.sizes)), len(self.shapes) - 1)
        pool = self.pools.pool(layer, self.shapes[size])
        if not pool:
            return None
        if self.problem.objective.weighs_energy and self.random.random() < self.params.otherwise:
            pool = tuple(sorted(pool, key=self.goal.energy))
        return pool[min(int(self.random.expovariate(self.params.shared.rank_rate)), len(pool) - 1)]

    def _together(self, state: SharedState, layer: int) -> SharedState | None:
        """Put a layer and some that start next side by side, with banks in proportion to their work."""
        params, place = self.params.shared, state.priority.index(layer)
        group = state.priority[place : place + self.random.choice(params.groups)]
        work = [state.plan.profiles[i].total * state.plan.profiles[i].banks for i in group]
        most = self.problem.hardware.most_banks
        changes = {}
        for i, own in zip(group, work, strict=True):
            shape = max(
                (s for s in self.shapes if math.prod(s) * sum(work) <= most * own),
                key=math.prod,
                default=None,
            )
            pool = () if shape is None else self.pools.close(i, shape)
            if not pool:
                return None
            changes[i] = self.random.choice(pool)
        return self._planned(replace(state, punctual=state.punctual | set(group)), changes, place)

    def _reschedule(self, state: SharedState, layer: int) -> SharedState | None:
        """Let a layer start early or late, or choose its banks before the layer that chose before it."""
        place = state.priority.index(layer)
        if self.random.random() < self.params.shared.punctual:
            changed = replace(state, punctual=state.punctual ^ {layer})
        else:
            order = list(state.priority)
            if place == 0 or order[place - 1] in self.problem.network.producers[layer]:
                return None
            order[place - 1 : place + 1] = order[place], order[place - 1]
            place -= 1
            changed = replace(state, priority=tuple(order))
        return self._planned(changed, {}, place)
