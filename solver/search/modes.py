"""Modes of a layer, from few banks to the whole chip: mappings each better than any other in something."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from solver.mapspace.neighbours import neighbour
from solver.mapspace.pools import Pools, lag, shapes
from solver.params import WindowParams
from solver.timing.profile import Profile


def length(profile: Profile) -> int:
    """Return for how long a layer holds its banks if it does not wait."""
    return profile.lead + profile.last_finish


class Modes:
    """The modes of the layers of a problem: pooled ones at first, to which random changes of them are added."""

    def __init__(self, pools: Pools, rng: random.Random, params: WindowParams) -> None:
        self._pools, self._random, self._params = pools, rng, params
        self._known: dict[int, list[Profile]] = {}

    def of(self, layer: int, own: Profile) -> list[Profile]:
        """Return the modes of a layer, the fastest first, after a few more have been drawn.

        Parameters
        ----------
        own : the mapping that it has now.

        Raises
        ------
        StoppedError
            if it is time to stop before all of them are there.
        """
        known = self._known[layer] if layer in self._known else self._best(self._pooled(layer))
        self._known[layer] = self._best([own, *known, *self._drawn(layer, [own, *known])])
        return self._known[layer]

    def _pooled(self, layer: int) -> Iterable[Profile]:
        hardware = self._pools.problem.hardware
        for shape in shapes(hardware):
            if math.prod(shape) * self._params.finest >= hardware.most_banks:
                yield from self._pools.close(layer, shape)

    def _drawn(self, layer: int, known: list[Profile]) -> Iterable[Profile]:
        """Yield random changes of known modes."""
        problem = self._pools.problem
        for _ in range(self._params.draws):
            mapping = self._random.choice(known).mapping
            for _ in range(1 + int(self._random.expovariate(self._params.change_rate))):
                changed = neighbour(problem.layers[layer], mapping, problem.hardware, self._random)
                mapping = changed or mapping
            yield problem.profile(layer, mapping)

    def _best(self, profiles: Iterable[Profile]) -> list[Profile]:
        """Leave out what is no better than a faster one in anything, or hardly so.

        Fewer banks are better, as are outputs that come early, and fewer rows where they may be short.
        """
        hardware = self._pools.problem.hardware
        share = hardware.rows_per_bank
        if hardware.weights == "shared":
            share //= len(self._pools.problem.layers)
        kept: list[tuple[int, float, int]] = []
        best = []
        for profile in sorted(profiles, key=lambda p: (length(p), p.banks, lag(p), p.rows)):
            own = profile.banks, min(lag(profile), 1.0), max(profile.rows, share)
            if not any(b <= own[0] and d <= self._params.finer * own[1] and r <= own[2] for b, d, r in kept):
                kept.append(own)
                best.append(profile)
        return best
