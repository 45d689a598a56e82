"""One mapped layer as a linear operator over (max, +), and which of several operators can be left out.

Without waiting, output `o` is finished at `fin(o)`, counted from the layer's release. An element `e` of a
producer that is really finished at `T_e` delays the first block that reads it, in the order of execution, and
everything after that block's start; so with `first(e)` the ideal start of that block,

    finish(o) = max( release + fin(o),  max { T_e + transfer + fin(o) - first(e) : first(e) < fin(o) } )

since real minus ideal time is the running maximum of what the blocks ask for (docs/model.md, "Waiting").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from overlapim_files import InputError
from solver.timing.cache import cached
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.need import block_maxima, to_block_axes
from solver.timing.problem import Edge, Group, Problem
from solver.timing.profile import AXIS_OUTPUTS, Cycles, PlacedLoops, Profile, WeightedLoop, axis_finish
from solver.timing.timeline import Order
from solver.timing.windows import Mask

ENTRIES = 2**24
"""Lags, and pairs of blocks and elements, beyond which a layer is too large."""


@dataclass(frozen=True, eq=False)
class Response:
    """How one layer under one mapping, in one order of its blocks, answers to releases and producers.

    Elements and outputs are numbered by (n, ch, h, w), the last axis the fastest.

    Attributes
    ----------
    finish : ideal finish of each output, counted from the release; shape (outputs,).
    lags : for each edge of the layer `finish(o)` less the finish of the element; minus infinity where it
        does not matter; shape (elements of the producer, outputs).
    """

    profile: Profile
    order: Order | None
    finish: Cycles
    lags: tuple[Cycles, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Channels, and banks in each of them."""
        return self.profile.mapping.channels, self.profile.mapping.banks_per_channel

    def outputs(self, release: int, produced: Sequence[Cycles]) -> Cycles:
        """Return when each output is really finished, given the same for the producer of each edge."""
        finish = release + self.finish
        for lag, times in zip(self.lags, produced, strict=True):
            finish = np.maximum(finish, (times[:, None] + lag).max(axis=0))
        return finish


def responses(
    problem: Problem, layer: int, profile: Profile, orders: Sequence[Order | None]
) -> list[Response]:
    """Return how a layer under one mapping answers in each of several orders of its blocks.

    Raises
    ------
    InputError
        if the tables would be too large.
    """
    edges = problem.edges[layer]
    outputs = int(np.prod(profile.layer.shape, dtype=object))
    for edge in edges:
        elements = int(np.prod(problem.layers[edge.producer].shape, dtype=object))
        if elements * max(outputs, profile.blocks) > ENTRIES:
            raise InputError(
                f"layer '{profile.layer.name}': {elements} elements and {outputs} outputs are too many"
            )
    ideal, own = _finish(profile), _own_blocks(profile) if any(o is not None for o in orders) else None
    reads = [_reads(problem, edge, profile) for edge in edges]
    found = []
    for order in orders:
        starts, finish = profile.block_starts, ideal
        if order is not None and own is not None:
            starts = np.empty_like(starts)
            starts[order] = profile.block_starts
            finish = ideal + (starts - profile.block_starts)[own]
        lags = [_lags(mask, starts, finish, problem.hardware.cycles.transfer) for mask in reads]
        found.append(Response(profile, order, finish + profile.lead, tuple(lags)))
    return found


def response(problem: Problem, layer: int, profile: Profile, order: Order | None = None) -> Response:
    """Return how a layer under one mapping answers; errors as in `responses`."""
    return responses(problem, layer, profile, [order])[0]


def _finish(profile: Profile) -> Cycles:
    """Return the ideal finish of each output; shape (outputs,)."""
    finish = np.array(profile.finish_base)
    for bounds, loops in zip(profile.axis_bounds, profile.axis_loops, strict=True):
        finish = (finish[..., None] + axis_finish(bounds, loops)).ravel()
    return finish


def _own_blocks(profile: Profile) -> Cycles:
    """Return the block that finishes each output, if blocks may be permuted; shape (outputs,)."""
    strides = _strides(profile.block_shape)
    own = np.zeros(1, np.int64)
    for axis, bounds in zip(AXIS_OUTPUTS, profile.axis_bounds, strict=True):
        weighted = tuple(
            tuple(
                WeightedLoop(b, 0 if place is None else strides[place])
                for b, place in profile.read_loops[dim]
            )
            for dim in axis
        )
        own = (own[:, None] + axis_finish(bounds, weighted)).ravel()
    return own


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]


