"""Which banks each layer is given: a shape of channels x banks, from banks that are free while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from solver import core
from solver.schedule.channels import chosen_channels
from solver.timing.profile import Profile

Banks = npt.NDArray[np.int64]

MOST_BITS = 2**24
"""Of the sets of banks of all layers: arrays take less room where layers have few of very many banks."""

NONE_GIVEN: Mapping[int, Sequence[int]] = {}


class Ledger:
    """Which layer holds which banks from when to when.

    For shared weights: a bank is free while no layer holds it, if the rows of all its layers fit together.
    With weights that are loaded anew, the rows of each layer have the whole bank. Sets of banks are integers,
    bit `i` for bank `i`. The compiled core has a ledger of its own (`solver/core/ledger.hpp`).
    """

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._keeps = hardware.weights != "reload"
        self._rows = np.full(hardware.banks, hardware.rows_per_bank, np.int64)
        self._fewest = hardware.rows_per_bank
        self._held: list[tuple[int, int, int]] = []
        self._expected: dict[int, tuple[Banks, int]] = {}

    def copy(self) -> Ledger:
        """Return another ledger in which the same layers hold the same banks."""
        other = Ledger(self._hardware)
        other._rows, other._held = self._rows.copy(), self._held.copy()
        other._fewest, other._expected = self._fewest, self._expected.copy()
        return other

    def expect(self, layer: int, profile: Profile, banks: Sequence[int]) -> None:
        """Keep the rows of a layer that is given its banks for when it comes."""
        if self._keeps:
            self._expected[layer] = np.array(banks, np.int64), profile.rows
            self._rows[list(banks)] -= profile.rows
            self._fewest = min(self._fewest, int(self._rows.min()))

    def admit(self, layer: int, profile: Profile, banks: Sequence[int]) -> int:
        """Give back the rows that were kept for a layer; return its banks if these have the rows for it."""
        where, rows = self._expected.pop(layer, (None, 0))
        if where is not None:
            self._rows[where] += rows
        given = np.array(banks, np.int64)
        enough = bool((self._rows[given] >= profile.rows).all())
        return _set_of(given.tobytes(), self._hardware.banks) if enough else 0

    def roomy(self, profile: Profile) -> int:
        """Return the set of banks that have the rows for a layer, whoever holds them."""
        if self._fewest >= profile.rows:
            return (1 << self._hardware.banks) - 1
        return _set_of(np.flatnonzero(self._rows >= profile.rows).tobytes(), self._hardware.banks)

    def free(self, profile: Profile, start: int, end: int, among: int) -> Banks | None:
        """Return banks of the profile's shape, of a set of banks, that are free in [start, end), or None."""
        held, mapping = 0, profile.mapping
        for held_from, held_until, banks in self._held:
            if held_from < end and start < held_until:
                held |= banks
        chip = self._hardware.channels, self._hardware.banks_per_channel
        return _shaped(among & ~held, chip, mapping.channels, mapping.banks_per_channel)

    def hold(self, profile: Profile, start: int, end: int, banks: Banks) -> None:
        """Give the banks to a layer for [start, end)."""
        if self._keeps:
            self._rows[banks] -= profile.rows
            self._fewest = min(self._fewest, int(self._rows[banks].min()))
        self._held.append((start, end, _set_of(banks.tobytes(), self._hardware.banks)))

    def releases_after(self, time: int) -> list[int]:
        """Return the times after `time` at which banks become free, in order."""
        return sorted({end for _, end, _ in self._held if end > time})


@lru_cache(maxsize=2**12)
def _set_of(banks: bytes, most: int) -> int:
    """Return the integer whose bits are the banks, given as 64-bit numbers."""
    bits = np.zeros(most, np.bool_)
    bits[np.frombuffer(banks, np.int64)] = True
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


