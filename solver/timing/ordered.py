"""Overlap with a producer whose blocks are permuted: its finish times no longer separate over the axes.

They are kept as a grid with one axis for each output axis, one entry for each class of coordinates that
share their temporal digits; a consumer takes maxima over it axis by axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.network import OUTPUT_DIMS
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.need import block_maxima, to_block_axes
from solver.timing.problem import Edge, Group
from solver.timing.profile import AXIS_OUTPUTS, Cycles, Profile, WeightedLoop, axis_finish
from solver.timing.ranges import range_maximum

Classes = npt.NDArray[np.int64]


def finish_grid(profile: Profile, block_starts: Cycles, order: npt.NDArray[np.int64]) -> Cycles:
    """Return the real finish for each combination of temporal output digits; one axis for each output axis.

    Parameters
    ----------
    block_starts : real start of each block in the order of execution; `order` is that permutation.
    """
    starts = np.empty_like(block_starts)
    starts[order] = block_starts
    drained = profile.temporal[: profile.drain_depth]
    output = [i for i, loop in enumerate(drained) if loop.dim in OUTPUT_DIMS]
    grid = starts.reshape(profile.block_shape + (1,) * (len(output) - profile.depth)) + profile.finish_base
    for place, i in enumerate(output[profile.depth :], profile.depth):
        shape = [1] * len(output)
        shape[place] = drained[i].bound
        grid = grid + (np.arange(drained[i].bound, dtype=np.int64) * profile.weights[i]).reshape(shape)
    by_axis = [
        [place for dim in dims for place, i in enumerate(output) if OUTPUT_DIMS.index(drained[i].dim) == dim]
        for dims in AXIS_OUTPUTS
    ]
    shape = [int(np.prod([grid.shape[place] for place in places], dtype=np.int64)) for places in by_axis]
    return grid.transpose([place for places in by_axis for place in places]).reshape(shape)


def axis_classes(profile: Profile, axis: int) -> Classes:
    """Return for each coordinate of an output axis its place on that axis of the grid."""
    stride = 1
    classes = []
    for i in reversed(AXIS_OUTPUTS[axis]):
        weighted = []
        loops = [loop for loop in profile.mapping.loops if loop.dim == OUTPUT_DIMS[i]]
        for loop in reversed(loops):
            weighted.append(WeightedLoop(loop.bound, stride if loop.kind == "temporal" else 0))
            stride *= loop.bound if loop.kind == "temporal" else 1
        classes.append(tuple(reversed(weighted)))
    bounds = tuple(profile.layer.bounds[i] for i in AXIS_OUTPUTS[axis])
    return axis_finish(bounds, tuple(reversed(classes)))


def last_finish(grid: Cycles, profile: Profile) -> int:
    """Return the real finish of the last output."""
    return int(grid[np.ix_(*(np.unique(axis_classes(profile, axis)) for axis in range(grid.ndim)))].max())


def grid_need(grid: Cycles, producer: Profile, consumer: Profile, edge: Edge) -> Cycles:
    """Return the largest real finish of what each block of the consumer reads, or minus infinity."""
    rank = len(consumer.block_shape)
    # The remaining axes of the producer stand first, the block loops of the groups that are done last.
    need, left = grid, list(range(grid.ndim))
    for group in edge.groups:
        where = [left.index(axis) for axis in group.axes]
        need = np.moveaxis(need, where, range(len(where)))
        left = [axis for axis in left if axis not in group.axes]
        values = _form_values(need, group, producer)
        bounds = tuple(consumer.layer.bounds[dim] for dim in group.dims)
        read = tuple(consumer.read_loops[dim] for dim in group.dims)
        need = block_maxima(values, group, bounds, read)
        blocks = sum(place is not None for loops in read for _, place in loops)
        need = np.moveaxis(need, range(blocks), range(need.ndim - blocks, need.ndim))
    reads = tuple(consumer.read_loops[dim] for group in edge.groups for dim in group.dims)
    result = np.broadcast_to(to_block_axes(need, reads, rank), consumer.block_shape).ravel().copy()
    if (idle := consumer.unread_blocks(edge.residual)) is not None:
        result[idle] = MINUS_INFINITY
    return result


def _form_values(need: Cycles, group: Group, producer: Profile) -> Cycles:
    """Return the maxima for each value of the group's form, over the leading axes of `need`."""
    for place, (axis, interval, extent) in enumerate(
        zip(group.axes, group.intervals, group.extents, strict=True)
    ):
        table = np.moveaxis(need, place, 0)[axis_classes(producer, axis)]
        table = table[:extent] if interval is None else range_maximum(table, *interval)
        need = np.moveaxis(table, 0, place)
    return need.reshape(-1, *need.shape[len(group.axes) :])
