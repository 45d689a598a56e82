"""The pairwise baseline: every data space of the consumer is compared with every data space of the producer.

A data space is what one bank handles in one step. This is how overlap was found before the closed form; its
cost is the product of the numbers of data spaces, and it is kept to be measured against and tested with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.network import AXES, AXIS_DIMS, DIMS, OUTPUT_DIMS, AxisAccess, AxisName, Dim, Flatten, Operand
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.problem import Edge
from solver.timing.profile import Cycles, Profile
from solver.timing.windows import Indices, Mask


def data_spaces(profile: Profile) -> int:
    """Return the number of data spaces of a mapped layer: steps times banks."""
    return math.prod(loop.bound for loop in profile.mapping.loops if loop.kind != "column")


def pairwise_need(producer: Profile, consumer: Profile, edge: Edge) -> Cycles:
    """Return the largest ideal finish of what each block of the consumer reads, by comparing all data spaces.

    Returns
    -------
    (blocks of the consumer,) in its loops' own order, cycles of the producer; minus infinity where
    nothing is read.
    """
    made, reading = _Spaces(producer), _Spaces(consumer)
    finish = made.finish()
    # With the latest data space first, the first one that is met is the one that counts.
    by_finish = np.argsort(-finish, kind="stable")
    finish = finish[by_finish]
    axes: list[tuple[Indices, npt.NDArray[np.uint8], Indices]] = []
    for names, form in edge.operand.forms():
        made_sets, made_ids = made.produced(names)
        read_sets, read_ids = reading.read(edge.operand, names, form, producer.layer.shape)
        axes.append((read_ids, _meetings(read_sets, made_sets), made_ids[by_finish]))

    used = reading.finishing() if edge.residual else reading.used(DIMS)
    need = np.full(reading.count, MINUS_INFINITY, np.int64)
    for space in np.flatnonzero(used).tolist():
        met: Mask | None = None
        for read_ids, meetings, made_ids in axes:
            row = np.unpackbits(meetings[read_ids[space]]).view(np.bool_)[made_ids]
            met = row if met is None else met & row
        assert met is not None
        first = int(met.argmax())
        if met[first]:
            need[space] = finish[first]
    return np.asarray(need.reshape(consumer.blocks, -1).max(axis=1))


class _Spaces:
    """The data spaces of a mapped layer: all digits of the temporal, then of the channel and bank loops."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        loops = profile.mapping.loops
        steps = [i for i, loop in enumerate(loops) if loop.kind == "temporal"]
        banks = [i for i, loop in enumerate(loops) if loop.kind in ("channel", "bank")]
        self.place = {i: place for place, i in enumerate(steps + banks)}
        self.bounds = tuple(loops[i].bound for i in steps + banks)
        self.count = math.prod(self.bounds)
        self.digits = np.indices(self.bounds, dtype=np.int64).reshape(len(self.bounds), self.count)

    def dim_sets(self, dim: Dim) -> tuple[list[Indices], Indices]:
        """Return the distinct sets of coordinates of a data space's columns, and which one each has."""
        own: list[tuple[int, list[int]]] = []  # place of the loop or -1, what each of its digits adds
        stride = 1
        for i in reversed(range(len(self.profile.mapping.loops))):
            loop = self.profile.mapping.loops[i]
            if loop.dim == dim:
                own.append((self.place.get(i, -1), [d * stride for d in range(loop.bound)]))
                stride *= loop.bound
        columns = np.zeros(1, np.int64)
        for place, parts in own:
            if place < 0:
                columns = (columns[:, None] + np.array(parts)).ravel()
        outer = [(place, parts) for place, parts in own if place >= 0]
        bound = self.profile.layer.bound(dim)
        sets = []
        for point in itertools.product(*(parts for _, parts in outer)):
            coordinates = columns + sum(point)
            sets.append(coordinates[coordinates < bound])
        return sets, self._ids([place for place, _ in outer])

    def _ids(self, places: Sequence[int]) -> Indices:
        """Return for each data space its digits at some places as one number, the first place the slowest."""
        ids = np.zeros(self.count, np.int64)
        for place in places:
            ids = ids * self.bounds[place] + self.digits[place]
        return ids

    def combined(self, dims: Sequence[Dim], weights: Sequence[int]) -> tuple[list[Indices], Indices]:
        """Return the distinct sets of values of `sum(weight * dim)`, and which one each data space has."""
        sets, ids = [np.zeros(1, np.int64)], np.zeros(self.count, np.int64)
        for dim, weight in zip(dims, weights, strict=True):
            own, own_ids = self.dim_sets(dim)
            sets = [(a[:, None] + b * weight).ravel() for a in sets for b in own]
            ids = ids * len(own) + own_ids
        return sets, ids

    def produced(self, axes: Sequence[AxisName]) -> tuple[list[Indices], Indices]:
        """Return the distinct sets of coordinates produced on some axes, taken as one flat axis."""
        dims: list[Dim] = []
        extents: list[int] = []
        for axis in axes:
            own = AXIS_DIMS[AXES.index(axis)]
            dims += own
            extents += [self.profile.layer.bound(dim) for dim in own]
        return self.combined(dims, [math.prod(extents[i + 1 :]) for i in range(len(dims))])

    def read(
        self, operand: Operand, axes: Sequence[AxisName], form: AxisAccess | Flatten, shape: Sequence[int]
    ) -> tuple[list[Indices], Indices]:
        """Return the distinct sets of coordinates read on some axes, taken as one flat axis."""
        values, ids = self.combined(tuple(form.terms), tuple(form.terms.values()))
        extents = [shape[AXES.index(axis)] for axis in axes]
        if isinstance(form, Flatten):
            extent = math.prod(form.shape)
            windowed = any(operand.axes[axis].windows for axis in axes)
        else:
            extent = form.extent or extents[0]
            windowed = bool(form.windows)
        valid = [np.unique(v[(v >= 0) & (v < extent)]) for v in (v + form.offset for v in values)]
        if not windowed:
            size = math.prod(extents)
            return [v[v < size] for v in valid], ids
        reads = _Boxes(operand, axes, form, extents)
        return [reads.union(v) for v in valid], ids

    def finish(self) -> Cycles:
        """Return when the outputs of each data space are finished, whichever step adds to them last."""
        profile = self.profile
        if profile.drain_depth == 0:
            return np.full(self.count, profile.total - profile.lead, np.int64)
        first = profile.weights[profile.drain_depth - 1]
        first += profile.t_in if profile.load_depth < profile.drain_depth else 0
        times = np.full(self.count, first + self.opened(), np.int64)
        for i in range(profile.drain_depth):
            loop, weight = profile.temporal[i], profile.weights[i]
            times += (self.digits[i] if loop.dim in OUTPUT_DIMS else loop.bound - 1) * weight
        return times

    def opened(self) -> int:
        """Return the cycles of opening a row that lie between the start of the first block and an output."""
        profile = self.profile
        if profile.open_depth is None:
            return 0
        outside = (profile.open_depth < profile.drain_depth) - (profile.open_depth < profile.depth)
        return outside * profile.t_open

    def finishing(self) -> Mask:
        """Return which data spaces have outputs to do, in blocks that are the last to add to them."""
        result = self.used(OUTPUT_DIMS)
        for i, loop in enumerate(self.profile.temporal[: self.profile.depth]):
            if loop.dim not in OUTPUT_DIMS:
                result &= self.digits[i] == loop.bound - 1
        return result

    def used(self, dims: Sequence[Dim]) -> Mask:
        """Return which data spaces have something to do: in none of the dims are all coordinates idle."""
        result = np.ones(self.count, np.bool_)
        for dim in dims:
            sets, ids = self.dim_sets(dim)
            result &= np.array([len(s) > 0 for s in sets])[ids]
        return result


