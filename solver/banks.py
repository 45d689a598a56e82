"""Which banks each layer is given: a shape of channels x banks, from banks that are free while it runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from solver.profile import Profile

Banks = npt.NDArray[np.int64]


class Ledger:
    """Which layer holds which banks from when to when.

    For shared weights: a bank is free while no layer holds it, if the rows of all its layers fit together.
    """

    def __init__(self, hardware: Hardware) -> None:
        self._shape = (hardware.channels, hardware.banks_per_channel)
        self._rows = np.full(self._shape, hardware.rows_per_bank, np.int64)
        self._held: list[tuple[int, int, Banks]] = []

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
        self._rows.reshape(-1)[banks] -= profile.rows
        self._held.append((start, end, banks))

    def releases_after(self, time: int) -> list[int]:
        """Return the times after `time` at which banks become free, in order."""
        return sorted({end for _, end, _ in self._held if end > time})


def pack(hardware: Hardware, profiles: Sequence[Profile]) -> list[Banks] | None:
    """Give every layer banks of its own, the widest shapes first; None if they do not fit this way."""
    width = hardware.banks_per_channel
    free = [width] * hardware.channels
    given: dict[int, Banks] = {}

    def size(i: int) -> tuple[int, int]:
        return -profiles[i].mapping.banks_per_channel, -profiles[i].mapping.channels

    for i in sorted(range(len(profiles)), key=size):
        mapping = profiles[i].mapping
        fullest = sorted((left, c) for c, left in enumerate(free) if left >= mapping.banks_per_channel)
        if len(fullest) < mapping.channels:
            return None
        chosen = sorted(c for _, c in fullest[: mapping.channels])
        first = np.array([(c + 1) * width - free[c] for c in chosen])
        given[i] = (first[:, None] + np.arange(mapping.banks_per_channel)).ravel()
        for c in chosen:
            free[c] -= mapping.banks_per_channel
    return [given[i] for i in range(len(profiles))]
