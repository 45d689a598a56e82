"""Which candidates CP-SAT is given next: those near the best plan, of some layers or of all."""

from __future__ import annotations

import random
from collections.abc import Iterable

from solver.cpsat.candidates import Candidate
from solver.cpsat.checkpoints import Candidates
from solver.profile import Profile
from solver.schedule import Plan
from solver.search.moves import neighbour
from solver.search.state import critical_path
from solver.space import Shape, Space, shapes

FREE = 3
"""Layers that change together in one neighbourhood."""

NEAR = 6
"""Shapes around that of a layer from which its candidates are drawn."""

MOVES = 12
"""Random changes of a layer's own mapping among its candidates."""

OPTIONS = 60
"""Candidates of each layer that changes."""

POOLED = 12
"""Candidates of each layer if all may change."""


class Neighbourhoods:
    """Draws candidates near a plan; every random choice comes from the seed."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._random = random.Random(seed)
        self._shapes = shapes(space.problem.hardware)

    def some(self, plan: Plan) -> tuple[list[int], Candidates]:
        """Return layers that hang together, one of them on the critical path, and candidates for them."""
        network = self._space.problem.network
        free = {self._random.choice(critical_path(plan.timeline))}
        while len(free) < min(FREE, len(plan.profiles)):
            near = {j for i in free for j in (*network.producers[i], *network.consumers[i])} - free
            others = sorted(near) if near and self._random.random() < 0.7 else range(len(plan.profiles))
            free.add(self._random.choice(list(others)))
        candidates = [
            self._candidates(i, profile, OPTIONS) if i in free else []
            for i, profile in enumerate(plan.profiles)
        ]
        return sorted(free), candidates

    def all(self, plan: Plan) -> Candidates:
        """Return a few candidates for every layer, its own among them."""
        return [self._candidates(i, profile, POOLED) for i, profile in enumerate(plan.profiles)]

    def _candidates(self, layer: int, profile: Profile, most: int) -> list[Candidate]:
        problem = self._space.problem
        pooled = [p for shape in self._near(profile) for p in self._space.pool(layer, shape)]
        moved = (
            neighbour(problem.layers[layer], profile.mapping, problem.hardware, self._random)
            for _ in range(MOVES)
        )
        own = [problem.profile(layer, mapping) for mapping in moved if mapping is not None]
        drawn = self._random.sample(pooled, min(max(most - len(own) - 1, most // 2), len(pooled)))
        return _different([profile, *drawn, *own])[:most]

    def _near(self, profile: Profile) -> list[Shape]:
        """Return the shapes with about as many banks."""
        return sorted(self._shapes, key=lambda shape: abs(shape[0] * shape[1] - profile.banks))[:NEAR]


def _different(profiles: Iterable[Profile]) -> list[Candidate]:
    return [Candidate(p) for p in {profile.mapping: profile for profile in profiles}.values()]