def _reads(problem: Problem, edge: Edge, profile: Profile) -> Mask:
    """Return which elements of an edge's producer each block reads; shape (blocks, elements)."""
    shape, rank = problem.layers[edge.producer].shape, len(profile.block_shape)
    read: Mask = np.ones((1,) * (rank + 4), np.bool_)
    for group in edge.groups:
        bounds = tuple([profile.layer.bounds[dim] for dim in group.dims])
        loops = tuple([profile.read_loops[dim] for dim in group.dims])
        read = read & _group_reads(group, shape, bounds, loops, rank)
    blocks = np.broadcast_to(read, (*profile.block_shape, *shape)).reshape(profile.blocks, -1)
    idle = profile.unread_blocks(edge.residual)
    return blocks if idle is None else blocks & ~idle[:, None]


@cached
def _group_reads(
    group: Group,
    shape: tuple[int, ...],
    bounds: tuple[int, ...],
    loops: tuple[PlacedLoops, ...],
    rank: int,
) -> Mask:
    """Return what blocks read on a group's axes; shape (block loops.., n, ch, h, w), 1 for other axes."""
    values = np.ones((1, 1), np.bool_)
    for axis, extent, interval in zip(group.axes, group.extents, group.intervals, strict=True):
        low, high = interval or (np.arange(extent), np.arange(extent))
        places = np.arange(shape[axis])
        inside = (low[:, None] <= places) & (places <= high[:, None])
        values = (
            np.logical_and.outer(values, inside).swapaxes(1, 2).reshape(-1, values.shape[1] * len(places))
        )
    read = to_block_axes(block_maxima(values.astype(np.int64), group, bounds, loops), loops, rank) > 0
    return read.reshape(*read.shape[:-1], *[n if axis in group.axes else 1 for axis, n in enumerate(shape)])


def _lags(reads: Mask, starts: Cycles, finish: Cycles, transfer: int) -> Cycles:
    """Return the lags of one edge, given when each block starts in the order of execution."""
    first = np.where(reads, starts[:, None], INFINITY).min(axis=0)
    lags: Cycles = np.where(first[:, None] < finish, transfer + finish - first[:, None], MINUS_INFINITY)
    return lags


Price = Callable[[Profile], float]
"""What a mapping costs beside its time, such as its energy."""


def distinct(options: Sequence[Response], price: Price | None = None) -> list[Response]:
    """Keep the first of those that answer alike on the same shape of banks with the same rows and price."""
    kept_first = {
        (
            o.shape,
            o.profile.rows,
            price and price(o.profile),
            o.finish.tobytes(),
            *[lag.tobytes() for lag in o.lags],
        ): o
        for o in reversed(options)
    }
    return list(reversed(kept_first.values()))


def efficient(options: Sequence[Response], price: Price | None = None) -> list[Response]:
    """Drop every option of a layer that another one dominates; of equal ones keep the first.

    One dominates another if it needs no more channels, banks in each of them and rows, finishes no output
    later, and lets no element delay an output more. Dropping the other loses nothing. Finish times are
    maxima of sums of these numbers, so with the better one in its place, on part of its banks, no output of
    any layer is finished later, given the same releases. With shared weights every layer keeps its place in
    the queue of each of its banks: those before it end no later, so it may be released as early as before,
    and it ends no later, so neither are those after it. Banks and rows suffice if they did before.
    """
    left = distinct(options, price)
    if not left:
        return []
    costs = np.array([[*o.shape, o.profile.rows] for o in left], np.int64)
    tables = np.stack([np.concatenate([o.finish, *[lag.ravel() for lag in o.lags]]) for o in left])
    table = np.concatenate((costs, tables), axis=1)
    if price is not None:
        ranks = np.unique([price(o.profile) for o in left], return_inverse=True)[1]
        table = np.concatenate((table, ranks[:, None]), axis=1)
    # Whoever dominates another one has a smaller sum, minus infinity counting as just below the least number
    # that occurs. A sum that is too large for 64 bits would only leave more options than necessary.
    lowest = int(table[table > MINUS_INFINITY].min())
    ranked = np.argsort(np.maximum(table, lowest - 1).sum(axis=1), kind="stable")
    chosen: list[int] = []
    while len(ranked):
        best, ranked = int(ranked[0]), ranked[1:]
        chosen.append(best)
        ranked = ranked[(table[ranked] < table[best]).any(axis=1)]
    return [left[i] for i in sorted(chosen)]
