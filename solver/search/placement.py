"""Banks of their own for layers whose arrays of banks may be cut into channels in any way."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from models.network import DIMS
from solver.memory import Cache
from solver.params import PlacementParams
from solver.schedule.banks import Banks, banks_within, left_free, pack
from solver.schedule.channels import filled_channels
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile

MEMORY = 10_000
"""Profiles of cut arrays that are kept at most."""

ARRAY = ("channel", "bank")

PlacedProfiles = tuple[list[Profile], Sequence[Banks]]


class Placement:
    """Places layers, and keeps the profiles of arrays that it has cut, so that they are profiled once."""

    def __init__(
        self, problem: Problem, rng: random.Random, params: PlacementParams = PlacementParams()
    ) -> None:
        self.problem = problem
        self.params = params
        self.random = rng
        self._cut: Cache[tuple[Profile, int], Profile | None] = Cache()
        self._known_cuts: Cache[Profile, list[int]] = Cache()

    def place(self, profiles: Sequence[Profile]) -> PlacedProfiles | None:
        """Return the profiles with banks for each; None if no way was found.

        Where they do not fit as they are, the arrays of some are cut otherwise, into as many banks as before.
        That changes their times if they reduce over banks, or if banks of a channel share inputs.
        """
        banks = pack(self.problem.hardware, profiles, self.problem.given_banks)
        if banks is not None:
            return list(profiles), banks
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
        free = left_free(self.problem.hardware, self.problem.given_banks)
        layers = [(profiles[i].banks, self._cuts(profiles[i]), profiles[i].mapping.channels) for i in order]
        while True:
            filled = filled_channels(free, layers)
            cuts = [
                profiles[i] if len(channels) == own else self.with_channels(i, profiles[i], len(channels))
                for i, channels, (_, _, own) in zip(order, filled, layers, strict=False)
            ]
            wrong = cuts.index(None) if None in cuts else None
            if wrong is None:
                break
            banks, known, own = layers[wrong]
            self._known_cuts[profiles[order[wrong]]] = known = [c for c in known if c != len(filled[wrong])]
            layers[wrong] = banks, known, own
        if len(filled) < len(order):
            return None
        chosen = list(profiles)
        for i, profile in zip(order, cuts, strict=True):
            assert profile is not None
            chosen[i] = profile
        sizes = [profiles[i].banks for i in order]
        given = self.problem.given_banks
        return chosen, banks_within(self.problem.hardware, order, sizes, filled, given)

    def _cuts(self, profile: Profile) -> list[int]:
        """Return the numbers of channels that an array can be spread over evenly, as far as is known."""
        known = self._known_cuts.get(profile)
        if known is None:
            if len(self._known_cuts) > MEMORY:
                self._known_cuts.clear()
            banks, chip = profile.banks, self.problem.hardware
            able = range(1, min(banks, chip.channels) + 1)
            known = [c for c in able if banks % c == 0 and banks // c <= chip.banks_per_channel]
            self._known_cuts[profile] = known
        return known

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
