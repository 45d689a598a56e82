"""Banks of their own for layers whose arrays of banks may be cut into channels in any way."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS
from solver.memory import Cache
from solver.params import PlacementParams
from solver.schedule.banks import Banks, beside, left_free, pack
from solver.schedule.channels import fullest_channels
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile

MEMORY = 10_000
"""Profiles of cut arrays that are kept at most."""

ARRAY = ("channel", "bank")

PlacedProfiles = tuple[list[Profile], tuple[Banks, ...]]


class Placement:
    """Places layers, and keeps the profiles of arrays that it has cut, so that they are profiled once."""

    def __init__(
        self, problem: Problem, rng: random.Random, params: PlacementParams = PlacementParams()
    ) -> None:
        self.problem = problem
        self.params = params
        self.random = rng
        self._cut: Cache[tuple[Profile, int], Profile | None] = Cache()

    def place(self, profiles: Sequence[Profile]) -> PlacedProfiles | None:
        """Return the profiles with banks for each; None if no way was found.

        Where they do not fit as they are, the arrays of some are cut otherwise, into as many banks as before.
        That changes their times if they reduce over banks, or if banks of a channel share inputs.
        """
        banks = pack(self.problem.hardware, profiles, self.problem.given_banks)
        if banks is not None:
            return list(profiles), tuple(banks)
        sizes = [p.banks for p in profiles]
        for attempt in range(self.params.tries if sum(sizes) <= self.problem.hardware.banks else 0):
            about = [-size * (1 + attempt * self.params.noise * self.random.random()) for size in sizes]
            # What has one bank fits anywhere: it comes last.
            free = [i for i in range(len(sizes)) if i not in self.problem.given_banks]
            order = sorted(free, key=lambda i: (sizes[i] == 1, about[i]))
            placed = self._greedy(profiles, order)
            if placed is not None:
                return placed
        return None

    def _greedy(self, profiles: Sequence[Profile], order: Sequence[int]) -> PlacedProfiles | None:
        """Place the layers in an order, each with the cut that leaves the fewest channels half used."""
        width = self.problem.hardware.banks_per_channel
        free = left_free(self.problem.hardware, self.problem.given_banks)
        used = [0] * len(free)
        chosen = list(profiles)
        places: dict[int, Banks] = {}
        for i in order:
            best = self._fullest(free, i, profiles[i])
            if best is None:
                return None
            chosen[i], channels = best
            banks = profiles[i].banks // len(channels)
            first = np.array([c * width + used[c] for c in channels])
            places[i] = (first[:, None] + np.arange(banks)).ravel()
            for c in channels:
                free[c] -= banks
                used[c] += banks
        return chosen, tuple(beside(self.problem.hardware, places, self.problem.given_banks))

    def _fullest(self, free: Sequence[int], layer: int, profile: Profile) -> tuple[Profile, list[int]] | None:
        """Return the cut of a layer that fills channels best, and these; None if there is no room for any."""
        cuts = _cuts(profile.banks, self.problem.hardware)
        for channels in fullest_channels(free, profile.banks, cuts, profile.mapping.channels):
            cut = self.with_channels(layer, profile, len(channels))
            if cut is not None:
                return cut, channels
        return None

    def with_channels(self, layer: int, profile: Profile, channels: int) -> Profile | None:
        """Return a profile with its array cut into so many channels, a divisor of its number of banks.

        None if that is not valid: dims may not be spread over each level, and tiles take other room.
        """
        if profile.mapping.channels == channels:
            return profile
        if len(self._cut) > MEMORY:
            self._cut.clear()
        try:
            return self._cut[profile, channels]
        except KeyError:
            mapping = cut(profile.mapping, channels)
            fits = self.problem.permits(layer, mapping)
            found = self._cut[profile, channels] = self.problem.profile(layer, mapping) if fits else None
            return found


@lru_cache(maxsize=2**12)
def _cuts(banks: int, hardware: Hardware) -> list[int]:
    """Return the numbers of channels that so many banks can be spread over evenly."""
    most = min(banks, hardware.channels)
    return [c for c in range(1, most + 1) if banks % c == 0 and banks // c <= hardware.banks_per_channel]


def cut(mapping: Mapping, channels: int) -> Mapping:
    """Spread the array of a mapping over so many channels, a divisor of its number of banks."""
    array = [loop for loop in mapping.loops if loop.kind in ARRAY]
    others = [loop for loop in mapping.loops if loop.kind not in ARRAY]
    place = mapping.loops.index(array[0])
    outer, inner = [], []
    for dim in DIMS:
        bound = math.prod(loop.bound for loop in array if loop.dim == dim)
        part = math.gcd(bound, channels)
        channels //= part
        outer.append(Loop(dim, part, "channel"))
        inner.append(Loop(dim, bound // part, "bank"))
    return replace(mapping, loops=(*others[:place], *outer, *inner, *others[place:]))
