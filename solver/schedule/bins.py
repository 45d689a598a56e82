"""Packing: layers in the bins that a chip offers, by first fit; `solver.schedule.packing` decides the rest.

With shared weights the bins are the banks and what fills them are rows. With static weights every bank serves
one layer, so that only the numbers of banks matter: the bins are the channels, and banks fill them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from solver.schedule.banks import Banks

Ints = npt.NDArray[np.int64]


class Piece(NamedTuple):
    """One way to place a layer: `size` in each of `bins` bins in each of `groups` groups, at a cost."""

    groups: int
    bins: int
    size: int
    cost: int

    @property
    def area(self) -> int:
        """What it takes of all bins together."""
        return self.groups * self.bins * self.size


@dataclass(frozen=True)
class Bins:
    """Groups of bins; those of a group are alike, and so are the groups."""

    groups: int
    width: int
    capacity: int

    @property
    def area(self) -> int:
        """What all bins hold together."""
        return self.groups * self.width * self.capacity


@dataclass(frozen=True, eq=False)
class Packed:
    """For each layer which of its pieces is placed, and in which bins, numbered group by group."""

    chosen: tuple[int, ...]
    places: tuple[Banks, ...]

    def cost(self, pieces: Sequence[Sequence[Piece]]) -> int:
        """Return the sum of what the chosen pieces cost."""
        return sum(own[i].cost for own, i in zip(pieces, self.chosen, strict=True))


def bins_of(hardware: Hardware) -> Bins:
    """Return the bins of a chip: its banks, or its channels if every bank serves one layer."""
    if hardware.weights == "static":
        return Bins(hardware.channels, 1, hardware.banks_per_channel)
    return Bins(hardware.channels, hardware.banks_per_channel, hardware.rows_per_bank)


def piece_of(hardware: Hardware, shape: tuple[int, int], rows: int, cost: int) -> Piece:
    """Return what a mapping on a shape of banks takes of the bins."""
    if hardware.weights == "static":
        return Piece(shape[0], 1, shape[1], cost)
    return Piece(*shape, rows, cost)


def banks_of(hardware: Hardware, pieces: Sequence[Piece], places: Sequence[Banks]) -> list[Banks]:
    """Return the banks of layers that are placed in bins."""
    if hardware.weights != "static":
        return list(places)
    width, used = hardware.banks_per_channel, np.zeros(hardware.channels, np.int64)
    given = []
    for piece, channels in zip(pieces, places, strict=True):
        first = channels * width + used[channels]
        given.append((first[:, None] + np.arange(piece.size)).ravel())
        used[channels] += piece.size
    return given


def undominated(pieces: Sequence[Piece]) -> list[int]:
    """Return the positions of the pieces than which none takes less of fewer bins and costs no more."""
    kept: list[int] = []
    for i in sorted(range(len(pieces)), key=lambda i: (pieces[i].cost, pieces[i].area, pieces[i])):
        if not any(all(a <= b for a, b in zip(pieces[k], pieces[i], strict=True)) for k in kept):
            kept.append(i)
    return kept


Order = Callable[[Piece], tuple[int, ...]]
ORDERS: tuple[Order, ...] = (
    lambda piece: (-piece.area, -piece.size),
    lambda piece: (-piece.size, -piece.area),
    lambda piece: (-piece.groups * piece.bins, -piece.size),
)
FULLEST, EMPTIEST = 1, -1


class _Room:
    """What is left in each bin."""

    def __init__(self, bins: Bins) -> None:
        self.free = np.full((bins.groups, bins.width), bins.capacity, np.int64)

    def find(self, piece: Piece, sign: int) -> Banks | None:
        """Return the fullest bins that a piece fits into, or the emptiest; None if there are too few."""
        width = self.free.shape[1]
        fits = self.free >= piece.size
        able = np.flatnonzero(fits.sum(axis=1) >= piece.bins)
        if len(able) < piece.groups:
            return None
        rank = np.where(fits[able], sign * self.free[able], np.iinfo(np.int64).max)
        order = np.argsort(rank, axis=1, kind="stable")[:, : piece.bins]
        filled = np.take_along_axis(self.free[able], order, axis=1).sum(axis=1)
        best = np.sort(np.argsort(sign * filled, kind="stable")[: piece.groups])
        return np.asarray((able[best][:, None] * width + np.sort(order[best], axis=1)).ravel(), np.int64)

    def take(self, place: Banks, size: int) -> None:
        """Fill so much of the bins."""
        self.free.reshape(-1)[place] -= size


def first_fit(bins: Bins, pieces: Sequence[Piece]) -> list[Banks] | None:
    """Place one piece for each layer by first fit, in several orders; None if none of them succeeds."""
    if sum(piece.area for piece in pieces) > bins.area:
        return None
    for order in ORDERS:
        layers = sorted(range(len(pieces)), key=lambda i: order(pieces[i]))
        for sign in (FULLEST, EMPTIEST):
            places = _in_order(_Room(bins), pieces, layers, sign)
            if places is not None:
                return places
    return None


def _in_order(room: _Room, pieces: Sequence[Piece], layers: Sequence[int], sign: int) -> list[Banks] | None:
    places: dict[int, Banks] = {}
    for i in layers:
        place = room.find(pieces[i], sign)
        if place is None:
            return None
        room.take(place, pieces[i].size)
        places[i] = place
    return [places[i] for i in range(len(pieces))]


def cheapest_fit(bins: Bins, pieces: Sequence[Sequence[Piece]], prices: Sequence[float]) -> Packed | None:
    """Choose and place pieces at the lowest price of room for which first fit succeeds; None if none does.

    Then each piece gives way to the cheapest one of its layer for which there is room.

    Parameters
    ----------
    prices : rising; of the area of all bins, in the least cost of all layers. At infinity only area counts.
    """
    scale = sum(min(piece.cost for piece in own) for own in pieces) / bins.area
    found = None
    for price in reversed(prices):
        chosen = [_cheapest(own, price * scale) for own in pieces]
        places = first_fit(bins, [own[i] for own, i in zip(pieces, chosen, strict=True)])
        if places is not None:
            found = Packed(tuple(chosen), tuple(places))
        elif found is not None:
            break
    return None if found is None else _enlarged(bins, pieces, found)


def _cheapest(pieces: Sequence[Piece], price: float) -> int:
    """Return the position of the piece that costs least if its area has a price."""

    def priced(i: int) -> tuple[float, int]:
        piece = pieces[i]
        return (
            (piece.area, piece.cost) if math.isinf(price) else (piece.cost + price * piece.area, piece.area)
        )

    return min(range(len(pieces)), key=priced)


def _enlarged(bins: Bins, pieces: Sequence[Sequence[Piece]], packed: Packed) -> Packed:
    """Give each layer in turn the cheapest piece for which there is room, those that gain most first."""
    room, chosen, places = _Room(bins), list(packed.chosen), list(packed.places)
    for own, i, place in zip(pieces, chosen, places, strict=True):
        room.take(place, own[i].size)

    def gain(layer: int) -> int:
        own = pieces[layer]
        return own[chosen[layer]].cost - min(piece.cost for piece in own)

    for layer in sorted(range(len(pieces)), key=gain, reverse=True):
        own, old = pieces[layer], chosen[layer]
        room.take(places[layer], -own[old].size)
        for i, place in _fitting(room, own):
            chosen[layer], places[layer] = i, place
            break
        room.take(places[layer], own[chosen[layer]].size)
    return Packed(tuple(chosen), tuple(places))


def _fitting(room: _Room, pieces: Sequence[Piece]) -> Iterator[tuple[int, Banks]]:
    """Yield the pieces for which there is room, the cheapest first, with their bins."""
    for i in sorted(range(len(pieces)), key=lambda i: (pieces[i].cost, pieces[i].area)):
        place = room.find(pieces[i], FULLEST)
        if place is not None:
            yield i, place
