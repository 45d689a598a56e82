"""The full mapspace of a layer: every valid mapping, listed one by one or counted.

What a mapping means depends on the order of the loops of each dim, on that of the temporal loops among each
other, and on the load depth; nothing else (docs/model.md, "Mappings" and "Time within a layer"). So a mapping
is a sequence of loops for each dim together with a way to interleave their temporal loops and a depth, and is
listed once. How many rows its tiles take depends on all of these, so counting looks at the weights only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

from hw.hardware import Hardware
from models.network import DIMS, Dim, Layer
from solver.memory import evictable
from solver.timing.mapping import WEIGHT_DIMS, Kind, Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.problem import Problem
from solver.timing.tiles import innermost_read
from solver.timing.validity import least_rows, valid

LoopSequence = tuple[tuple[int, Kind], ...]
"""The loops of one dim as (bound, kind), outermost first."""

KINDS: tuple[Kind, ...] = ("temporal", "channel", "bank", "column")

TRIES = 20_000
"""How much is tried for each dim while counting: bounds of its loops, and then sums of ways."""

UNLIMITED = 2**62


class Room(NamedTuple):
    """The largest products of bounds left for further loops.

    `weights` is for temporal ones over weights, `banks` for those over channels and banks together.
    """

    weights: int
    channel: int
    bank: int
    column: int
    banks: int

    @property
    def most(self) -> int:
        """The most weights, over all lanes, that there is room for."""
        return self.weights * min(self.channel * self.bank, self.banks) * self.column

    def after(self, dim: Dim, bound: int, kind: Kind) -> Room:
        """Return what one more loop leaves; 0 if there is no room for it."""
        if kind == "temporal":
            return self._replace(weights=self.weights // bound) if dim in WEIGHT_DIMS else self
        left = self._replace(**{kind: getattr(self, kind) // bound})
        return left if kind == "column" else left._replace(banks=self.banks // bound)


FEW = 2000
"""Mappings of a layer that are listed at most, for random changes."""

FEW_MACS = 1000
"""Multiply-accumulates of a layer beyond which mappings are not even counted for that."""

_listed: WeakKeyDictionary[Problem, dict[int, tuple[Mapping, ...]]] = WeakKeyDictionary()
evictable(_listed.clear)


@dataclass(frozen=True)
class MapspaceSize:
    """How many mappings a layer has at most, by its loops and weights; more if they were not counted out."""

    most: int
    complete: bool


@dataclass
class _Budget:
    left: int


def count(layer: Layer, hardware: Hardware) -> MapspaceSize:
    """Count the mappings of a layer without listing them; soon done however large the layer is."""
    complete, kinds = True, _kinds(hardware)
    # In how many ways the dims so far leave this room and make so many temporal loops.
    table: Counter[tuple[Room, int]] = Counter({(_room(layer, hardware), 0): 1})
    for i, dim in enumerate(DIMS):
        further: Counter[tuple[Room, int]] = Counter()
        budget = _Budget(TRIES)
        need = _weights(layer, i)
        for (room, loops), number in table.items():
            for sequence, left in _sequences(dim, layer.bound(dim), room, need, kinds[dim], budget):
                more = sum(kind == "temporal" for _, kind in sequence)
                further[left, loops + more] += number * math.comb(loops + more, more)
        complete &= budget.left > 0
        table = further
    return MapspaceSize(sum(number * (loops + 1) for (_, loops), number in table.items()), complete)


def mappings(layer: Layer, hardware: Hardware) -> Iterator[Mapping]:
    """Yield every valid mapping of a layer, those that mean the same only once."""

    kinds = _kinds(hardware)

    def choose(place: int, room: Room, chosen: tuple[tuple[Loop, ...], ...]) -> Iterator[Mapping]:
        if place == len(DIMS):
            for mapping in _interleaved(chosen, ()):
                yield from _load_depths(layer, mapping, hardware)
            return
        dim = DIMS[place]
        found = _sequences(
            dim, layer.bound(dim), room, _weights(layer, place), kinds[dim], _Budget(UNLIMITED)
        )
        for sequence, left in found:
            loops = tuple([Loop(dim, bound, kind) for bound, kind in sequence])
            yield from choose(place + 1, left, (*chosen, loops))

    return choose(0, _room(layer, hardware), ())


def allowed_mappings(problem: Problem, layer: int) -> Iterator[Mapping]:
    """Yield every mapping that a layer may have, those that mean the same only once."""
    kept = problem.limits.of(layer).mapping
    every = mappings(problem.layers[layer], problem.chips[layer]) if kept is None else iter((kept,))
    return (mapping for mapping in every if problem.allows(layer, mapping))


def count_allowed(problem: Problem, layer: int) -> MapspaceSize:
    """Count the mappings that a layer may have, or at least those on its own chip."""
    if problem.limits.of(layer).mapping is not None:
        return MapspaceSize(1, True)
    return count(problem.layers[layer], problem.chips[layer])


def listed(problem: Problem, layer: int) -> tuple[Mapping, ...]:
    """Return all mappings that a layer may have if these are few, which is soon known; none otherwise."""
    known = _listed.setdefault(problem, {})
    if layer not in known:
        small = problem.layers[layer].macs <= FEW_MACS
        few = small and (size := count_allowed(problem, layer)).complete and size.most <= FEW
        known[layer] = tuple(allowed_mappings(problem, layer)) if few else ()
    return known[layer]


def _load_depths(layer: Layer, mapping: Mapping, hardware: Hardware) -> Iterator[Mapping]:
    """Yield a mapping with each load depth with which it keeps to its rows and the buffer."""
    for depth in (None, *range(innermost_read(layer, mapping))):
        loaded = replace(mapping, load=depth)
        if valid(layer, loaded, hardware):
            yield loaded


def _kinds(hardware: Hardware) -> dict[Dim, tuple[Kind, ...]]:
    """Return for each dim the kinds that its loops may have."""
    return {
        dim: tuple(kind for kind in KINDS if kind == "temporal" or hardware.may_spread(kind, dim))
        for dim in DIMS
    }


def _room(layer: Layer, hardware: Hardware) -> Room:
    """Return the room that the chip has for the loops of a layer."""
    weight = own_chip(layer, hardware).bits.weight
    beside = least_rows(layer, hardware)
    weights = max(hardware.rows_per_bank - beside, 0) // weight
    return Room(
        weights,
        hardware.channels,
        hardware.banks_per_channel,
        hardware.columns_per_bank,
        hardware.most_banks,
    )


def _weights(layer: Layer, place: int) -> int:
    """Return the weights over the dims from a place in `DIMS` on: no fewer have to find room."""
    return math.prod(layer.bound(dim) for dim in DIMS[place:] if dim in WEIGHT_DIMS)


def _sequences(
    dim: Dim, bound: int, room: Room, need: int, kinds: tuple[Kind, ...], budget: _Budget
) -> Iterator[tuple[LoopSequence, Room]]:
    """Yield the sequences of loops that cover a dim, none larger than needed, with the room they leave.

    Parameters
    ----------
    need : the weights over this dim and those after it.
    kinds : that loops over the dim may have.
    """
    own = bound if dim in WEIGHT_DIMS else 1

    def extend(
        prefix: LoopSequence, covered: int, largest: int, room: Room
    ) -> Iterator[tuple[LoopSequence, Room]]:
        if room.most < need // own * (-(-bound // covered) if own > 1 else 1):
            return
        if covered >= bound:
            yield prefix, room
            return
        for factor in _factors(-(-bound // covered)):
            budget.left -= 1
            if budget.left <= 0:
                return
            if not _completes(bound, covered * factor, max(largest, factor)):
                continue
            for kind in kinds:
                left = room.after(dim, factor, kind)
                if min(left) > 0:
                    longer = (*prefix, (factor, kind))
                    yield from extend(longer, covered * factor, max(largest, factor), left)

    return extend((), 1, 1, room)


def _factors(need: int) -> Iterator[int]:
    """Yield the bounds above 1 of loops that, together with others, just cover `need`; largest first."""
    factor = need
    while factor > 1:
        yield factor
        factor = -(-need // -(-need // (factor - 1)))


def _completes(bound: int, covered: int, largest: int) -> bool:
    """Whether loops that cover so much, the largest being given, are part of a cover with none too large."""
    rest = -(-bound // covered)
    return rest * (covered // largest) * (largest - 1) < bound


def _interleaved(left: tuple[tuple[Loop, ...], ...], prefix: tuple[Loop, ...]) -> Iterator[Mapping]:
    """Yield a mapping for every way to interleave the temporal loops; spatial ones stand far out.

    Parameters
    ----------
    left : for each dim its loops that are not in `prefix` yet.
    """
    rest = []
    for loops in left:
        spatial = next((i for i, loop in enumerate(loops) if loop.kind == "temporal"), len(loops))
        prefix += loops[:spatial]
        if spatial < len(loops):
            rest.append(loops[spatial:])
    if not rest:
        yield Mapping(prefix)
    for i, loops in enumerate(rest):
        yield from _interleaved((*rest[:i], loops[1:], *rest[i + 1 :]), (*prefix, loops[0]))
