"""The closed form: when what each block of a consumer reads is finished, from tables of the size of the axes.

The elements that a block reads are a product over the operand's groups, and the ideal finish of an element
is a sum over its axes. So the largest finish over the block is the sum of each group's largest, and that is
looked up by the digits of the block alone (docs/model.md, "Overlap in closed form").
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from solver import core
from solver.timing.cache import cached
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.problem import Edge, Group
from solver.timing.profile import (
    Cycles,
    PlacedLoop,
    PlacedLoops,
    Profile,
    WeightedLoop,
    WeightedLoops,
    axis_finish,
    digit_sums,
)
from solver.timing.ranges import range_maximum
from solver.timing.windows import Indices

FIRST = np.zeros(1, np.int64)


def form_values(group: Group, tables: list[Cycles]) -> Cycles:
    """Return for each value of the group's form the largest finish of what it reads; shape (values,)."""
    values: Cycles | None = None
    for table, extent, interval in zip(tables, group.extents, group.intervals, strict=True):
        axis = table[:extent] if interval is None else range_maximum(table, *interval)
        values = axis if values is None else (values[:, None] + axis).ravel()
    assert values is not None
    return values


def block_maxima(
    values: Cycles, group: Group, bounds: tuple[int, ...], read: tuple[PlacedLoops, ...]
) -> Cycles:
    """Return the largest value for each combination of the block digits of the group's dims.

    Parameters
    ----------
    values : (values of the form, ..); further axes are kept, at the end.
    bounds, read : for each dim of the form its bound and its loops, as in `Profile.read_digits`.

    Returns
    -------
    (block loops of the first dim .., of the second dim .., further axes of `values`).
    """
    read = tuple([loops or (PlacedLoop(bound, None),) for bound, loops in zip(bounds, read, strict=True)])
    index = _form_index(group, bounds, tuple([tuple([b for b, _ in loops]) for loops in read]))
    nothing = np.full((1, *values.shape[1:]), MINUS_INFINITY, np.int64)
    table = np.concatenate((values, nothing))[index]
    places = [place for loops in read for _, place in loops]
    inner = tuple([axis for axis, place in enumerate(places) if place is None])
    return np.asarray(table.max(axis=inner)) if inner else table


@cached
def _form_index(group: Group, bounds: tuple[int, ...], loops: tuple[tuple[int, ...], ...]) -> Indices:
    """Return the value of the form for all digits of all loops; where there is none, the number of values."""
    values = math.prod(group.extents)
    index: Indices = np.array(group.offset)
    idle: npt.NDArray[np.bool_] = np.array(False)
    for (_, coefficient), bound, own in zip(group.terms, bounds, loops, strict=True):
        coordinate = np.arange(math.prod(own), dtype=np.int64).reshape(own)
        index = index.reshape(index.shape + (1,) * len(own)) + coordinate * coefficient
        idle = idle.reshape(idle.shape + (1,) * len(own)) | (coordinate >= bound)
    return np.where(idle | (index < 0) | (index >= values), values, index)


def to_block_axes(table: Cycles, read: tuple[PlacedLoops, ...], rank: int) -> Cycles:
    """Put the block-loop axes of a table in the loops' own order, with length 1 for loops of other groups."""
    places = [place for loops in read for _, place in loops if place is not None]
    shape = [1] * rank + list(table.shape[len(places) :])
    for place, length in zip(places, table.shape, strict=False):
        shape[place] = length
    if places != sorted(places):
        further = range(len(places), table.ndim)
        table = table.transpose([*np.argsort(places).tolist(), *further])
    return table.reshape(shape)


@cached
def _group_need(
    group: Group,
    axis_bounds: tuple[tuple[int, ...], ...],
    finish: tuple[tuple[WeightedLoops, ...], ...],
    bounds: tuple[int, ...],
    read: tuple[PlacedLoops, ...],
    rank: int,
) -> Cycles:
    """Return the group's part of `compact_need`; an axis along which nothing changes has length 1."""
    tables = [axis_finish(b, loops) for b, loops in zip(axis_bounds, finish, strict=True)]
    need = to_block_axes(block_maxima(form_values(group, tables), group, bounds, read), read, rank)
    for axis, length in enumerate(need.shape):
        if length > 1:
            first = need[(slice(None),) * axis + (slice(1),)]
            if (need == first).all():
                need = first
    return need


def compact_need(producer: Profile, consumer: Profile, edge: Edge) -> Cycles:
    """Return the largest ideal finish of what each block reads, with one axis for each block loop.

    An axis has length 1 where the need does not depend on the loop. Negative where nothing is read.
    """
    rank = len(consumer.block_shape)
    bounds, loops = consumer.layer.bounds, consumer.read_loops
    parts = [
        _group_need(
            group,
            tuple([producer.axis_bounds[axis] for axis in group.axes]),
            tuple([producer.axis_loops[axis] for axis in group.axes]),
            tuple([bounds[dim] for dim in group.dims]),
            tuple([loops[dim] for dim in group.dims]),
            rank,
        )
        for group in edge.groups
    ]
    # The smallest first: few sums are as large as all blocks.
    parts.sort(key=_entries)
    need: Cycles = parts[0] + producer.finish_base
    for part in parts[1:]:
        need = need + part
    if edge.residual and (unfinished := consumer.unfinished_blocks()) is not None:
        need = np.where(unfinished, MINUS_INFINITY, need)
    return need


def _entries(table: Cycles) -> int:
    return table.size


def ideal_need(producer: Profile, consumer: Profile, edge: Edge) -> Cycles:
    """Return the largest ideal finish of what each block of the consumer reads.

    Returns
    -------
    (blocks of the consumer,) in its loops' own order, cycles of the producer; minus infinity where
    nothing is read.
    """
    need = np.broadcast_to(compact_need(producer, consumer, edge), consumer.block_shape).ravel()
    unread = need < 0 if (idle := consumer.unread_blocks(edge.residual)) is None else (need < 0) | idle
    return np.where(unread, MINUS_INFINITY, need)


def need_records(producer: Profile, consumer: Profile, edge: Edge) -> tuple[Cycles, Cycles]:
    """Return (ideal start, ideal finish needed) of the blocks that need more than all blocks before them.

    Only these can make the consumer wait. Of blocks that differ in loops on which the need does not depend,
    the first one alone can be among them.
    """
    if core.native is not None and None not in (producer.compiled, consumer.compiled):
        found: tuple[Cycles, Cycles] = core.native.records(
            producer.compiled, consumer.compiled, edge.compiled
        )
        return found
    need = compact_need(producer, consumer, edge)
    loops = map(WeightedLoop, need.shape, consumer.weights)
    starts = digit_sums(need.size, tuple(loop for loop in loops if loop.bound > 1))
    return rising(starts, need.ravel())


def rising(starts: Cycles, need: Cycles) -> tuple[Cycles, Cycles]:
    """Keep the entries whose need is read at all and larger than that of all entries before them."""
    highest = np.maximum.accumulate(need)
    chosen = np.concatenate((FIRST, np.flatnonzero(highest[1:] > highest[:-1]) + 1))
    starts, need = starts[chosen], need[chosen]
    unread = int(np.searchsorted(need, 0))
    return starts[unread:], need[unread:]
