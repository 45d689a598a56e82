"""The energy of a layer under a mapping, by kind of event (docs/model.md, "Energy")."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

from hw.hardware import Energy, Hardware
from models.network import Layer
from solver.timing.own_bits import own_chip
from solver.timing.profile import OUTPUTS, Profile, ceil_log2, reads_back
from solver.timing.rounds import rounds_until
from solver.timing.tiles import Tiles, channel_weights, tiles


@dataclass(frozen=True)
class EnergyParts:
    """Picojoules of one inference by kind of event.

    Attributes
    ----------
    steps : steps of banks and multiply-accumulates of lanes.
    rows : rows of weights that are opened.
    weights : weights that are loaded and written anew, where they are.
    load : inputs on the buses, theirs as residuals too.
    write : inputs that are written into rows.
    reduce : adding up: operands that are summed, partial results of lanes, banks and channels, residuals.
    drain : results, and partial sums that are read back.
    post : post-operations.
    """

    steps: float = 0.0
    rows: float = 0.0
    weights: float = 0.0
    load: float = 0.0
    write: float = 0.0
    reduce: float = 0.0
    drain: float = 0.0
    post: float = 0.0

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return math.fsum(self._values)

    def __add__(self, other: EnergyParts) -> EnergyParts:
        """Return the sums part by part."""
        return EnergyParts(*map(operator.add, self._values, other._values))

    @property
    def _values(self) -> tuple[float, ...]:
        # As `dataclasses.astuple`, without copies of what may lie within.
        return tuple([getattr(self, name) for name in self.__dataclass_fields__])


@dataclass(frozen=True)
class _Widths:
    """Products of the bounds of spatial loops.

    Attributes
    ----------
    channels, banks : of all dims; `banks` over all channels.
    lanes : of a bank.
    outputs : of the lanes of a bank over output dims.
    reduced : over reduction dims, for each level.
    """

    channels: int
    banks: int
    lanes: int
    outputs: int
    reduced: dict[str, int]

    @property
    def holders(self) -> int:
        """Banks that hold results once they are reduced."""
        return self.banks // (self.reduced["bank"] * self.reduced["channel"])


def _widths(profile: Profile) -> _Widths:
    whole, reduced = {"channel": 1, "bank": 1, "column": 1}, {"channel": 1, "bank": 1, "column": 1}
    for dim, bound, kind in profile.mapping.loops:
        if kind != "temporal":
            whole[kind] *= bound
            reduced[kind] *= 1 if dim in OUTPUTS else bound
    channels, lanes = whole["channel"], whole["column"]
    return _Widths(channels, channels * whole["bank"], lanes, lanes // reduced["column"], reduced)


def energy_parts(profile: Profile, hardware: Hardware) -> EnergyParts:
    """Return the energy of one inference of a layer, standby aside; all 0 on a chip without figures."""
    costs = hardware.energy
    if costs is None:
        return EnergyParts()
    hardware = own_chip(profile.layer, hardware)
    rounds, widths = rounds_until(profile, profile.last_finish), _widths(profile)
    layer, tile = profile.layer, tiles(profile.layer, profile.mapping, profile.load_depth)
    back = reads_back(profile.temporal, profile.drain_depth)
    loaded = _loading(layer, tile, widths, hardware, costs, rounds.loads)
    drained = _draining(layer, tile, widths, hardware, costs, rounds.drains, back)
    own = EnergyParts(
        steps=rounds.steps * widths.banks * (costs.step + widths.lanes * costs.mac),
        rows=rounds.opens * widths.banks * costs.open,
        weights=_reloading(profile, tile, widths, hardware, costs),
    )
    return own + loaded + drained


def _loading(
    layer: Layer, tile: Tiles, widths: _Widths, hardware: Hardware, costs: Energy, loads: int
) -> EnergyParts:
    bits = hardware.bits.activation
    moved = widths.channels * bits * sum(own.channel for own in tile.loaded)
    written = 0 if hardware.buffered else widths.banks * bits * tile.lane_inputs
    added = sum((len(group) - 1) * max(tile.loaded[i].lane for i in group) for group in layer.sums)
    return EnergyParts(
        load=loads * moved * costs.load,
        write=loads * written * costs.row_write,
        reduce=loads * widths.banks * widths.lanes * added * costs.add,
    )


def _draining(
    layer: Layer, tile: Tiles, widths: _Widths, hardware: Hardware, costs: Energy, drains: int, back: bool
) -> EnergyParts:
    bits, outputs = hardware.bits, widths.holders * widths.outputs
    residuals = len(tile.residuals)
    written = 0 if hardware.buffered else widths.banks * bits.activation * residuals
    added = outputs * residuals * costs.add
    if hardware.reduction == "host":
        drained = widths.banks * widths.outputs * widths.reduced["column"] * bits.accumulator
    else:
        added += _reducing(widths, bits.accumulator, costs)
        drained = outputs * (bits.activation + (bits.accumulator if back else 0))
    return EnergyParts(
        load=drains * widths.channels * sum(tile.residuals) * bits.activation * costs.load,
        write=drains * written * costs.row_write,
        reduce=drains * added,
        drain=drains * drained * costs.drain,
        post=drains * outputs * layer.post * costs.post,
    )


def _reducing(widths: _Widths, accumulator: int, costs: Energy) -> float:
    """Return the energy of adding up the partial results of one drain on the chip."""
    lanes, banks, channels = (widths.reduced[level] for level in ("column", "bank", "channel"))
    among_lanes = widths.banks * widths.lanes * ceil_log2(lanes) * (costs.move + costs.add)
    among_banks = (banks - 1) * (widths.banks // banks) * (accumulator * costs.bank + costs.add)
    among_channels = (channels - 1) * widths.holders * (accumulator * costs.channel + costs.add)
    return among_lanes + widths.outputs * (among_banks + among_channels)


def _reloading(profile: Profile, tile: Tiles, widths: _Widths, hardware: Hardware, costs: Energy) -> float:
    """Return the energy of writing the weights anew."""
    layer, bits = profile.layer, hardware.bits.weight
    if hardware.weights != "reload" or not layer.weights:
        return 0.0
    moved = widths.channels * channel_weights(layer, profile.mapping) * bits
    return moved * costs.load + widths.banks * bits * tile.lane_weights * costs.row_write


def standby_energy(hardware: Hardware, cycles: int) -> float:
    """Return the picojoules that all banks of the chip take in so many cycles while they stand by."""
    if hardware.energy is None:
        return 0.0
    return hardware.energy.standby_mw * hardware.banks * hardware.nanoseconds(cycles)
