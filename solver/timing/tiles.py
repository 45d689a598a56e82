"""How many elements a mapping moves: what a lane, a bank and a channel read in a tile, and what they hold.

Everything goes through the forms alone, without windows, and leaves out idle coordinates (docs/model.md,
"Tiles").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import Dim, Layer, Operand
from solver.timing.cache import cached
from solver.timing.mapping import WEIGHT_DIMS, Mapping

TileLevel = Literal[0, 1, 2, 3]
"""Who covers a loop within a tile: each lane in time (0), the lanes of a bank (1), the banks of a channel (2)
or nobody (3): other tiles, or other channels."""

LeveledLoops = tuple[tuple[int, TileLevel], ...]
"""(bound, level) of the loops of one dim, outermost first."""

SPATIAL_LEVELS: dict[str, TileLevel] = {"column": 1, "bank": 2, "channel": 3}


@dataclass(frozen=True, slots=True)
class Elements:
    """Distinct elements of one operand: that one lane, one bank, and the banks of one channel read."""

    lane: int
    bank: int
    channel: int


@dataclass(frozen=True, slots=True)
class Tiles:
    """What a mapping loads.

    Attributes
    ----------
    loaded : for each operand of `Layer.loaded` what is read of it in one tile.
    residuals : for each operand of `Layer.residuals` the elements that one channel adds at one drain.
    lane_weights : weights that a lane holds, `V`.
    """

    loaded: tuple[Elements, ...]
    residuals: tuple[int, ...]
    lane_weights: int

    @property
    def lane_inputs(self) -> int:
        """Elements of all operands that one lane reads in a tile."""
        return sum(own.lane for own in self.loaded)

    def rows(self, hardware: Hardware) -> int:
        """Return the bits that a lane stores: weights, two tiles of inputs, residuals and an accumulator."""
        bits = hardware.bits
        inputs = len(self.residuals) + (0 if hardware.buffered else 2 * self.lane_inputs)
        return bits.weight * self.lane_weights + bits.activation * inputs + bits.accumulator

    def buffer_bits(self, hardware: Hardware) -> int:
        """Return the bits of inputs that a bank holds at a time."""
        return hardware.bits.activation * sum(own.bank for own in self.loaded)


def innermost_read(layer: Layer, mapping: Mapping) -> int:
    """Return the depth of the innermost temporal loop over a dim that a loaded operand reads, `jx`."""
    depth = innermost = 0
    for dim, _, kind in mapping.loops:
        if kind == "temporal":
            depth += 1
            if dim in layer.read_dims:
                innermost = depth
    return innermost


def load_depth(layer: Layer, mapping: Mapping) -> int:
    """Return the number of temporal loops outside the load."""
    return innermost_read(layer, mapping) if mapping.load is None else mapping.load


def tiles(layer: Layer, mapping: Mapping, depth: int) -> Tiles:
    """Count the elements that a mapping with the load at a depth reads and holds."""
    tile: dict[Dim, LeveledLoops] = {}
    drained: dict[Dim, LeveledLoops] = {}
    weights, outer = 1, 0
    for dim, bound, kind in mapping.loops:
        level: TileLevel = 3
        if kind == "temporal":
            level = 0 if outer >= depth else 3
            outer += 1
            if dim in WEIGHT_DIMS:
                weights *= bound
        else:
            level = SPATIAL_LEVELS[kind]
        tile[dim] = (*tile.get(dim, ()), (bound, level))
    if layer.residuals:
        drained = {
            dim: tuple((b, 3 if level == 0 else level) for b, level in own) for dim, own in tile.items()
        }
    return Tiles(
        tuple([_operand(layer, operand, tile) for operand in layer.loaded]),
        tuple([_operand(layer, operand, drained).channel for operand in layer.residuals]),
        weights,
    )


def channel_weights(layer: Layer, mapping: Mapping) -> int:
    """Return the distinct weights that the banks of one channel use in all their iterations, `A_w`."""
    count = 1
    for dim in WEIGHT_DIMS:
        loops: LeveledLoops = tuple(
            (bound, 3 if kind == "channel" else 0) for own, bound, kind in mapping.loops if own == dim
        )
        count *= len(_coordinates(layer.bound(dim), loops, 0))
    return count


def _operand(layer: Layer, operand: Operand, loops: dict[Dim, LeveledLoops]) -> Elements:
    lane = bank = channel = 1
    for terms in operand.terms:
        if terms:
            own = _distinct(tuple([(layer.bound(d), c, loops.get(d, ())) for d, c in terms]))
            lane, bank, channel = lane * own.lane, bank * own.bank, channel * own.channel
    return Elements(lane, bank, channel)


@cached
def _distinct(form: tuple[tuple[int, int, LeveledLoops], ...]) -> Elements:
    """Count the values of sum(coefficient * coordinate) over (bound, coefficient, loops) of each dim."""
    counts = [_values(form, upto) for upto in (0, 1, 2)]
    return Elements(*counts)


def _values(form: tuple[tuple[int, int, LeveledLoops], ...], upto: int) -> int:
    if len(form) == 1:
        bound, _, loops = form[0]
        if math.prod(b for b, _ in loops) <= bound:
            return math.prod(b for b, level in loops if level <= upto)
        return len(_coordinates(bound, loops, upto))
    values = np.zeros(1, np.int64)
    for bound, coefficient, loops in form:
        values = np.unique(values[:, None] + coefficient * _coordinates(bound, loops, upto))
    return len(values)


@cached
def _coordinates(bound: int, loops: LeveledLoops, upto: int) -> npt.NDArray[np.int64]:
    """Return the coordinates below the bound while the digits of all loops of higher levels are 0."""
    sums, stride = np.zeros(1, np.int64), 1
    for b, level in reversed(loops):
        if level <= upto:
            sums = (np.arange(b, dtype=np.int64)[:, None] * stride + sums).ravel()
        stride *= b
    return sums[sums < bound]
