"""All that other layers need to know of one mapped layer: when its blocks start and its outputs finish.

The formulas are derived in docs/model.md, "Time within a layer".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hw.hardware import Hardware
from models.network import AXIS_DIMS, DIMS, OUTPUT_DIMS, Dim, Layer, Operand
from overlapim_files import InputError
from solver.timing.cache import cached
from solver.timing.mapping import Loop, Mapping, rows_needed

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


@dataclass(frozen=True, eq=False, slots=True)
class Profile:
    """One layer under one mapping. Cycles are ideal ones: those of a layer that never waits.

    Attributes
    ----------
    temporal : the temporal loops, outermost first; one iteration of `temporal[j]` takes `weights[j]`.
    ji, jo : depth of the loop at whose iterations inputs are loaded and outputs drained; 0 for once.
    depth : number of outermost temporal loops whose iterations are blocks.
    finish_base : cycles common to the finish of all outputs.
    axis_bounds : for each output axis the bounds of the dims that make it up, the slowest first.
    axis_digits : for each of these dims its loops; none if the finish does not depend on the coordinate.
    read_digits : for each dim of `DIMS` its loops as (bound, position among the block loops or -1); none if
        none of them is a block loop.
    last_finish : finish of the last output.
    """

    layer: Layer
    mapping: Mapping
    banks: int
    rows: int
    temporal: tuple[Loop, ...]
    weights: tuple[int, ...]
    ji: int
    jo: int
    depth: int
    t_in: int
    t_out: int
    total: int
    block_shape: tuple[int, ...]
    finish_base: int
    axis_bounds: tuple[tuple[int, ...], ...]
    axis_loops: tuple[tuple[WeightedLoops, ...], ...]
    read_loops: tuple[PlacedLoops, ...]
    last_finish: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return math.prod(self.block_shape)

    @property
    def block_starts(self) -> Cycles:
        """Start of each block in the loops' own order; shape (blocks,)."""
        loops = map(WeightedLoop, self.block_shape, self.weights)
        return digit_sums(self.blocks, tuple(loops))

    def idle_blocks(self) -> npt.NDArray[np.bool_] | None:
        """Return which blocks lie past the bound of some dim; None if no block does. Shape (blocks,)."""
        rank, idle = len(self.block_shape), None
        for bound, loops in zip(self.layer.bounds, self.read_loops, strict=True):
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


@cached
def _first_coordinates(bound: int, loops: tuple[tuple[int, bool], ...]) -> Cycles:
    """Return the coordinates that the lanes touch while all temporal digits are 0."""
    sums, stride = np.zeros(1, np.int64), 1
    for b, spatial in reversed(loops):
        if spatial:
            sums = (np.arange(b, dtype=np.int64)[:, None] * stride + sums).ravel()
        stride *= b
    return sums[sums < bound]


@cached
def _distinct(form: tuple[tuple[int, int, tuple[tuple[int, bool], ...]], ...]) -> int:
    """Count the values of sum(coefficient * coordinate) over (bound, coefficient, loops) of each dim."""
    if not form:
        return 1
    bound, _, loops = form[0]
    if len(form) == 1:
        return len(_first_coordinates(bound, loops))
    values = np.zeros(1, np.int64)
    for bound, coefficient, loops in form:
        values = np.unique(values[:, None] + coefficient * _first_coordinates(bound, loops))
    return len(values)


def _tile_elements(layer: Layer, operand: Operand, loops: dict[Dim, tuple[tuple[int, bool], ...]]) -> int:
    """Return the distinct elements of an operand that all banks read in the first step, padding ignored."""
    elements = 1
    for terms in operand.terms:
        if terms:
            elements *= _distinct(tuple([(layer.bound(d), c, loops.get(d, ())) for d, c in terms]))
    return elements


def _load_cycles(layer: Layer, mapping: Mapping, hardware: Hardware) -> int:
    """Return t_in, the cycles of loading one tile of every operand and adding up those of each sum."""
    loops: dict[Dim, tuple[tuple[int, bool], ...]] = {}
    for dim, bound, kind in mapping.loops:
        loops[dim] = (*loops.get(dim, ()), (bound, kind != "temporal"))
    bits = hardware.bits.activation
    bandwidth = mapping.banks * hardware.bits_per_cycle.load
    time = 0
    for operand in layer.distinct_operands:
        elements = _tile_elements(layer, operand, loops)
        time += ceil_div(elements * bits, bandwidth) + bits * hardware.cycles.row_write
    return time + layer.additions * hardware.cycles.add


class Drain(NamedTuple):
    """The parts of t_out: reducing one result over lanes, banks and channels, draining it, post-operations.

    Partial sums that are read back count as drained.
    """

    reduce: int
    drain: int
    post: int