class _Boxes:
    """What the values of a form lead to through windows, each to a box on some axes."""

    def __init__(
        self, operand: Operand, axes: Sequence[AxisName], form: AxisAccess | Flatten, extents: Sequence[int]
    ) -> None:
        self.accesses = [operand.axes[axis] for axis in axes]
        self.shape = form.shape if isinstance(form, Flatten) else None
        self.extents = extents
        self.known: dict[int, tuple[slice, ...] | None] = {}

    def union(self, values: Indices) -> Indices:
        """Return the flat coordinates in the boxes of some values."""
        marked = np.zeros(tuple(self.extents), np.bool_)
        for value in values.tolist():
            if value not in self.known:
                self.known[value] = self._box(value)
            box = self.known[value]
            if box is not None:
                marked[box] = True
        return np.flatnonzero(marked)

    def _box(self, value: int) -> tuple[slice, ...] | None:
        place = [value] if self.shape is None else [int(x) for x in np.unravel_index(value, self.shape)]
        ranges = [
            _range(access, x, extent)
            for access, x, extent in zip(self.accesses, place, self.extents, strict=True)
        ]
        box = tuple(slice(low, high + 1) for low, high in ranges)
        return box if all(low <= high for low, high in ranges) else None


def _range(access: AxisAccess, value: int, extent: int) -> tuple[int, int]:
    """Return the first and last coordinate of an axis that a value leads to; the first is larger for none."""
    low = high = value
    sizes = [*(window.extent or extent for window in access.windows[:-1]), extent]
    for window, size in zip(access.windows, sizes, strict=False):
        if window.all:
            low, high = 0, size - 1
        elif window.block:
            low, high = low // window.block * window.block, (high // window.block + 1) * window.block - 1
        elif window.divide:
            low, high = _divided(low, high, window.divide, window.keep or 1)
        elif window.every:
            places = [x // window.every for x in (low, high)]
            before, first = low % window.every > (window.first or 0), window.first or 0
            low, high = places[0] + before, places[1] - (high % window.every < first)
        else:
            scale, shift, width = window.scale or 1, window.shift or 0, window.width or 1
            low, high = low * scale + shift, high * scale + shift + width - 1
        low, high = max(low, 0), min(high, size - 1)
        if low > high:
            break
    return low, min(high, extent - 1)


def _divided(low: int, high: int, divisor: int, keep: int) -> tuple[int, int]:
    """Divide what counts runs of `keep` coordinates; an interval over several becomes whole ones."""
    if low // keep < high // keep:
        low, high = low // keep * keep, (high // keep + 1) * keep - 1
    first, last = (x // (keep * divisor) * keep + x % keep for x in (low, high))
    return first, last


def _meetings(reads: list[Indices], made: list[Indices]) -> npt.NDArray[np.uint8]:
    """Return which sets have a member in common, (reads, made), the second axis packed into bits."""
    size = 1 + max((int(s.max()) for s in itertools.chain(reads, made) if len(s)), default=0)
    filled = [i for i, s in enumerate(made) if len(s)]
    members = np.concatenate([made[i] for i in filled])
    begins = np.cumsum([0, *(len(made[i]) for i in filled[:-1])])
    packed = np.zeros((len(reads), -(-len(made) // 8)), np.uint8)
    for i, read in enumerate(reads):
        marked = np.zeros(size, np.bool_)
        marked[read] = True
        met = np.zeros(len(made), np.bool_)
        met[filled] = np.logical_or.reduceat(marked[members], begins)
        packed[i] = np.packbits(met)
    return packed
