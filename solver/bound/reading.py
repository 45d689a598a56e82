"""How much of a producer any part of a layer reads at least (docs/bound.md, "Reading")."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.network import DIMS, OUTPUT_DIMS, Layer
from solver.bound.reuse import Floats
from solver.timing.infinity import INFINITY
from solver.timing.problem import Edge, Group

Counts = npt.NDArray[np.int64]
MOST_CELLS = 3 * 10**7
"""Work of the exact table; beyond it a simple proportion is used."""

MOST_VALUES = 10**6
"""Combinations of digits for which it is told one by one what they read."""

FEW_POINTS = 2**10
"""Points whose concave hull is found one point after the other, without thinning them out first."""

MOST_KEPT = 0.9
"""Share of the points from which on it does not pay to thin them out once more."""

P_DIM, Q_DIM = DIMS.index("P"), DIMS.index("Q")
CHANNEL_AXES = 2
"""Number of axes before those of rows and columns."""


def needed_by_shares(layer: Layer, edge: Edge, grid: int) -> Counts:
    """Return the least elements of the producer that any share `i / grid` of the outputs reads.

    Where outputs at one position read unlike elements, nothing is claimed but for all outputs together.

    Returns
    -------
    (grid + 1,), rising; the first entry is what any one output reads, the last at most what all do.
    """
    counts = needed(layer, edge)
    if not _alike(layer, edge):
        return np.where(np.arange(grid + 1) == grid, counts[-1], 0)
    return counts[np.maximum(-(-np.arange(grid + 1) * (len(counts) - 1) // grid), 1)]


def _alike(layer: Layer, edge: Edge) -> bool:
    """Whether all outputs at one position read the same elements."""
    read = {DIMS[dim] for group in edge.groups for dim in group.dims}
    return all(layer.bound(dim) == 1 for dim in read & set(OUTPUT_DIMS) - {"P", "Q"})


def needed(layer: Layer, edge: Edge) -> Counts:
    """Return the least elements of the producer that any so many positions of the layer read.

    Returns
    -------
    (positions + 1,), rising; entry `n` is the least size of the union, over any `n` positions, of all that
    the outputs at these positions read. The last entry is exact, except that a flattened read which is not
    of the whole tensor counts as one element.
    """
    size = layer.bound("P") * layer.bound("Q")
    rows, columns = np.ones(layer.bound("P"), np.int64), np.ones(layer.bound("Q"), np.int64)
    rows[1:], columns[1:], others = 0, 0, 1
    for group in edge.groups:
        position = [dim for dim in (P_DIM, Q_DIM) if dim in group.dims]
        if len(group.axes) > 1 or len(position) > 1:
            return _all_or_nothing(size, edge, layer)
        gained = union_gains(coordinates(group, layer, position[0] if position else None))
        if not position:
            others *= int(gained.sum())
        elif position[0] == P_DIM:
            rows = gained
        else:
            columns = gained
    return _unions(rows, columns) * others


def reading_products(layer: Layer, edge: Edge) -> int:
    """Return how many products of any one output at least read the producer; 0 if some output may read none.

    Counted where each axis is read through dims of its own, other products are not claimed to read it.
    """
    dims = [dim for group in edge.groups for dim in group.dims]
    if edge.residual or len(dims) > len(set(dims)):
        return 0
    outputs = {DIMS.index(dim) for dim in OUTPUT_DIMS}
    count = math.prod(bound for dim, bound in enumerate(layer.bounds) if dim not in outputs | set(dims))
    for group in edge.groups:
        if math.prod(layer.bounds[dim] for dim in group.dims) > MOST_VALUES:
            return 0
        reads = _reads(group)
        values = np.add.outer(
            _sums(group, layer, outputs) + group.offset, _sums(group, layer, set(group.dims) - outputs)
        )
        inside = (values >= 0) & (values < len(reads))
        count *= int((inside & reads[np.where(inside, values, 0)]).sum(axis=1).min())
    return count


def _sums(group: Group, layer: Layer, dims: set[int]) -> Counts:
    """Return what some dims add to the values of a form, for each combination of their digits."""
    sums = np.zeros(1, np.int64)
    for dim, coefficient in group.terms:
        if dim in dims:
            sums = np.add.outer(sums, coefficient * np.arange(layer.bounds[dim])).ravel()
    return sums


def _reads(group: Group) -> npt.NDArray[np.bool_]:
    """Return which values of a form read anything on all of its axes."""
    reads = np.ones(1, bool)
    for extent, interval in zip(group.extents, group.intervals, strict=True):
        own = np.ones(extent, bool) if interval is None else interval[0] <= interval[1]
        reads = np.logical_and.outer(reads, own).ravel()
    return reads


def read_key(layer: Layer, edge: Edge) -> object:
    """Return what edges have in common through which layers read alike."""
    groups = tuple((g.axes, g.terms, g.offset, g.extents, g.windows) for g in edge.groups)
    return layer.bounds, edge.residual, groups


class Reads:
    """What layers read of their producers at least; edges that are alike share it."""

    def __init__(self) -> None:
        self._all: dict[object, int] = {}
        self._products: dict[object, int] = {}

    def in_all(self, layer: Layer, edge: Edge) -> int:
        """Return the last entry of `needed`, without the others."""
        key = read_key(layer, edge)
        if key not in self._all:
            self._all[key] = int(_all_or_nothing(1, edge, layer)[1])
        return self._all[key]

    def products(self, layer: Layer, edge: Edge) -> int:
        """Return `reading_products`."""
        key = read_key(layer, edge)
        if key not in self._products:
            self._products[key] = reading_products(layer, edge)
        return self._products[key]


def _all_or_nothing(size: int, edge: Edge, layer: Layer) -> Counts:
    """Return a table that knows only that all positions read all that is read."""
    counts = np.zeros(size + 1, np.int64)
    counts[size] = 1
    for group in edge.groups:
        if len(group.axes) == 1:
            counts[size] *= int(coordinates(group, layer, None).any(axis=0).sum())
        elif _whole(group, layer):
            counts[size] *= math.prod(int(_windows(axis).any(axis=0).sum()) for axis in _single_axes(group))
    return counts


def _whole(group: Group, layer: Layer) -> bool:
    """Whether a form runs once through all its values."""
    values = math.prod(group.extents)
    return group.offset == 0 and [(c, layer.bounds[dim]) for dim, c in group.terms] == [(1, values)]


def _single_axes(group: Group) -> list[Group]:
    """Return a group for each axis of a flattened one, with the coordinates before its windows as values."""
    parts = zip(group.axes, group.extents, group.windows, strict=True)
    return [Group((axis,), (), 0, (extent,), (windows,)) for axis, extent, windows in parts]


def coordinates(group: Group, layer: Layer, dim: int | None) -> npt.NDArray[np.bool_]:
    """Return which coordinates are read, for each coordinate of one dim of the form; one row without it."""
    values = np.array([group.offset])
    step, count = 0, 1
    for term, coefficient in group.terms:
        if term == dim:
            step, count = coefficient, layer.bounds[term]
        else:
            values = np.unique(values[:, None] + coefficient * np.arange(layer.bounds[term]))
    intervals = group.intervals[0]
    extent = group.windows[0][-1].extent if group.windows[0] else group.extents[0]
    read = np.zeros((count, extent), bool)
    for row in range(count):
        inside = values + row * step
        inside = inside[(inside >= 0) & (inside < group.extents[0])]
        if intervals is None:
            read[row, inside] = True
            continue
        low, high = intervals[0][inside], intervals[1][inside]
        marks = np.zeros(extent + 1, np.int64)
        np.add.at(marks, low[low <= high], 1)
        np.add.at(marks, high[low <= high] + 1, -1)
        read[row] = marks.cumsum()[:-1] > 0
    return read


def union_gains(read: npt.NDArray[np.bool_]) -> Counts:
    """Return by how many coordinates the least union of rows grows with each further one.

    Of any rows it is known that they read no less than the largest of them, and that no coordinate is read by
    more than some number of rows; of intervals there is a table over the last of them, exact if they move on.
    """
    sizes, whole = read.sum(axis=1), int(read.any(axis=0).sum())
    rising, most = np.sort(sizes), max(int(read.sum(axis=0).max(initial=0)), 1)
    least = np.maximum(rising, -(-rising.cumsum() // most))
    if sizes.all():
        low, high = read.argmax(axis=1), read.shape[1] - 1 - read[:, ::-1].argmax(axis=1)
        if (high - low + 1 == sizes).all():
            least = np.maximum(least, [int(own.min()) for own in _by_last(low, high)])
    least[-1] = whole
    return np.asarray(np.diff(np.maximum.accumulate(least), prepend=0), np.int64)


def _by_last(low: Counts, high: Counts) -> Iterator[Counts]:
    """Yield the least unions of one, two, three .. intervals, for each that may be the last."""
    length = high - low + 1
    least = length
    yield least
    for _ in range(1, len(length)):
        # Row i after row j < i adds what lies beyond high[j], at most all of itself; rows may be skipped.
        # Where a row ends before row j, this takes off no less than the next one may then add twice.
        apart = np.minimum.accumulate(least)[:-1] + length[1:]
        joined = np.minimum.accumulate(least - high)[:-1] + high[1:]
        least = np.concatenate(([INFINITY], np.minimum(apart, joined)))
        yield least


def _unions(rows: Counts, columns: Counts) -> Counts:
    """Return the least union for each number of positions, given what each next row and column adds.

    Sets that fill the rows from the first column on, each row no longer than the one before, are the least
    ones; the table runs over the rows and the length of the last.
    """
    height, width = len(rows), len(columns)
    size = height * width
    wide = np.concatenate(([0], columns.cumsum()))
    tall = np.concatenate(([0], rows.cumsum()))
    if size * height * width > MOST_CELLS:
        share = (tall[1:] / np.arange(1, height + 1)).min() * (wide[1:] / np.arange(1, width + 1)).min()
        counts = np.floor(np.arange(size + 1) * share * (1 - 1e-12)).astype(np.int64)
        counts[size] = tall[-1] * wide[-1]
        return np.asarray(np.minimum(counts, counts[size]))
    least = np.full((size + 1, width + 1), INFINITY, np.int64)
    least[0, width] = 0
    for row in rows.tolist():
        longer = np.minimum.accumulate(least[:, ::-1], axis=1)[:, ::-1]
        least = np.full_like(least, INFINITY)
        for length in range(width + 1):
            least[length:, length] = longer[: size + 1 - length, length] + row * wide[length]
    counts = least.min(axis=1)
    return np.asarray(np.minimum.accumulate(counts[::-1])[::-1])


def enabled(layer: Layer, edge: Edge, elements: Floats) -> Floats:
    """Return the most of a layer's work, as a share, that can be done while so many elements are finished.

    The elements may be any; what reads padding needs none. A residual holds up no work, only its end.
    """
    if edge.residual:
        return np.ones_like(elements)
    channels, read, planes = 1, 1.0, []
    for group, uses, share in _axis_uses(layer, edge):
        read *= share
        if len(group.axes) == 1 and group.axes[0] >= CHANNEL_AXES:
            windows = _windows(group)
            if len(windows) < len(uses):
                return np.ones_like(elements)
            planes.append((uses / uses.sum(), union_gains(windows)))
        elif len(group.axes) == 1 and _each_its_own(group, uses):
            channels *= int(np.count_nonzero(uses))
        else:
            return np.ones_like(elements)
    planes += [(np.ones(1), np.ones(1, np.int64))] * (2 - len(planes))
    (rows, row_gains), (columns, column_gains) = planes
    work = np.concatenate(([0.0], np.sort(np.outer(rows, columns).ravel())[::-1].cumsum()))
    done = _concave(_unions(row_gains, column_gains).astype(float), work, elements / channels)
    return np.asarray(np.minimum(1.0, 1 - read + read * done))


def _each_its_own(group: Group, uses: Counts) -> bool:
    """Whether all values of an axis that are used are so as often, and each reads its own coordinate."""
    used = np.flatnonzero(uses)
    if len(set(uses[used].tolist())) != 1:
        return False
    if group.intervals[0] is None:
        return True
    low, high = (own[used] for own in group.intervals[0])
    return bool(((low <= used) & (used <= high)).all())


def _axis_uses(layer: Layer, edge: Edge) -> Iterator[tuple[Group, Counts, float]]:
    """Yield groups with how often each of their values is used, and which share of the digits use one."""
    for group in edge.groups:
        if len(group.axes) > 1 and _whole(group, layer):
            for axis in _single_axes(group):
                yield axis, np.ones(axis.extents[0], np.int64), 1.0
        else:
            uses = _uses(group, layer)
            yield group, uses, float(uses.sum()) / math.prod(layer.bounds[dim] for dim in group.dims)


def _concave(x: Floats, y: Floats, at: Floats) -> Floats:
    """Return the least concave function above the points (x, y), both rising, at some places."""
    x, y = _bulging(x, y)
    xs, ys = x.tolist(), y.tolist()
    hull: list[int] = []
    for i, (right, top) in enumerate(zip(xs, ys, strict=True)):
        while len(hull) > 1:
            left, bottom = xs[hull[-2]], ys[hull[-2]]
            if (top - bottom) * (xs[hull[-1]] - left) < (ys[hull[-1]] - bottom) * (right - left):
                break
            hull.pop()
        hull.append(i)
    return np.asarray(np.interp(at, x[hull], y[hull]))


def _bulging(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Leave out points below the line between their neighbours, again and again while they are many.

    No concave function above the others is any lower for it. Hundreds of thousands are soon a few hundred.
    """
    while len(x) > FEW_POINTS:
        rise, run = np.diff(y), np.diff(x)
        kept = np.concatenate(([True], rise[1:] * run[:-1] < rise[:-1] * run[1:], [True]))
        x, y = x[kept], y[kept]
        if kept.mean() > MOST_KEPT:
            break
    return x, y


def _windows(group: Group) -> npt.NDArray[np.bool_]:
    """Return which coordinates each value of a form reads, for values that read any."""
    intervals = group.intervals[0]
    if intervals is None:
        return np.eye(group.extents[0], dtype=bool)
    low, high = intervals
    places = np.arange(group.windows[0][-1].extent)
    read = (places >= low[:, None]) & (places <= high[:, None])
    return np.asarray(read[read.any(axis=1)])


def _uses(group: Group, layer: Layer) -> Counts:
    """Return how many digits of the form's dims lead to each of its values."""
    uses, offset = np.ones(1, np.int64), group.offset
    for dim, coefficient in group.terms:
        reach = abs(coefficient) * (layer.bounds[dim] - 1)
        following = np.zeros(len(uses) + reach, np.int64)
        for digit in range(layer.bounds[dim]):
            begin = coefficient * digit if coefficient >= 0 else reach + coefficient * digit
            following[begin : begin + len(uses)] += uses
        uses, offset = following, offset - (reach if coefficient < 0 else 0)
    counts = np.zeros(math.prod(group.extents), np.int64)
    values = offset + np.arange(len(uses))
    inside = (values >= 0) & (values < len(counts))
    counts[values[inside]] = uses[inside]
    return counts
