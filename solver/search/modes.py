"""Modes of a layer, from few banks to the whole chip: mappings each better than any other in something."""

from __future__ import annotations

import math

from solver.mapspace.pools import Pools, lag, shapes
from solver.params import WindowParams
from solver.timing.profile import Profile


class Modes:
    """The modes of the layers of a problem, made when they are first asked for."""

    def __init__(self, pools: Pools, params: WindowParams) -> None:
        self._pools, self._params = pools, params
        self._known: dict[int, tuple[Profile, ...]] = {}

    def of(self, layer: int) -> tuple[Profile, ...]:
        """Return the modes of a layer, the fastest first.

        Raises
        ------
        StoppedError
            if it is time to stop before all of them are there.
        """
        if layer not in self._known:
            most = self._pools.problem.hardware.most_banks
            sizes = [
                s for s in shapes(self._pools.problem.hardware) if math.prod(s) * self._params.finest >= most
            ]
            pooled = [profile for shape in sizes for profile in self._pools.close(layer, shape)]
            self._known[layer] = self._best(pooled)
        return self._known[layer]

    def _best(self, profiles: list[Profile]) -> tuple[Profile, ...]:
        """Leave out what is worse than a faster one in everything, or about as good.

        Fewer banks are better, as are outputs that come early, and fewer rows where they may be short.
        """
        hardware = self._pools.problem.hardware
        share = hardware.rows_per_bank
        if hardware.weights == "shared":
            share //= len(self._pools.problem.layers)
        kept: list[tuple[int, float, int]] = []
        best = []
        for profile in sorted(profiles, key=lambda p: (p.total, p.banks, p.rows)):
            own = profile.banks, min(lag(profile), 1.0), max(profile.rows, share)
            if not any(b <= own[0] and d <= self._params.finer * own[1] and r <= own[2] for b, d, r in kept):
                kept.append(own)
                best.append(profile)
        return tuple(best)
