"""Packing: layers in the bins that a chip offers, by first fit; `solver.schedule.packing` decides the rest.

With shared weights the bins are the banks and what fills them are rows. With static weights every bank serves
one layer, so that only the numbers of banks matter: the bins are the channels, and banks fill them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hw.hardware import Hardware
from solver import core
from solver.schedule.banks import NONE_GIVEN, Banks, beside, left_free
from solver.stop import Stop

NO_ROWS: Mapping[int, int] = {}


class Item(NamedTuple):
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
    """Groups of bins; those of a group are alike, and so are the groups, but for what each holds already.

    Attributes
    ----------
    taken : of each bin; nothing of any unless given.
    """

    groups: int
    width: int
    capacity: int
    taken: tuple[int, ...] = ()

    @property
    def area(self) -> int:
        """What all bins hold together."""
        return self.groups * self.width * self.capacity - sum(self.taken)

    @property
    def room(self) -> list[int]:
        """What each bin has left."""
        return [self.capacity - x for x in self.taken or (0,) * (self.groups * self.width)]


@dataclass(frozen=True, eq=False)
class Packed:
    """For each layer which of its items is placed, and in which bins, numbered group by group."""

    chosen: tuple[int, ...]
    places: tuple[Banks, ...]

    def cost(self, items: Sequence[Sequence[Item]]) -> int:
        """Return the sum of what the chosen items cost."""
        return sum(own[i].cost for own, i in zip(items, self.chosen, strict=True))


def bins_of(
    hardware: Hardware, given: Mapping[int, Sequence[int]] = NONE_GIVEN, rows: Mapping[int, int] = NO_ROWS
) -> Bins:
    """Return the bins of a chip: its banks, or its channels if every bank serves one layer.

    Parameters
    ----------
    given : the banks of some layers, which are in the bins already.
    rows : that these layers take of each of their banks, where the rows of several have to fit together.
    """
    if hardware.weights == "static":
        width = hardware.banks_per_channel
        taken = tuple(width - left for left in left_free(hardware, given)) if given else ()
        return Bins(hardware.channels, 1, width, taken)
    held = np.zeros(hardware.banks if given else 0, np.int64)
    for layer, banks in given.items():
        held[list(banks)] += rows[layer]
    return Bins(hardware.channels, hardware.banks_per_channel, hardware.rows_per_bank, tuple(held.tolist()))


def item_of(hardware: Hardware, shape: tuple[int, int], rows: int, cost: int) -> Item:
    """Return what a mapping on a shape of banks takes of the bins."""
    if hardware.weights == "static":
        return Item(shape[0], 1, shape[1], cost)
    return Item(*shape, rows, cost)


def banks_of(
    hardware: Hardware,
    items: Sequence[Item],
    places: Sequence[Banks],
    given: Mapping[int, Sequence[int]] = NONE_GIVEN,
) -> list[Banks]:
    """Return the banks of all layers: of those that are placed in bins, and those that are given."""
    layers = [i for i in range(len(items) + len(given)) if i not in given]
    if hardware.weights != "static":
        own = {i: np.array(banks, np.int64) for i, banks in given.items()}
        own |= dict(zip(layers, places, strict=True))
        return [own[i] for i in range(len(own))]
    width, used = hardware.banks_per_channel, np.zeros(hardware.channels, np.int64)
    counted: dict[int, Banks] = {}
    for layer, item, channels in zip(layers, items, places, strict=True):
        first = channels * width + used[channels]
        counted[layer] = (first[:, None] + np.arange(item.size)).ravel()
        used[channels] += item.size
    return beside(hardware, counted, given)


def undominated(items: Sequence[Item]) -> list[int]:
    """Return the positions of the items than which none takes less of fewer bins and costs no more."""
    kept: list[int] = []
    for i in sorted(range(len(items)), key=lambda i: (items[i].cost, items[i].area, items[i])):
        if not any(all(a <= b for a, b in zip(items[k], items[i], strict=True)) for k in kept):
            kept.append(i)
    return kept


Rank = Callable[[Item], tuple[int, ...]]
ORDERS: tuple[Rank, ...] = (
    lambda item: (-item.area, -item.size),
    lambda item: (-item.size, -item.area),
    lambda item: (-item.groups * item.bins, -item.size),
)
FULLEST, EMPTIEST = 1, -1


class _Room:
    """What is left in each bin."""

    def __init__(self, bins: Bins) -> None:
        self.free = np.array(bins.room, np.int64).reshape(bins.groups, bins.width)

    def find(self, item: Item, sign: int) -> Banks | None:
        """Return the fullest bins that an item fits into, or the emptiest; None if there are too few."""
        width = self.free.shape[1]
        fits = self.free >= item.size
        able = np.flatnonzero(fits.sum(axis=1) >= item.bins)
        if len(able) < item.groups:
            return None
        rank = np.where(fits[able], sign * self.free[able], np.iinfo(np.int64).max)
        order = np.argsort(rank, axis=1, kind="stable")[:, : item.bins]
        filled = np.take_along_axis(self.free[able], order, axis=1).sum(axis=1)
        best = np.sort(np.argsort(sign * filled, kind="stable")[: item.groups])
        return np.asarray((able[best][:, None] * width + np.sort(order[best], axis=1)).ravel(), np.int64)

    def take(self, place: Banks, size: int) -> None:
        """Fill so much of the bins."""
        self.free.reshape(-1)[place] -= size


def first_fit(bins: Bins, items: Sequence[Item]) -> list[Banks] | None:
    """Place one item for each layer by first fit, in several orders; None if none of them succeeds."""
    if sum(item.area for item in items) > bins.area:
        return None
    for order in ORDERS:
        layers = sorted(range(len(items)), key=lambda i: order(items[i]))
        for sign in (FULLEST, EMPTIEST):
            places = _in_order(bins, items, layers, sign)
            if places is not None:
                return places
    return None


def _in_order(bins: Bins, items: Sequence[Item], layers: Sequence[int], sign: int) -> list[Banks] | None:
    own = [items[i] for i in layers]
    if core.native is not None and not bins.taken:
        shapes = [(item.groups, item.bins, item.size) for item in own]
        found = core.native.first_fit(bins.groups, bins.width, bins.capacity, shapes, sign)
    else:
        found = _taken_in_turn(_Room(bins), own, sign)
    if found is None:
        return None
    places = dict(zip(layers, found, strict=True))
    return [places[i] for i in range(len(items))]


def _taken_in_turn(room: _Room, items: Sequence[Item], sign: int) -> list[Banks] | None:
    """Return the bins of each item, those before it having taken theirs; None if one finds none."""
    places = []
    for item in items:
        place = room.find(item, sign)
        if place is None:
            return None
        room.take(place, item.size)
        places.append(place)
    return places


def cheapest_fit(
    bins: Bins, items: Sequence[Sequence[Item]], prices: Sequence[float], stop: Stop
) -> Packed | None:
    """Choose and place items at the lowest price of room for which first fit succeeds; None if none does.

    Then each item gives way to the cheapest one of its layer for which there is room. On a chip of very many
    banks either takes long, and ends early if it is time to stop.

    Parameters
    ----------
    prices : rising; of the area of all bins, in the least cost of all layers. At infinity only area counts.
    """
    scale = sum(min(item.cost for item in own) for own in items) / max(bins.area, 1)
    found = None
    for price in reversed(prices):
        # Layers that look the same have the same items.
        cheapest = {
            id(own): _cheapest(own, price * scale) for own in {id(own): own for own in items}.values()
        }
        chosen = [cheapest[id(own)] for own in items]
        places = first_fit(bins, [own[i] for own, i in zip(items, chosen, strict=True)])
        if places is not None:
            found = Packed(tuple(chosen), tuple(places))
        if found is not None and (places is None or stop.reached()):
            break
    return None if found is None else _enlarged(bins, items, found, stop)


def _cheapest(items: Sequence[Item], price: float) -> int:
    """Return the position of the item that costs least if its area has a price."""

    def priced(i: int) -> tuple[float, int]:
        item = items[i]
        return (item.area, item.cost) if math.isinf(price) else (item.cost + price * item.area, item.area)

    return min(range(len(items)), key=priced)


def _enlarged(bins: Bins, items: Sequence[Sequence[Item]], packed: Packed, stop: Stop) -> Packed:
    """Give each layer in turn the cheapest item for which there is room, those that gain most first."""
    room, chosen, places = _Room(bins), list(packed.chosen), list(packed.places)
    for own, i, place in zip(items, chosen, places, strict=True):
        room.take(place, own[i].size)

    def gain(layer: int) -> int:
        own = items[layer]
        return own[chosen[layer]].cost - min(item.cost for item in own)

    for layer in sorted(range(len(items)), key=gain, reverse=True):
        if stop.reached():
            break
        own, old = items[layer], chosen[layer]
        room.take(places[layer], -own[old].size)
        for i, place in _fitting(room, own):
            chosen[layer], places[layer] = i, place
            break
        room.take(places[layer], own[chosen[layer]].size)
    return Packed(tuple(chosen), tuple(places))


def _fitting(room: _Room, items: Sequence[Item]) -> Iterator[tuple[int, Banks]]:
    """Yield the items for which there is room, the cheapest first, with their bins."""
    for i in sorted(range(len(items)), key=lambda i: (items[i].cost, items[i].area)):
        place = room.find(items[i], FULLEST)
        if place is not None:
            yield i, place
