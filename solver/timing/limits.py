"""Limits of one's own: what a layer may have beside what the chip and the model allow (docs/limits.md).

As far as a limit can be said of the chip it is: `LayerLimits.chip` is the chip as the layer may use it, so
that whatever makes valid mappings for that chip keeps to the limit. `LayerLimits.allow` has the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hw.hardware import Hardware, Level, LevelDims
from models.network import DIMS, Dim, LayerBits, Network
from solver.timing.mapping import SPATIAL, Loop, Mapping

ANY_DIMS = LevelDims()


@dataclass(frozen=True)
class LayerLimits:
    """What one layer may have; each limit is off unless given.

    Attributes
    ----------
    mapping : the only one that the layer may have.
    loops : that the mapping has among others. Their order counts where that of loops does: over one dim, and
        among those in time.
    most_banks, exact_banks : how many banks at most, and exactly.
    banks : numbers of the banks that the layer is given, all of them; ascending.
    earliest : cycle before which the layer does not start.
    spread : dims that the loops of each level may be over, of those that the chip allows.
    bits : with which the layer computes, in place of those of the network file or the chip.
    """

    mapping: Mapping | None = None
    loops: tuple[Loop, ...] = ()
    most_banks: int | None = None
    exact_banks: int | None = None
    banks: tuple[int, ...] = ()
    earliest: int = 0
    spread: LevelDims = ANY_DIMS
    bits: LayerBits | None = None

    @property
    def number(self) -> int | None:
        """The number of banks if it is given in any way."""
        if self.mapping is not None:
            return self.mapping.banks
        return self.exact_banks or len(self.banks) or None

    def chip(self, hardware: Hardware) -> Hardware:
        """Return the chip as the mappings of the layer may use it."""
        if self.mapping is not None:
            return hardware
        most = [x for x in (hardware.banks_per_layer, self.most_banks, self.number) if x is not None]
        changes: dict[str, object] = {"banks_per_layer": min(most, default=None)}
        if self.spread != ANY_DIMS:
            changes["spread"] = LevelDims(**{level: self._dims(level, hardware) for level in SPATIAL})
        if self.banks:
            changes["channels"], changes["banks_per_channel"] = bank_shape(self.banks, hardware)
        return hardware.model_copy(update=changes)

    def _dims(self, level: Level, hardware: Hardware) -> tuple[Dim, ...]:
        own: tuple[Dim, ...] | None = getattr(self.spread, level)
        return tuple(dim for dim in DIMS if hardware.may_spread(level, dim) and (own is None or dim in own))

    def allow(self, mapping: Mapping, hardware: Hardware) -> bool:
        """Whether the layer may have a mapping that is valid on its `chip`.

        Parameters
        ----------
        hardware : the whole chip.
        """
        if self.mapping is not None:
            return mapping == self.mapping
        if self.number is not None and mapping.banks != self.number:
            return False
        if self.banks and (mapping.channels, mapping.banks_per_channel) != bank_shape(self.banks, hardware):
            return False
        return has_loops(mapping.loops, self.loops)


NO_LIMITS = LayerLimits()


@dataclass(frozen=True)
class Limits:
    """The limits of all layers, in the order of the network; nothing stands for none of any."""

    layers: tuple[LayerLimits, ...] = ()

    def of(self, layer: int) -> LayerLimits:
        """Return the limits of a layer."""
        return self.layers[layer] if self.layers else NO_LIMITS

    @cached_property
    def placed(self) -> bool:
        """Whether any layer is given the numbers of its banks."""
        return any(own.banks for own in self.layers)

    def applied(self, network: Network) -> tuple[Network, Limits]:
        """Return the network with the bits that its layers are given, and the limits that are left."""
        if all(own.bits is None for own in self.layers):
            return network, self
        left = tuple(replace(own, bits=None) for own in self.layers)
        others = Limits(left) if any(own != NO_LIMITS for own in left) else UNLIMITED
        return network.with_bits([own.bits for own in self.layers]), others

    @property
    def mapped(self) -> bool:
        """Whether any layer is to keep a mapping, or loops."""
        return any(own.mapping is not None or own.loops for own in self.layers)


UNLIMITED = Limits()


def bank_shape(banks: Sequence[int], hardware: Hardware) -> tuple[int, int]:
    """Return in how many channels banks lie, and how many there are in each if it is as many in all."""
    channels = len({bank // hardware.banks_per_channel for bank in banks})
    return channels, len(banks) // channels


def has_loops(loops: Sequence[Loop], kept: Sequence[Loop]) -> bool:
    """Whether all kept loops are among some loops, in their order wherever the order of loops means anything.

    Each takes the outermost place that it can: the order asks of later ones only to lie further in.
    """
    places: list[int] = []
    for loop in kept:
        before = (place for place, own in zip(places, kept, strict=False) if _ordered(own, loop))
        first = max(before, default=-1) + 1
        if loop not in loops[first:]:
            return False
        places.append(loops.index(loop, first))
    return True


def _ordered(one: Loop, other: Loop) -> bool:
    return one.dim == other.dim or one.kind == other.kind == "temporal"
