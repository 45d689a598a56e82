"""The own latency of many mappings of a layer at once, and which of them are worth a profile.

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
from models.network import DIMS, OUTPUT_DIMS, Dim, Layer, Operand
from solver.timing.mapping import WEIGHT_DIMS, Kind, Loop
from solver.timing.validity import least_rows
from solver.timing.windows import Mask

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
WEIGHT_POSITIONS = [i for i, dim in enumerate(DIMS) if dim in WEIGHT_DIMS]
OUTPUT_COUNT = len(OUTPUT_DIMS)


def ceil_divide(a: Ints, b: Ints | Reals | float) -> Ints:
    """Return a / b rounded up, element by element; exact below 2**53, and faster than with integers."""
    return np.ceil(a / b).astype(np.int64)


def _of_each(bounds: Ints, inside: Ints) -> Ints:
    """Return the bounds of each mapping in the shape of one tile of each, or of several."""
    return bounds.reshape(len(DIMS), *[1] * (inside.ndim - 2), -1)


def _halvings(widths: Ints) -> Ints:
    return np.asarray(np.ceil(np.log2(widths)), np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """Many mappings of one layer: the bound of each dim's loop of each kind; shapes (dims, mappings).

    The compiled core has batches of its own that choose the same (`solver/core/ways.hpp`).
    """

    layer: Layer
    hardware: Hardware
    channel: Ints
    bank: Ints
    column: Ints
    temporal: Ints

    @property
    def count(self) -> int:
        """Number of mappings."""
        return len(self.temporal[0])

    @cached_property
    def rows(self) -> Ints:
        """Rows that a lane needs; shape (mappings,), as all that follow."""
        weights = self.temporal[WEIGHT_POSITIONS].prod(axis=0)
        return np.asarray(self.hardware.bits.weight * weights + least_rows(self.layer, self.hardware))

    @cached_property
    def fits(self) -> Mask:
        """Whether the rows of a lane suffice, and the buffer of a bank if there is one."""
        return (self.rows <= self.hardware.rows_per_bank) & self.room(np.ones_like(self.temporal))

    def room(self, inside: Ints) -> Mask:
        """Return where a bank has room for the inputs of a tile of so many iterations over each dim.

        Parameters
        ----------
        inside : (dims, .., mappings), perhaps of several tiles of each mapping.
        """
        bits, buffer = self.hardware.bits, self.hardware.inputs.buffer_bits
        if buffer is not None:
            lanes = inside * _of_each(self.column, inside)
            return np.asarray(
                bits.activation * sum(self.elements(x, lanes) for x in self.layer.loaded) <= buffer
            )
        more = sum(self.elements(x, inside) - 1 for x in self.layer.loaded)
        return np.asarray(self.rows + 2 * bits.activation * more <= self.hardware.rows_per_bank)

    def elements(self, operand: Operand, spatial: Ints) -> Ints:
        """Return the elements of an operand that loops of such bounds over each dim read together."""
        elements = np.ones(spatial.shape[1:], np.int64)
        for terms in operand.terms:
            points, reach = np.ones_like(elements), np.ones_like(elements)
            for dim, coefficient in terms:
                width = spatial[DIMS.index(dim)]
                points *= width
                reach += (width - 1) * coefficient
            elements *= np.minimum(points, reach)
        return elements

    def _bus(self, operand: Operand, inside: Ints) -> Ints:
        """Return the cycles in which the banks of a channel take what they read of an operand in a tile."""
        read = self.elements(operand, inside * _of_each(self.bank * self.column, inside))
        width = self.bank.prod(axis=0) * float(self.hardware.bits_per_cycle.load)
        return ceil_divide(read * self.hardware.bits.activation, width)

    @cached_property
    def load(self) -> Ints:
        """Cycles of loading what one step reads of every operand and adding up the operands of each sum."""
        return self.load_of(np.ones_like(self.temporal))

    def load_of(self, inside: Ints) -> Ints:
        """Return the cycles of doing the same for a tile; see `room`."""
        hardware = self.hardware
        lanes = [self.elements(x, inside) for x in self.layer.loaded]
        time = np.full(inside.shape[1:], hardware.cycles.load, np.int64)
        for operand, own in zip(self.layer.loaded, lanes, strict=True):
            time += self._bus(operand, inside) + hardware.bits.activation * hardware.input_row_write * own
        for group in self.layer.sums:
            time += (len(group) - 1) * hardware.cycles.add * np.maximum.reduce([lanes[i] for i in group])
        return time

    @cached_property
    def drain(self) -> tuple[Ints, Ints]:
        """Cycles of reducing and draining one result, and those of reading partial sums back."""
        hardware, cycles, bandwidth = self.hardware, self.hardware.cycles, self.hardware.bits_per_cycle
        lanes = self.column[OUTPUT_COUNT:].prod(axis=0)
        drained = self.column[:OUTPUT_COUNT].prod(axis=0)
        partial, bandwidth_out = drained * hardware.bits.accumulator, float(bandwidth.drain)
        time = np.full(len(drained), cycles.drain + self.layer.post * cycles.post, np.int64)
        one = np.ones_like(self.temporal)
        for operand in self.layer.residuals:
            time += self._bus(operand, one) + hardware.bits.activation * hardware.input_row_write + cycles.add
        if hardware.reduction == "host":
            return time + ceil_divide(partial * lanes, bandwidth_out), np.zeros_like(time)
        time += _halvings(lanes) * (cycles.move + cycles.add)
        for part, width in ((self.bank, bandwidth.bank), (self.channel, bandwidth.channel)):
            levels = _halvings(part[OUTPUT_COUNT:].prod(axis=0))
            time += levels * (ceil_divide(partial, float(width)) + cycles.add)
        time += ceil_divide(drained * hardware.bits.activation, bandwidth_out)
        return time, ceil_divide(partial, bandwidth_out)

    def _opens(self, order: Sequence[Dim]) -> Ints | int:
        """Return the cycles of opening rows of weights that are as full as the steps inside allow."""
        if self.hardware.steps_per_row is None or not self.layer.weights:
            return 0
        room = np.full(self.temporal.shape[1], self.hardware.steps_per_row, np.int64)
        opens, outside = np.ones_like(room), np.zeros(len(room), bool)
        for dim in reversed(order):
            bound = self.temporal[DIMS.index(dim)]
            full = ~outside & (bound > room) if dim in WEIGHT_DIMS else np.zeros_like(outside)
            opens = np.where(outside, opens * bound, np.where(full, ceil_divide(bound, room), opens))
            if dim in WEIGHT_DIMS:
                room = np.maximum(room // bound, 1)
            outside |= full
        return opens * (self.hardware.cycles.open or 0)

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
        time = reached * self.hardware.mac_cycles + loads * self.load + self._opens(order)
        return np.asarray(time + drains * (drain + reloads * reload), np.int64)

    def fastest(self, orders: Sequence[Sequence[Dim]], most: int) -> tuple[list[int], list[int]]:
        """Return the so many fastest mappings in the better one of some orders of the temporal loops.

        Returns
        -------
        These, the fastest first, and those that need fewer rows than any faster one, the fewest first.
        """
        by_total = np.argsort(np.min([self.total(order) for order in orders], axis=0), kind="stable")
        least = np.minimum.accumulate(self.rows[by_total])
        frugal = by_total[np.unique(least, return_index=True)[1]]
        return by_total[:most].tolist(), frugal.tolist()

    def streaming(
        self, orders: Sequence[Sequence[Dim]], slowest: float, finer: float
    ) -> list[tuple[int, int]]:
        """Return the fastest (mapping, place of its order) for each number of steps along rows and columns.

        Parameters
        ----------
        slowest : of the cycles of the fastest one, those that are returned take so many times at most.
        finer : left out are those for which a faster one makes as many steps along both, up to this factor.
        """
        rows, columns = self.temporal[DIMS.index("P")], self.temporal[DIMS.index("Q")]
        totals = np.array([self.total(order) for order in orders])
        total = totals.min(axis=0)
        by_total = np.argsort(total, kind="stable")
        by_total = by_total[total[by_total] <= slowest * total[by_total[0]]]
        steps = rows[by_total] * (columns.max() + 1) + columns[by_total]
        found: list[tuple[int, int]] = []
        chosen: list[tuple[int, int]] = []
        for i in by_total[np.sort(np.unique(steps, return_index=True)[1])].tolist():
            p, q = int(rows[i]), int(columns[i])
            if not any(finer * a >= p and finer * b >= q for a, b in found):
                found.append((p, q))
                chosen.append((i, int(totals[:, i].argmin())))
        return chosen

    def loops(self, i: int, order: Sequence[Dim], made: type[Loop] = Loop) -> tuple[Loop, ...]:
        """Return the loops of mapping number `i`: the temporal ones outermost, in the given order.

        Parameters
        ----------
        made : what a loop is; the compiled core has to be told.
        """
        temporal = dict(zip(DIMS, self.temporal[:, i].tolist(), strict=True))
        loops = [made(dim, temporal[dim], "temporal") for dim in order if temporal[dim] > 1]
        kinds: list[tuple[Kind, Ints]] = [
            ("channel", self.channel),
            ("bank", self.bank),
            ("column", self.column),
        ]
        for kind, bounds in kinds:
            used = zip(DIMS, bounds[:, i].tolist(), strict=True)
            loops += [made(dim, bound, kind) for dim, bound in used if bound > 1]
        return tuple(loops)
