"""Which banks each layer is given: a shape of channels x banks, from banks that are free while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from solver.timing.profile import Profile

Banks = npt.NDArray[np.int64]

PACKING_STEPS = 500
"""Steps, beyond those of one straight attempt, after which no more ways to pack are tried."""


class Ledger:
    """Which layer holds which banks from when to when.

    For shared weights: a bank is free while no layer holds it, if the rows of all its layers fit together.
    With weights that are loaded anew, the rows of each layer have the whole bank.
    """

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._shape = (hardware.channels, hardware.banks_per_channel)
        self._keeps = hardware.weights != "reload"
        self._rows = np.full(self._shape, hardware.rows_per_bank, np.int64)
        self._held: list[tuple[int, int, Banks]] = []

    def copy(self) -> Ledger:
        """Return another ledger in which the same layers hold the same banks."""
        other = Ledger(self._hardware)
        other._rows, other._held = self._rows.copy(), self._held.copy()
        return other

    def free(self, profile: Profile, start: int, end: int) -> Banks | None:
        """Return banks of the profile's shape that are free in [start, end), or None."""
        available = self._rows >= profile.rows
        flat = available.reshape(-1)
        for held_from, held_until, banks in self._held:
            if held_from < end and start < held_until:
                flat[banks] = False
        width = profile.mapping.banks_per_channel
        counts = available.sum(axis=1)
        fitting = np.flatnonzero(counts >= width)
        if len(fitting) < profile.mapping.channels:
            return None
        # The fullest channels first: the emptier ones stay whole for wide layers.
        chosen = np.sort(fitting[np.argsort(counts[fitting], kind="stable")[: profile.mapping.channels]])
        return np.concatenate([np.flatnonzero(available[c])[:width] + c * self._shape[1] for c in chosen])

    def hold(self, profile: Profile, start: int, end: int, banks: Banks) -> None:
        """Give the banks to a layer for [start, end)."""
        if self._keeps:
            self._rows.reshape(-1)[banks] -= profile.rows
        self._held.append((start, end, banks))

    def releases_after(self, time: int) -> list[int]:
        """Return the times after `time` at which banks become free, in order."""
        return sorted({end for _, end, _ in self._held if end > time})


def pack(hardware: Hardware, profiles: Sequence[Profile]) -> list[Banks] | None:
    """Give every layer banks of its own; None if they do not fit, or no way is found in time."""
    width = hardware.banks_per_channel

    def size(i: int) -> tuple[int, int]:
        return -profiles[i].mapping.banks_per_channel, -profiles[i].mapping.channels

    widest_first = sorted(range(len(profiles)), key=size)
    mappings = [profiles[i].mapping for i in widest_first]
    shapes = [(mapping.channels, mapping.banks_per_channel) for mapping in mappings]
    chosen = _channels([width] * hardware.channels, shapes)
    if chosen is None:
        return None
    used = [0] * hardware.channels
    given: dict[int, Banks] = {}
    for i, (_, banks), channels in zip(widest_first, shapes, chosen, strict=True):
        first = np.array([c * width + used[c] for c in channels])
        given[i] = (first[:, None] + np.arange(banks)).ravel()
        for c in channels:
            used[c] += banks
    return [given[i] for i in range(len(profiles))]


def _channels(free: list[int], shapes: Sequence[tuple[int, int]]) -> list[list[int]] | None:
    """Choose channels for each shape, depth first, given how many banks of each are free."""
    if sum(channels * banks for channels, banks in shapes) > sum(free):
        return None
    chosen: list[list[int]] = []
    stack = [(free, _ways(free, *shapes[0]))]
    for _ in range(len(shapes) + PACKING_STEPS):
        free, ways = stack[-1]
        way = next(ways, None)
        if way is None:
            stack.pop()
            if not stack:
                return None
            chosen.pop()
            continue
        banks = shapes[len(chosen)][1]
        chosen.append(way)
        if len(chosen) == len(shapes):
            return chosen
        left = free.copy()
        for c in way:
            left[c] -= banks
        stack.append((left, _ways(left, *shapes[len(chosen)])))
    return None


def _ways(free: Sequence[int], channels: int, banks: int) -> Iterator[list[int]]:
    """Yield choices of channels, the fullest ones first; of those that are equally full take the first."""
    alike: dict[int, list[int]] = {}
    for left, c in sorted((left, c) for c, left in enumerate(free) if left >= banks):
        alike.setdefault(left, []).append(c)

    def choose(classes: list[list[int]], missing: int) -> Iterator[list[int]]:
        if missing == 0:
            yield []
        elif sum(map(len, classes)) >= missing:
            for number in range(min(len(classes[0]), missing), -1, -1):
                for others in choose(classes[1:], missing - number):
                    yield classes[0][:number] + others

    return (sorted(way) for way in choose(list(alike.values()), channels))
