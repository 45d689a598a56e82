"""All that other layers need to know of one mapped layer: when its blocks start and its outputs finish.

The formulas are derived in docs/model.md, "Time within a layer".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import AXIS_DIMS, DIMS, OUTPUT_DIMS, Dim, Layer
from overlapim_files import InputError
from solver import core
from solver.core.compiled import compiled_layer
from solver.timing.cache import cached
from solver.timing.mapping import WEIGHT_DIMS, Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.tiles import Tiles, channel_weights, tiles

Cycles = npt.NDArray[np.int64]
MAX_LATENCY = 2**59
"""Cycles that a network, let alone a layer, may take: 64-bit sums stay exact."""

OUTPUTS = frozenset(OUTPUT_DIMS)
AXIS_OUTPUTS = tuple(tuple(OUTPUT_DIMS.index(dim) for dim in dims) for dims in AXIS_DIMS)
"""Positions in `OUTPUT_DIMS` of the dims that make up each axis."""


class WeightedLoop(NamedTuple):
    """A loop whose digit counts `weight` times in a sum, such as the cycles of one iteration."""

    bound: int
    weight: int


class PlacedLoop(NamedTuple):
    """A loop and its place among the block loops; None if it runs inside the blocks, or in space."""

    bound: int
    place: int | None


WeightedLoops = tuple[WeightedLoop, ...]
"""Of one dim, outermost first; spatial loops have the weight 0."""

PlacedLoops = tuple[PlacedLoop, ...]
"""Of one dim, outermost first."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One layer under one mapping. Cycles are ideal ones: those of a layer that never waits.

    They count from the start of the first block. What comes before it, weights that are written and the first
    row that is opened, takes `lead` cycles and is done in time for the data of the first block.

    Attributes
    ----------
    temporal : the temporal loops, outermost first; one iteration of `temporal[j]` takes `weights[j]`.
    load_depth, drain_depth, open_depth : depth of the loop at whose iterations inputs are loaded, outputs
        drained, and rows of weights opened; 0 for once, None if no rows are opened.
    depth : number of outermost temporal loops whose iterations are blocks.
    t_weights : cycles of writing the weights, where they are loaded anew.
    lead : cycles from the start of the layer, when it takes its banks, to that of its first block.
    total : cycles of the whole layer, `lead` among them.
    finish_base : cycles common to the finish of all outputs.
    last_finish : finish of the last output.
    compiled : what the compiled core knows of it; None if Python made it.
    """

    layer: Layer
    mapping: Mapping
    banks: int
    rows: int
    temporal: tuple[Loop, ...]
    weights: tuple[int, ...]
    load_depth: int
    drain_depth: int
    open_depth: int | None
    depth: int
    t_in: int
    t_out: int
    t_open: int
    t_weights: int
    lead: int
    total: int
    block_shape: tuple[int, ...]
    finish_base: int
    last_finish: int
    compiled: Any = None

    @cached_property
    def axis_bounds(self) -> tuple[tuple[int, ...], ...]:
        """For each output axis the bounds of the dims that make it up, the slowest first."""
        return tuple([tuple([self.layer.bounds[i] for i in axis]) for axis in AXIS_OUTPUTS])

    @cached_property
    def axis_loops(self) -> tuple[tuple[WeightedLoops, ...], ...]:
        """For each of these dims its loops; none if the finish does not depend on the coordinate."""
        # Loops that do not matter are left out, here and below, so that more mappings share their tables.
        finish = _finish_loops(self.mapping, self.weights, self.drain_depth)
        finish = {dim: loops for dim, loops in finish.items() if any(cycles for _, cycles in loops)}
        return tuple([tuple([finish.get(dim, ()) for dim in axis]) for axis in AXIS_DIMS])

    @cached_property
    def read_loops(self) -> tuple[PlacedLoops, ...]:
        """For each dim of `DIMS` its loops, none if none of them is a block loop."""
        read: dict[Dim, PlacedLoops] = {}
        outer = 0
        for dim, bound, kind in self.mapping.loops:
            block = kind == "temporal" and outer < self.depth
            read[dim] = (*read.get(dim, ()), PlacedLoop(bound, outer if block else None))
            outer += kind == "temporal"
        read = {dim: loops for dim, loops in read.items() if any(place is not None for _, place in loops)}
        return tuple([read.get(dim, ()) for dim in DIMS])

    def of(self, layer: Layer) -> Profile:
        """Return the profile as that of another layer that looks the same."""
        if layer is self.layer:
            return self
        # As `replace` does, without computing or checking the fields again.
        twin = object.__new__(Profile)
        twin.__dict__.update(self.__dict__, layer=layer)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what the compiled core knows: that stays in its process."""
        return {**self.__dict__, "compiled": None}

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return math.prod(self.block_shape)

    @property
    def first_drain(self) -> int:
        """End of the first iteration at whose end outputs are drained."""
        if self.drain_depth == 0:
            return self.total - self.lead
        outside = (self.open_depth or 0) < self.drain_depth, (self.open_depth or 0) < self.depth
        opened = self.t_open * (outside[0] - outside[1])
        loaded = self.t_in if self.load_depth < self.drain_depth else 0
        return opened + loaded + self.weights[self.drain_depth - 1]

    @property
    def block_starts(self) -> Cycles:
        """Start of each block in the loops' own order; shape (blocks,)."""
        loops = map(WeightedLoop, self.block_shape, self.weights)
        return digit_sums(self.blocks, tuple(loops))

    def idle_blocks(self, dims: Sequence[Dim] = DIMS) -> npt.NDArray[np.bool_] | None:
        """Return which blocks lie past the bound of some of the dims; None if none does. Shape (blocks,)."""
        rank, idle = len(self.block_shape), None
        for dim in dims:
            bound, loops = self.layer.bound(dim), self.read_loops[DIMS.index(dim)]
            if sum(loop.place is not None for loop in loops) < 2:
                continue
            first, stride = np.zeros((1,) * rank, np.int64), 1
            for b, place in reversed(loops):
                if place is not None:
                    where = [1] * rank
                    where[place] = b
                    first = first + (np.arange(b, dtype=np.int64) * stride).reshape(where)
                stride *= b
            past = np.broadcast_to(first >= bound, self.block_shape).ravel()
            if past.any():
                idle = past if idle is None else idle | past
        return idle

    def unread_blocks(self, residual: bool) -> npt.NDArray[np.bool_] | None:
        """Return which blocks do not read an operand whatever it is; None if there are none. Shape (blocks,).

        Those that are idle; for a residual those that are idle in an output dim or finish nothing.
        """
        if not residual:
            return self.idle_blocks()
        idle, unfinished = self.idle_blocks(OUTPUT_DIMS), self.unfinished_blocks()
        if unfinished is None:
            return idle
        own = np.broadcast_to(unfinished, self.block_shape).ravel()
        return own if idle is None else own | idle

    def unfinished_blocks(self) -> npt.NDArray[np.bool_] | None:
        """Return which blocks leave the reduction of what they work on to later ones; None if none does.

        Returns
        -------
        One axis for each block loop, of length 1 where it does not matter.
        """
        unfinished: npt.NDArray[np.bool_] | None = None
        for place, loop in enumerate(self.temporal[: self.depth]):
            if loop.dim not in OUTPUTS:
                where = [1] * self.depth
                where[place] = loop.bound
                own = (np.arange(loop.bound) < loop.bound - 1).reshape(where)
                unfinished = own if unfinished is None else unfinished | own
        return unfinished


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up."""
    return -(-a // b)


def ceil_log2(n: int) -> int:
    """Return the number of halvings that bring n >= 1 down to 1."""
    return (n - 1).bit_length()


@cached
def digit_sums(bound: int, loops: WeightedLoops) -> Cycles:
    """Return for each coordinate below `bound` the sum of digit * weight over its loops; shape (bound,)."""
    if not loops:
        return np.zeros(bound, np.int64)
    sums = np.zeros(1, np.int64)
    for b, weight in loops:
        sums = (sums[:, None] + np.arange(b, dtype=np.int64) * weight).ravel()
    return sums[:bound]


@cached
def axis_finish(bounds: tuple[int, ...], loops: tuple[WeightedLoops, ...]) -> Cycles:
    """Return the finish table of one axis: the outer sum over the dims that make up its coordinate."""
    table = digit_sums(bounds[0], loops[0])
    for bound, own in zip(bounds[1:], loops[1:], strict=True):
        table = (table[:, None] + digit_sums(bound, own)).ravel()
    return table


class Load(NamedTuple):
    """The parts of t_in: the fixed cost, data over the bus, rows written, and operands added up."""

    fixed: int
    bus: int
    write: int
    add: int


class Drain(NamedTuple):
    """The parts of t_out: reducing over lanes, banks and channels, draining, residuals, post-operations.

    Partial sums that are read back count as drained.
    """

    reduce: int
    drain: int
    residual: int
    post: int


def load_parts(layer: Layer, mapping: Mapping, tile: Tiles, hardware: Hardware) -> Load:
    """Return the parts of t_in, the cycles of loading one tile of every operand that is loaded."""
    hardware = own_chip(layer, hardware)
    bits = hardware.bits.activation
    bus = sum([_bus(own.channel * bits, mapping, hardware) for own in tile.loaded])
    additions = sum((len(group) - 1) * max(tile.loaded[i].lane for i in group) for group in layer.sums)
    return Load(
        hardware.cycles.load,
        bus,
        bits * hardware.input_row_write * tile.lane_inputs,
        additions * hardware.cycles.add,
    )


def _bus(bits: int, mapping: Mapping, hardware: Hardware) -> int:
    """Return the cycles in which the banks of one channel take bits from its bus, each at its share."""
    share = hardware.bits_per_cycle.load
    return ceil_div(bits * share.denominator, mapping.banks_per_channel * share.numerator)


def drain_parts(layer: Layer, mapping: Mapping, tile: Tiles, hardware: Hardware, reloads: bool) -> Drain:
    """Return the parts of t_out; `reloads` if partial sums are read back."""
    hardware = own_chip(layer, hardware)
    reduced = {"column": 1, "bank": 1, "channel": 1, "temporal": 1}
    outputs = 1
    for dim, bound, kind in mapping.loops:
        if dim not in OUTPUTS:
            reduced[kind] *= bound
        elif kind == "column":
            outputs *= bound
    bits, cycles, bandwidth = hardware.bits, hardware.cycles, hardware.bits_per_cycle
    residual = sum(
        [
            _bus(elements * bits.activation, mapping, hardware)
            + bits.activation * hardware.input_row_write
            + cycles.add
            for elements in tile.residuals
        ]
    )
    post = layer.post * cycles.post
    if hardware.reduction == "host":
        partial = outputs * reduced["column"] * bits.accumulator
        return Drain(0, cycles.drain + _transfer(partial, bandwidth.drain), residual, post)
    partial = outputs * bits.accumulator
    reduce = ceil_log2(reduced["column"]) * (cycles.move + cycles.add)
    reduce += ceil_log2(reduced["bank"]) * (_transfer(partial, bandwidth.bank) + cycles.add)
    reduce += ceil_log2(reduced["channel"]) * (_transfer(partial, bandwidth.channel) + cycles.add)
    drain = cycles.drain + _transfer(outputs * bits.activation, bandwidth.drain)
    drain += _transfer(partial, bandwidth.drain) if reloads else 0
    return Drain(reduce, drain, residual, post)


def _transfer(bits: int, bandwidth: Fraction) -> int:
    """Return the whole cycles that bits take at a bandwidth."""
    return ceil_div(bits * bandwidth.denominator, bandwidth.numerator)


def weight_cycles(layer: Layer, mapping: Mapping, tile: Tiles, hardware: Hardware) -> int:
    """Return t_w, the cycles of writing the weights of a layer before it begins."""
    if hardware.weights != "reload" or not layer.weights:
        return 0
    bits = own_chip(layer, hardware).bits.weight
    bus = _bus(channel_weights(layer, mapping) * bits, mapping, hardware)
    return bus + bits * tile.lane_weights * hardware.cycles.row_write


def reads_back(temporal: Sequence[Loop], drain_depth: int) -> bool:
    """Whether partial sums that were drained are read back: a reduction loop lies outside the drain."""
    return any(loop.dim not in OUTPUTS for loop in temporal[:drain_depth])


def _innermost(temporal: tuple[Loop, ...], dims: frozenset[Dim]) -> int:
    """Return the depth of the innermost loop over one of the dims, 0 if there is none."""
    return max((depth for depth, loop in enumerate(temporal, 1) if loop.dim in dims), default=0)


def _open_depth(layer: Layer, temporal: tuple[Loop, ...], hardware: Hardware) -> int | None:
    """Return the depth of the loop at whose iterations a row of weights is opened; None for no rows."""
    if hardware.steps_per_row is None or not layer.weights:
        return None
    depth, steps = len(temporal), 1
    while depth and (steps := steps * _weight_bound(temporal[depth - 1])) <= hardware.steps_per_row:
        depth -= 1
    return depth


def _weight_bound(loop: Loop) -> int:
    return loop.bound if loop.dim in WEIGHT_DIMS else 1


def _block_depth(bounds: list[int], deepest: int, limit: int) -> int:
    """Return how many of the outermost loops, at most `deepest`, can be cut into at most `limit` blocks."""
    depth, blocks = 0, 1
    while depth < deepest and blocks * bounds[depth] <= limit:
        blocks *= bounds[depth]
        depth += 1
    return depth


def profile(layer: Layer, mapping: Mapping, hardware: Hardware) -> Profile:
    """Compute the profile of a valid mapping of a layer on a chip.

    Raises
    ------
    InputError
        if the layer takes longer than 64-bit arithmetic can handle.
    """
    if core.native is not None:
        compiled = compiled_layer(core.native, layer, own_chip(layer, hardware))
        found = core.native.profile(compiled, mapping.loops, mapping.load)
        if found is not None:
            banks, rows, *rest = found
            temporal = tuple([loop for loop in mapping.loops if loop.kind == "temporal"])
            return Profile(layer, mapping, banks, rows, temporal, *rest)
    return _profile(layer, mapping, hardware)


def _profile(layer: Layer, mapping: Mapping, hardware: Hardware) -> Profile:
    """Compute a profile in Python: what the compiled core does, for numbers of any size."""
    temporal = tuple([loop for loop in mapping.loops if loop.kind == "temporal"])
    bounds = [loop.bound for loop in temporal]
    load = _innermost(temporal, layer.read_dims) if mapping.load is None else mapping.load
    drain, opening = _innermost(temporal, OUTPUTS), _open_depth(layer, temporal, hardware)
    tile = tiles(layer, mapping, load)
    t_open = hardware.cycles.open or 0
    t_in = sum(load_parts(layer, mapping, tile, hardware))
    t_out = sum(drain_parts(layer, mapping, tile, hardware, reads_back(temporal, drain)))
    # The time of one iteration of each loop, the innermost first, from a step on.
    time, weights = own_chip(layer, hardware).mac_cycles, []
    for depth in range(len(bounds), -1, -1):
        time += (t_in if depth == load else 0) + (t_out if depth == drain else 0)
        time += t_open if depth == opening else 0
        if depth:
            weights.append(time)
            time *= bounds[depth - 1]
    weights.reverse()
    t_weights = weight_cycles(layer, mapping, tile, hardware)
    total = t_weights + time
    if total > MAX_LATENCY:
        raise InputError(
            f"layer '{layer.name}' takes {total} cycles, more than the {MAX_LATENCY} that can be handled"
        )
    depth = _block_depth(bounds, load, hardware.sync_blocks)
    lead = t_weights + (t_open if opening is not None and opening < depth else 0)

    finish = _finish_loops(mapping, weights, drain)
    finish_base = total if drain == 0 else t_weights + weights[drain - 1] + (t_in if load < drain else 0)
    if drain and opening is not None and opening < drain:
        finish_base += t_open
    finish_base -= lead
    for dim in set(finish) - OUTPUTS:
        finish_base += sum((bound - 1) * cycles for bound, cycles in finish[dim])
    last = sum(_last(layer.bound(dim), finish.get(dim, ())) for dim in OUTPUT_DIMS)
    return Profile(
        layer=layer,
        mapping=mapping,
        banks=mapping.banks,
        rows=tile.rows(own_chip(layer, hardware)),
        temporal=temporal,
        weights=tuple(weights),
        load_depth=load,
        drain_depth=drain,
        open_depth=opening,
        depth=depth,
        t_in=t_in,
        t_out=t_out,
        t_open=0 if opening is None else t_open,
        t_weights=t_weights,
        lead=lead,
        total=total,
        block_shape=tuple(bounds[:depth]),
        finish_base=finish_base,
        last_finish=finish_base + last,
    )


def _finish_loops(mapping: Mapping, weights: Sequence[int], drain: int) -> dict[Dim, WeightedLoops]:
    """Return the loops of each dim with the cycles of one iteration, 0 in space and inside the drain."""
    finish: dict[Dim, WeightedLoops] = {}
    outer = 0
    for dim, bound, kind in mapping.loops:
        cycles = weights[outer] if kind == "temporal" and outer < drain else 0
        outer += kind == "temporal"
        finish[dim] = (*finish.get(dim, ()), WeightedLoop(bound, cycles))
    return finish


def _last(bound: int, loops: WeightedLoops) -> int:
    """Return the largest part that a dim has in the finish of an output."""
    if math.prod([b for b, _ in loops]) == bound:
        return sum((b - 1) * weight for b, weight in loops)
    return int(digit_sums(bound, loops).max())
