"""Sharing out all banks when each layer keeps its own: all take about equally long and hold up no other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from solver.profile import Profile
from solver.space import Space, position_steps
from solver.stop import Stop

ROUNDS = 3
STEPS = (56, 14, 224, 28, 7, 112)
TILTS = (0.15, 0.0, 0.3)


def balanced(space: Space, stop: Stop) -> Iterator[list[Profile]]:
    """Yield choices of profiles that use no more than all banks, until told to stop.

    They differ in how many steps the layers make along their outputs, so that the next can follow closely,
    and in how much shorter the layers with small outputs, whose followers lag most, are meant to be.
    """
    for steps in STEPS:
        for tilt in TILTS:
            chosen = _Balance(space, steps, tilt).share(stop)
            if chosen is not None:
                yield chosen


class _Balance:
    """One way to share the banks out."""

    def __init__(self, space: Space, steps: int, tilt: float) -> None:
        self.space = space
        self.layers = range(len(space.problem.layers))
        self.banks = space.problem.hardware.banks
        self.positions = [layer.bound("P") * layer.bound("Q") for layer in space.problem.layers]
        self.steps = [min(steps, positions) for positions in self.positions]
        self.share_of_time = [math.pow(n / max(self.positions), tilt) for n in self.positions]

    def share(self, stop: Stop) -> list[Profile] | None:
        """Return a profile for each layer; None if told to stop, or if there are too few banks."""
        work = [
            layer.macs / t for layer, t in zip(self.space.problem.layers, self.share_of_time, strict=True)
        ]
        for _ in range(ROUNDS):
            fair = [self.space.size(max(1, int(self.banks * w / sum(work)))) for w in work]
            chosen: list[tuple[int, Profile]] = []
            for i in self.layers:
                found = None if stop.step() else self._member(i, range(fair[i], len(self.space.sizes)))
                if found is None:
                    return None
                chosen.append(found)
            work = [p.total * p.banks / self.share_of_time[i] for i, (_, p) in enumerate(chosen)]
        return self._give_rest(chosen, stop) if self._take_back(chosen, stop) else None

    def _member(self, layer: int, sizes: Sequence[int]) -> tuple[int, Profile] | None:
        """Return the first size for which there are profiles, with the fastest that makes enough steps."""
        for size in sizes:
            pool = self.space.pool(layer, self.space.sizes[size])
            if pool:
                fine = [p for p in pool if position_steps(p) >= self.steps[layer]]
                return size, fine[0] if fine else max(pool, key=position_steps)
        return None

    def _late(self, chosen: list[tuple[int, Profile]], layer: int) -> float:
        return chosen[layer][1].total / self.share_of_time[layer]

    def _excess(self, chosen: list[tuple[int, Profile]]) -> int:
        return sum(p.banks for _, p in chosen) - self.banks

    def _take_back(self, chosen: list[tuple[int, Profile]], stop: Stop) -> bool:
        """Take banks from the layers that have the most time left, until there are enough."""
        able = set(self.layers)
        while self._excess(chosen) > 0:
            if not able or stop.step():
                return False
            i = min(able, key=lambda i: self._late(chosen, i))
            smaller = self._member(i, range(chosen[i][0] - 1, -1, -1))
            if smaller is None:
                able.discard(i)
            else:
                chosen[i] = smaller
        return True

    def _give_rest(self, chosen: list[tuple[int, Profile]], stop: Stop) -> list[Profile] | None:
        """Give the banks that are left to the layers that take longest."""
        able = set(self.layers)
        while able:
            if stop.step():
                return None
            i = max(able, key=lambda i: self._late(chosen, i))
            before, larger = chosen[i], self._member(i, range(chosen[i][0] + 1, len(self.space.sizes)))
            if larger is not None:
                chosen[i] = larger
            if larger is None or self._excess(chosen) > 0:
                chosen[i] = before
                able.discard(i)
        return [p for _, p in chosen]
