"""What a candidate says about single elements: when each is finished, and when a consumer first reads it.

For a candidate that keeps the order of its loops both are sums with one term for each group of the operand,
so the largest over a region, a product of coordinates of each group, is a sum of maxima.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solver.timing.cache import cached
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.need import ideal_need, rising
from solver.timing.ordered import axis_classes, finish_grid, grid_need, last_finish
from solver.timing.problem import Edge, Group
from solver.timing.profile import (
    OUTPUTS,
    Cycles,
    Profile,
    WeightedLoop,
    WeightedLoops,
    axis_finish,
    digit_sums,
)
from solver.timing.ranges import range_minima
from solver.timing.timeline import Order, edge_records
from solver.timing.windows import Indices, Interval

Region = tuple[Indices, ...]
"""A product of coordinates: for each group of an operand, places in the raveled producer axes of it."""


@dataclass(frozen=True)
class Candidate:
    """A mapping that a layer may be given, with the order of its blocks if it is not that of the loops."""

    profile: Profile
    blocks: tuple[int, ...] | None = None

    @property
    def order(self) -> Order | None:
        """The order of the blocks, as the timeline takes it."""
        return None if self.blocks is None else np.array(self.blocks, np.int64)

    @property
    def end(self) -> int:
        """Ideal finish of the last output."""
        if self.order is None:
            return self.profile.last_finish
        return last_finish(finish_grid(self.profile, self.profile.block_starts, self.order), self.profile)


class ElementTimes(NamedTuple):
    """A time for each element: `base` plus the outer sum of the parts, one axis for each group.

    A table that does not separate has all of it in one part, with as many axes as there are groups.
    """

    base: int
    parts: tuple[Cycles, ...]

    def largest(self, region: Region) -> int:
        """Return the largest time in a region that is not empty."""
        if len(self.parts) < len(region):
            return self.base + int(self.parts[0][np.ix_(*region)].max())
        return self.base + sum(int(part[x].max()) for part, x in zip(self.parts, region, strict=True))

    def slices(self, group: int) -> Cycles:
        """Return what distinguishes the coordinates of a group; shape (coordinates, anything)."""
        if self.parts[0].ndim == 1:
            return self.parts[group][:, None]
        return np.moveaxis(self.parts[0], group, 0).reshape(self.parts[0].shape[group], -1)


@cached
def finish_table(candidate: Candidate, edge: Edge) -> ElementTimes:
    """Return the ideal finish of each element of the producer of an edge."""
    profile = candidate.profile
    if candidate.order is None:
        tables = [axis_finish(b, d) for b, d in zip(profile.axis_bounds, profile.axis_loops, strict=True)]
        parts = []
        for group in edge.groups:
            part = tables[group.axes[0]]
            for axis in group.axes[1:]:
                part = (part[:, None] + tables[axis]).ravel()
            parts.append(part)
        return ElementTimes(profile.finish_base, tuple(parts))
    grid = finish_grid(profile, profile.block_starts, candidate.order)
    dense = grid[np.ix_(*(axis_classes(profile, axis) for axis in range(grid.ndim)))]
    sizes = group_sizes(edge, profile)
    return ElementTimes(
        0, (dense.transpose([a for group in edge.groups for a in group.axes]).reshape(sizes),)
    )


def group_sizes(edge: Edge, producer: Profile) -> tuple[int, ...]:
    """Return the number of coordinates of each group of an edge."""
    return tuple(
        math.prod(math.prod(producer.axis_bounds[axis]) for axis in group.axes) for group in edge.groups
    )


@cached
def first_table(candidate: Candidate, edge: Edge, producer: Profile) -> ElementTimes:
    """Return the ideal start of the first block that reads each element; at least infinity if none does."""
    profile = candidate.profile
    if candidate.order is None:
        parts = tuple(_group_first(*_group_key(group, profile, producer)) for group in edge.groups)
        return ElementTimes(_first_finishing(profile) if edge.residual else 0, parts)
    dense = np.full(group_sizes(edge, producer), INFINITY, np.int64)
    starts, idle = profile.block_starts, profile.idle_blocks()
    for position in range(profile.blocks - 1, -1, -1):
        block = int(candidate.order[position])
        if idle is None or not idle[block]:
            dense[np.ix_(*block_region(profile, edge, producer, block))] = starts[position]
    return ElementTimes(0, (dense,))


def _first_finishing(profile: Profile) -> int:
    """Return the ideal start of the first block that is the last to add to what it works on."""
    loops = zip(profile.temporal[: profile.depth], profile.weights, strict=False)
    return sum((loop.bound - 1) * weight for loop, weight in loops if loop.dim not in OUTPUTS)


_Key = tuple[Group, tuple[tuple[int, ...], ...], tuple[int, ...], tuple[WeightedLoops, ...]]


def _group_key(group: Group, profile: Profile, producer: Profile) -> _Key:
    """Return what `_group_first` depends on: all else of a mapping is of no importance to it."""
    loops = [profile.read_loops[dim] for dim in group.dims]
    weighted = tuple(
        tuple(WeightedLoop(b, 0 if place is None else profile.weights[place]) for b, place in dim)
        for dim in loops
    )
    axes = tuple(producer.axis_bounds[axis] for axis in group.axes)
    return group, axes, tuple(profile.layer.bounds[dim] for dim in group.dims), weighted


@cached
def _group_first(
    group: Group, axes: tuple[tuple[int, ...], ...], bounds: tuple[int, ...], loops: tuple[WeightedLoops, ...]
) -> Cycles:
    """Return the group's part of the first read of each coordinate; infinity if there is none."""
    return _earliest(group, axes, [digit_sums(b, own) for b, own in zip(bounds, loops, strict=True)])