def drain_cycles(layer: Layer, mapping: Mapping, hardware: Hardware, reloads: bool) -> Drain:
    """Return the parts of t_out; `reloads` if partial sums are read back."""
    reduced = {"column": 1, "bank": 1, "channel": 1, "temporal": 1}
    outputs = 1
    for dim, bound, kind in mapping.loops:
        if dim not in OUTPUTS:
            reduced[kind] *= bound
        elif kind == "column":
            outputs *= bound
    bits, cycles, bandwidth = hardware.bits, hardware.cycles, hardware.bits_per_cycle
    partial = outputs * bits.accumulator
    reduce = ceil_log2(reduced["column"]) * (cycles.move + cycles.add)
    reduce += ceil_log2(reduced["bank"]) * (ceil_div(partial, bandwidth.bank) + cycles.add)
    reduce += ceil_log2(reduced["channel"]) * (ceil_div(partial, bandwidth.channel) + cycles.add)
    drain = ceil_div(outputs * bits.activation, bandwidth.drain)
    drain += ceil_div(partial, bandwidth.drain) if reloads else 0
    return Drain(reduce, drain, layer.post * cycles.post)


def reads_back(temporal: Sequence[Loop], jo: int) -> bool:
    """Whether partial sums that were drained are read back: a reduction loop lies outside the drain."""
    return any(loop.dim not in OUTPUTS for loop in temporal[:jo])


def _innermost(temporal: tuple[Loop, ...], dims: frozenset[Dim]) -> int:
    """Return the depth of the innermost loop over one of the dims, 0 if there is none."""
    return max((depth for depth, loop in enumerate(temporal, 1) if loop.dim in dims), default=0)


def _iteration_times(bounds: list[int], ji: int, jo: int, t_mac: int, t_in: int, t_out: int) -> list[int]:
    """Return the time of the whole layer, then that of one iteration of each loop, outermost first."""
    times = [t_mac]
    for depth in range(len(bounds), -1, -1):
        times[-1] += (t_in if depth == ji else 0) + (t_out if depth == jo else 0)
        if depth:
            times.append(bounds[depth - 1] * times[-1])
    return times[::-1]


def _block_depth(bounds: list[int], ji: int, limit: int) -> int:
    """Return how many of the outermost loops, at most ji, can be cut into at most `limit` blocks."""
    depth, blocks = 0, 1
    while depth < ji and blocks * bounds[depth] <= limit:
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
    temporal = tuple([loop for loop in mapping.loops if loop.kind == "temporal"])
    bounds = [loop.bound for loop in temporal]
    ji, jo = _innermost(temporal, layer.read_dims), _innermost(temporal, OUTPUTS)
    t_in = _load_cycles(layer, mapping, hardware)
    t_out = sum(drain_cycles(layer, mapping, hardware, reads_back(temporal, jo)))
    total, *weights = _iteration_times(bounds, ji, jo, hardware.mac_cycles, t_in, t_out)
    if total > MAX_LATENCY:
        raise InputError(
            f"layer '{layer.name}' takes {total} cycles, more than the {MAX_LATENCY} that can be handled"
        )
    depth = _block_depth(bounds, ji, hardware.sync_blocks)

    read: dict[Dim, PlacedLoops] = {}
    finish: dict[Dim, WeightedLoops] = {}
    finish_base = total if jo == 0 else weights[jo - 1] + (t_in if ji < jo else 0)
    depth_here = 0
    for dim, bound, kind in mapping.loops:
        cycles, place = 0, None
        if kind == "temporal":
            cycles = weights[depth_here] if depth_here < jo else 0
            place = depth_here if depth_here < depth else None
            depth_here += 1
            if dim not in OUTPUTS:
                finish_base += (bound - 1) * cycles
        read[dim] = (*read.get(dim, ()), PlacedLoop(bound, place))
        finish[dim] = (*finish.get(dim, ()), WeightedLoop(bound, cycles))

    # Loops that do not matter are left out, so that more mappings share their tables.
    finish = {dim: loops for dim, loops in finish.items() if any(cycles for _, cycles in loops)}
    read = {dim: loops for dim, loops in read.items() if any(place is not None for _, place in loops)}
    axis_bounds = tuple([tuple([layer.bounds[i] for i in axis]) for axis in AXIS_OUTPUTS])
    axis_loops = tuple([tuple([finish.get(dim, ()) for dim in axis]) for axis in AXIS_DIMS])
    return Profile(
        layer=layer,
        mapping=mapping,
        banks=mapping.banks,
        rows=rows_needed(layer, mapping, hardware),
        temporal=temporal,
        weights=tuple(weights),
        ji=ji,
        jo=jo,
        depth=depth,
        t_in=t_in,
        t_out=t_out,
        total=total,
        block_shape=tuple(bounds[:depth]),
        finish_base=finish_base,
        axis_bounds=axis_bounds,
        axis_loops=axis_loops,
        read_loops=tuple([read.get(dim, ()) for dim in DIMS]),
        last_finish=finish_base + sum(map(_last, axis_bounds, axis_loops)),
    )


def _last(bounds: tuple[int, ...], loops: tuple[WeightedLoops, ...]) -> int:
    """Return the largest entry of an axis's finish table."""
    pairs = zip(bounds, loops, strict=True)
    if all(not own or math.prod([b for b, _ in own]) == bound for bound, own in pairs):
        return sum((b - 1) * weight for own in loops for b, weight in own)
    return int(axis_finish(bounds, loops).max())