@lru_cache(maxsize=2**12)
def _shaped(available: int, chip: tuple[int, int], channels: int, width: int) -> Banks | None:
    """Return `width` banks of each of some channels that have them; None if these are too few.

    The fullest channels are taken first: the emptier ones stay whole for wide layers.
    """
    if available.bit_count() < channels * width:
        return None
    data = np.frombuffer(available.to_bytes(math.prod(chip) // 8 + 1, "little"), np.uint8)
    free = np.unpackbits(data, count=math.prod(chip), bitorder="little").astype(np.bool_).reshape(chip)
    counts = free.sum(axis=1)
    fitting = np.flatnonzero(counts >= width)
    if len(fitting) < channels:
        return None
    chosen = np.sort(fitting[np.argsort(counts[fitting], kind="stable")[:channels]])
    first = free[chosen] & (free[chosen].cumsum(axis=1) <= width)
    channel, bank = np.nonzero(first)
    return np.asarray(chosen[channel] * chip[1] + bank, np.int64)


def pack(
    hardware: Hardware, profiles: Sequence[Profile], given: Mapping[int, Sequence[int]] = NONE_GIVEN
) -> Sequence[Banks] | None:
    """Give every layer banks of its own; None if they do not fit, or no way is found in time.

    Parameters
    ----------
    given : the banks of some layers, which are theirs.
    """
    if len({bank for own in given.values() for bank in own}) < sum(map(len, given.values())):
        return None

    def size(i: int) -> tuple[int, int]:
        return -profiles[i].mapping.banks_per_channel, -profiles[i].mapping.channels

    widest_first = sorted((i for i in range(len(profiles)) if i not in given), key=size)
    mappings = [profiles[i].mapping for i in widest_first]
    shapes = [(mapping.channels, mapping.banks_per_channel) for mapping in mappings]
    chosen = chosen_channels(left_free(hardware, given), shapes)
    if chosen is None:
        return None
    sizes = [mapping.banks for mapping in mappings]
    return banks_within(hardware, widest_first, sizes, chosen, given)


def banks_within(
    hardware: Hardware,
    layers: Sequence[int],
    sizes: Sequence[int],
    channels: Sequence[Sequence[int]],
    given: Mapping[int, Sequence[int]] = NONE_GIVEN,
) -> Sequence[Banks]:
    """Return the banks of all layers, some of which are given channels and take the first free banks of each.

    Parameters
    ----------
    layers, sizes, channels : which layers, and how many banks they take evenly of which channels.
    given : the banks of the other layers.
    """
    width = hardware.banks_per_channel
    if core.native is not None and not given and len(layers) * hardware.banks <= MOST_BITS:
        taken = [*zip(layers, sizes, channels, strict=True)]
        known: Sequence[Banks] = core.native.banks_within(hardware.channels, width, taken)
        return known
    used = [0] * hardware.channels
    places: dict[int, Banks] = {}
    for i, size, own in zip(layers, sizes, channels, strict=True):
        banks = size // len(own)
        first = np.array([c * width + used[c] for c in own])
        places[i] = (first[:, None] + np.arange(banks)).ravel()
        for c in own:
            used[c] += banks
    return beside(hardware, places, given)


def left_free(hardware: Hardware, given: Mapping[int, Sequence[int]]) -> list[int]:
    """Return how many banks of each channel are given to no layer."""
    free = [hardware.banks_per_channel] * hardware.channels
    for banks in given.values():
        for bank in banks:
            free[bank // hardware.banks_per_channel] -= 1
    return free


def beside(
    hardware: Hardware, places: Mapping[int, Banks], given: Mapping[int, Sequence[int]]
) -> list[Banks]:
    """Return the banks of all layers, those that are given and, beside them, the others.

    Parameters
    ----------
    places : of the other layers, counting only the banks of each channel that are not given.
    """
    if not given:
        return [places[i] for i in range(len(places))]
    shape = hardware.channels, hardware.banks_per_channel
    taken = np.zeros(hardware.banks, np.bool_)
    taken[[bank for banks in given.values() for bank in banks]] = True
    free_first = np.argsort(taken.reshape(shape), axis=1, kind="stable")
    numbers = (free_first + np.arange(shape[0])[:, None] * shape[1]).ravel()
    own = {i: np.array(banks, np.int64) for i, banks in given.items()}
    return [own[i] if i in own else numbers[places[i]] for i in range(len(places) + len(own))]