def _earliest(group: Group, axes: tuple[tuple[int, ...], ...], times: Sequence[Cycles]) -> Cycles:
    """Return the least sum of times, one for each value of each dim, with which a coordinate is read."""
    value, start = np.array([group.offset]), np.zeros(1, np.int64)
    for (_, coefficient), time in zip(group.terms, times, strict=True):
        value = (value[:, None] + coefficient * np.arange(len(time))).ravel()
        start = (start[:, None] + time).ravel()
    count = math.prod(group.extents)
    first = np.full(count, INFINITY, np.int64)
    inside = (value >= 0) & (value < count)
    np.minimum.at(first, value[inside], start[inside])
    first = first.reshape(group.extents)
    for axis, (bounds, interval) in enumerate(zip(axes, group.intervals, strict=True)):
        first = np.moveaxis(_widened(np.moveaxis(first, axis, 0), math.prod(bounds), interval), 0, axis)
    return first.ravel()


def _widened(first: Cycles, size: int, interval: Interval | None) -> Cycles:
    """Go from values of a form, along the leading axis, to the coordinates that they read."""
    if interval is not None:
        return range_minima(first, *interval, size)
    result = np.full((size, *first.shape[1:]), INFINITY, np.int64)
    result[: len(first)] = first
    return result


def block_region(consumer: Profile, edge: Edge, producer: Profile, block: int) -> Region:
    """Return what a block that is not idle reads of one operand; empty in some group if it is nothing."""
    digits = np.unravel_index(block, consumer.block_shape) if consumer.block_shape else ()
    unfinished = consumer.unfinished_blocks() if edge.residual else None
    if unfinished is not None and np.broadcast_to(unfinished, consumer.block_shape)[digits]:
        return tuple(np.zeros(0, np.int64) for _ in edge.groups)
    region = []
    for group in edge.groups:
        _, axes, bounds, _ = _group_key(group, consumer, producer)
        elsewhere = []
        for dim, bound in zip(group.dims, bounds, strict=True):
            apart, stride = np.zeros(bound, np.int64), 1
            for b, place in reversed(consumer.read_loops[dim]):
                if place is not None:
                    apart[np.arange(bound) // stride % b != digits[place]] = INFINITY
                stride *= b
            elsewhere.append(apart)
        region.append(np.flatnonzero(_earliest(group, axes, elsewhere) < INFINITY))
    return tuple(region)


@cached
def records(producer: Candidate, consumer: Candidate, edge: Edge) -> tuple[Cycles, Cycles]:
    """Return (ideal start, ideal finish needed) of the blocks that can wait, in the order of execution."""
    if producer.order is None and consumer.order is None:
        return edge_records(producer.profile, consumer.profile, edge)[:2]
    if producer.order is None:
        need = ideal_need(producer.profile, consumer.profile, edge)
    else:
        grid = finish_grid(producer.profile, producer.profile.block_starts, producer.order)
        need = grid_need(grid, producer.profile, consumer.profile, edge)
    starts = consumer.profile.block_starts
    return rising(
        starts, np.maximum(need if consumer.order is None else need[consumer.order], MINUS_INFINITY)
    )


@cached
def record_blocks(producer: Candidate, consumer: Candidate, edge: Edge) -> tuple[int, ...]:
    """Return the number, in the loops' own order, of each block of `records`."""
    starts, _ = records(producer, consumer, edge)
    positions = np.searchsorted(consumer.profile.block_starts, starts)
    return tuple((positions if consumer.order is None else consumer.order[positions]).tolist())
