"""The own latency of many mappings of a layer at once, to rank them before they are profiled.

As in `solver.timing.profile`, but input tiles are counted from the widths of the dims alone: padding, idle
lanes and gaps between the coordinates of several dims are read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import DIMS, OUTPUT_DIMS, Dim, Layer
from solver.timing.mapping import WEIGHT_DIMS

Ints = npt.NDArray[np.int64]
WEIGHT_POSITIONS = [i for i, dim in enumerate(DIMS) if dim in WEIGHT_DIMS]
OUTPUT_COUNT = len(OUTPUT_DIMS)


def ceil_divide(a: Ints, b: Ints | int) -> Ints:
    """Return a / b rounded up, element by element; exact below 2**53, and faster than with integers."""
    return np.ceil(a / b).astype(np.int64)


def _halvings(widths: Ints) -> Ints:
    return np.asarray(np.ceil(np.log2(widths)), np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """Many mappings of one layer: the bound of each dim's loop of each kind; shapes (dims, mappings)."""

    layer: Layer
    hardware: Hardware
    channel: Ints
    bank: Ints
    column: Ints
    temporal: Ints

    @cached_property
    def rows(self) -> Ints:
        """Rows that a lane needs; shape (mappings,), as all that follow."""
        bits = self.hardware.bits
        fixed = 2 * bits.activation * self.layer.operand_count + bits.accumulator
        return np.asarray(bits.weight * self.temporal[WEIGHT_POSITIONS].prod(axis=0) + fixed)

    @cached_property
    def load(self) -> Ints:
        """Cycles of loading one tile of every operand and adding up those of each sum."""
        bits, cycles = self.hardware.bits.activation, self.hardware.cycles
        array = self.channel * self.bank
        spatial, bandwidth = array * self.column, array.prod(axis=0) * self.hardware.bits_per_cycle.load
        time = np.full(spatial.shape[1], self.layer.additions * cycles.add, np.int64)
        for operand in self.layer.distinct_operands:
            elements = np.ones_like(time)
            for terms in operand.terms:
                points, reach = np.ones_like(time), np.ones_like(time)
                for dim, coefficient in terms:
                    width = spatial[DIMS.index(dim)]
                    points *= width
                    reach += (width - 1) * coefficient
                elements *= np.minimum(points, reach)
            time += ceil_divide(elements * bits, bandwidth) + bits * cycles.row_write
        return time

    @cached_property
    def drain(self) -> tuple[Ints, Ints]:
        """Cycles of reducing and draining one result, and those of reading partial sums back."""
        hardware, cycles, bandwidth = self.hardware, self.hardware.cycles, self.hardware.bits_per_cycle
        levels = [
            _halvings(part[OUTPUT_COUNT:].prod(axis=0)) for part in (self.column, self.bank, self.channel)
        ]
        drained = self.column[:OUTPUT_COUNT].prod(axis=0)
        partial = drained * hardware.bits.accumulator
        time = levels[0] * (cycles.move + cycles.add) + self.layer.post * cycles.post
        time += levels[1] * (ceil_divide(partial, bandwidth.bank) + cycles.add)
        time += levels[2] * (ceil_divide(partial, bandwidth.channel) + cycles.add)
        time += ceil_divide(drained * hardware.bits.activation, bandwidth.drain)
        return time, ceil_divide(partial, bandwidth.drain)

    def total(self, order: Sequence[Dim]) -> Ints:
        """Cycles of the whole layer with the temporal loops in the given order, outermost first."""
        reached = np.ones(self.temporal.shape[1], np.int64)
        loads, drains = reached, reached
        reducing = reloads = np.zeros(self.temporal.shape[1], bool)
        for dim in order:
            bound = self.temporal[DIMS.index(dim)]
            runs = bound > 1
            reached = reached * bound
            if dim in self.layer.read_dims:
                loads = np.where(runs, reached, loads)
            if dim in OUTPUT_DIMS:
                drains = np.where(runs, reached, drains)
                reloads = reloads | (runs & reducing)
            else:
                reducing = reducing | runs
        drain, reload = self.drain
        time = reached * self.hardware.mac_cycles + loads * self.load
        return np.asarray(time + drains * (drain + reloads * reload), np.int64)
