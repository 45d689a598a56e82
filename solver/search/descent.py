"""Anytime local search over mappings, bank counts and starts, aimed at the critical path.

Late acceptance (Burke and Bykov, "The late acceptance hill-climbing heuristic", EJOR 2017): a change is kept
if it is no worse than the current plan or than the plan some steps ago. When nothing has improved for long,
the search goes on from the best plan or from another way to share out the banks.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from solver.profile import Profile
from solver.schedule import Plan, overlap_shared, overlap_static
from solver.search.layerwise import layerwise
from solver.search.moves import neighbour
from solver.search.sequential import static_choices
from solver.space import Space, shapes
from solver.stop import Stop
from solver.timeline import Timeline

HISTORY = 60
PATIENCE = 1500
WORK_SHARES = (1.0, 0.3, 0.6)


@dataclass(frozen=True, eq=False)
class _State:
    """A plan with what led to it: the priority of the layers and which of them are punctual."""

    plan: Plan
    priority: tuple[int, ...]
    punctual: frozenset[int]

    @property
    def cost(self) -> float:
        """Latency; among equals the plan whose layers end earlier and use fewer banks is better."""
        layers = self.plan.timeline.layers
        ends = sum(layer.end for layer in layers) / len(layers)
        return self.plan.latency + 0.01 * ends


def critical_path(timeline: Timeline) -> list[int]:
    """Return the layers that decide the latency, the last one first: each waited last for the next one."""
    i = max(range(len(timeline.layers)), key=lambda i: timeline.layers[i].end)
    path = []
    while i >= 0:
        path.append(i)
        i = timeline.layers[i].critical
    return path


class Descent:
    """One search; every random choice comes from its seed."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.problem = space.problem
        self.random = random.Random(seed)
        self.shapes = shapes(space.problem.hardware)
        self.static = space.problem.hardware.weights == "static"

    def run(self, start: Plan, stop: Stop, found: Callable[[Plan], None]) -> Plan:
        """Search until told to stop; `found` hears of every better plan. Never worse than `start`."""
        best = current = self._state(start)
        fresh = self._starts(stop)
        history = deque([current.cost] * HISTORY, maxlen=HISTORY)
        idle = 0
        while not stop.step():
            changed = self._change(current)
            idle += 1
            if changed is not None and changed.cost <= max(current.cost, history[0]):
                current = changed
            history.append(current.cost)
            if current.cost < best.cost:
                if current.plan.latency < best.plan.latency:
                    found(current.plan)
                best, idle = current, 0
            if idle > PATIENCE:
                current, idle = next(fresh, best), 0
                history.extend(current.cost * (1 + 0.02 * self.random.random()) for _ in range(HISTORY))
        return best.plan

    def _state(self, plan: Plan) -> _State:
        order = self.problem.network.topological
        return _State(plan, order, frozenset(order))

    def _starts(self, stop: Stop) -> Iterator[_State]:
        """Yield other plans to begin with: the banks shared out by different rules, then a walk."""
        if not self.static:
            return
        for work in WORK_SHARES:
            for profiles in itertools.islice(static_choices(self.space, self.shapes, stop, work), 8):
                plan = overlap_static(self.problem, profiles)
                if plan is not None:
                    yield self._state(layerwise(self.space, plan, stop))
                    break

    def _change(self, state: _State) -> _State | None:
        layers = range(len(self.problem.layers))
        path = critical_path(state.plan.timeline)
        layer = self.random.choice(path if self.random.random() < 0.7 else layers)
        profiles = list(state.plan.profiles)
        kind = self.random.random()
        if kind < 0.1 and not self.static:
            return self._reschedule(state, layer)
        profile = (
            self._resize(profiles[layer], layer) if kind < 0.5 else self._reshape(profiles[layer], layer)
        )
        if profile is None:
            return None
        profiles[layer] = profile
        if self.static and not self._make_room(profiles, layer, path):
            return None
        return self._planned(state, profiles)

    def _planned(self, state: _State, profiles: list[Profile]) -> _State | None:
        if self.static:
            plan = overlap_static(self.problem, profiles, state.plan.timeline)
        else:
            plan = overlap_shared(self.problem, profiles, state.priority, state.punctual, state.plan.timeline)
        return None if plan is None else replace(state, plan=plan)

    def _reshape(self, profile: Profile, layer: int) -> Profile | None:
        """Change one mapping a little."""
        record = self.problem.layers[layer]
        mapping = neighbour(record, profile.mapping, self.problem.hardware, self.random)
        return None if mapping is None else self.problem.profile(layer, mapping)

    def _resize(self, profile: Profile, layer: int) -> Profile | None:
        """Draw another mapping, on a shape of about the same size."""
        size = next(
            (i for i, (c, b) in enumerate(self.shapes) if c * b >= profile.banks), len(self.shapes) - 1
        )
        size = min(max(0, size + self.random.choice((-2, -1, 0, 0, 1, 2))), len(self.shapes) - 1)
        pool = self.space.pool(layer, self.shapes[size])
        if not pool:
            return None
        return pool[min(int(self.random.expovariate(0.1)), len(pool) - 1)]

    def _make_room(self, profiles: list[Profile], grown: int, path: list[int]) -> bool:
        """Shrink other layers, those off the critical path first, until the banks suffice."""
        excess = sum(profile.banks for profile in profiles) - self.problem.hardware.banks
        others = [i for i in range(len(profiles)) if i != grown and profiles[i].banks > 1]
        self.random.shuffle(others)
        others.sort(key=path.__contains__)
        for i in others[:3]:
            if excess <= 0:
                return True
            smaller = [s for s in self.shapes if s[0] * s[1] < profiles[i].banks]
            pool = self.space.pool(i, smaller[-1]) if smaller else ()
            if pool:
                chosen = pool[min(int(self.random.expovariate(0.3)), len(pool) - 1)]
                excess += chosen.banks - profiles[i].banks
                profiles[i] = chosen
        return excess <= 0

    def _reschedule(self, state: _State, layer: int) -> _State | None:
        """Let a layer start early or late, or choose its banks before the layer that chose before it."""
        if self.random.random() < 0.5:
            changed = replace(state, punctual=state.punctual ^ {layer})
        else:
            order = list(state.priority)
            place = order.index(layer)
            if place == 0 or order[place - 1] in self.problem.network.producers[layer]:
                return None
            order[place - 1 : place + 1] = order[place], order[place - 1]
            changed = replace(state, priority=tuple(order))
        return self._planned(changed, list(state.plan.profiles))
