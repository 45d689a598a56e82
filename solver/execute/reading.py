"""What a block reads of one operand: which elements, and how they become the numbers that it computes with.

At a point of its iteration space an operand reads a box of elements, a range on each axis. The number read
there is the sum of the box; it is 0 where the box is empty. A sum is not-a-number if one of its terms is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from models.network import AXES, DIMS, AxisName, Flatten, Operand
from overlapim_files import InputError
from solver.execute.numbers import PRIME, Numbers
from solver.reference import OuterDigits, TouchedCoordinates, walk_windows
from solver.timing.infinity import INFINITY
from solver.timing.profile import Cycles
from solver.timing.windows import Indices


class TimedTensor:
    """An input or a layer's output, shape (n, ch, h, w): its elements, and from when on they are readable."""

    def __init__(self, name: str, shape: tuple[int, int, int, int]) -> None:
        """Begin with elements that are not-a-number."""
        self.name, self.shape = name, shape
        self.values: Numbers = np.full(shape, np.nan)
        self.ready: Cycles = np.full(shape, INFINITY)

    def write(self, places: Indices, values: Numbers, ready: Cycles | int) -> None:
        """Give elements, by their position in the flattened tensor, their values."""
        self.values.ravel()[places] = values
        self.ready.ravel()[places] = ready


@dataclass(frozen=True, eq=False)
class _Axis:
    """The ranges of coordinates that are read on one axis.

    Attributes
    ----------
    elements : the coordinates in them, each once, rising.
    first, last : of each range the position in `elements` of its first one, and of the one after its last.
    """

    elements: Indices
    first: Indices
    last: Indices

    def reduce(self, operation: np.ufunc, array: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
        """Bring every range together; the axis has an entry for each element before and each range after."""
        if len(self.elements) == len(self.first) and (self.last - self.first == 1).all():
            return array
        ends = np.stack((self.first, self.last), 1).ravel()
        longer = np.concatenate((array, array.take([-1], axis)), axis)  # `reduceat` wants ends inside
        return operation.reduceat(longer, ends, axis)[(slice(None),) * axis + (slice(0, None, 2),)]


@dataclass(frozen=True, eq=False)
class _Reads:
    """What one form reads in a block.

    Attributes
    ----------
    axes : the ranges on each axis of the form.
    boxes : those combinations of ranges that are read, numbered with the last axis the fastest.
    spread : for all coordinates of the form's dims the position in `boxes`, or len(boxes) for padding.
    """

    axes: list[_Axis]
    boxes: Indices
    spread: Indices

    @cached_property
    def covered(self) -> npt.NDArray[np.bool_]:
        """Which combinations of elements, one of each axis, lie in some box."""
        sizes = [len(axis.first) for axis in self.axes]
        which = np.unravel_index(self.boxes, sizes)
        ends = [(x.first[i], x.last[i]) for x, i in zip(self.axes, which, strict=True)]
        count = np.zeros([len(axis.elements) + 1 for axis in self.axes], np.int64)
        for corner in itertools.product((0, 1), repeat=len(ends)):
            np.add.at(count, tuple(x[i] for x, i in zip(ends, corner, strict=True)), (-1) ** sum(corner))
        for axis in range(count.ndim):
            count = np.cumsum(count, axis)
        return np.asarray(count[(slice(-1),) * count.ndim] > 0)

    def box(self, position: int) -> list[slice]:
        """Return the positions in the elements of each axis that one box has."""
        which = np.unravel_index(self.boxes[position], [len(axis.first) for axis in self.axes])
        return [slice(axis.first[i], axis.last[i]) for axis, i in zip(self.axes, which, strict=True)]

    def reduce(self, operation: np.ufunc, array: npt.NDArray[Any], at: int) -> npt.NDArray[Any]:
        """Bring every box together; the form's axes, which begin with `at`, become one of all boxes."""
        for axis, own in enumerate(self.axes, at):
            array = own.reduce(operation, array, axis)
        rest = array.shape[at + len(self.axes) :]
        return array.reshape(*array.shape[:at], -1, *rest).take(self.boxes, at)

    def spread_out(self, boxes: Numbers, at: int) -> Numbers:
        """Replace the axis of boxes by one for each dim of the form."""
        if self.spread.max(initial=0) == len(self.boxes):
            padding = np.zeros((*boxes.shape[:at], 1, *boxes.shape[at + 1 :]))
            boxes = np.concatenate((boxes, padding), at)
        return boxes.take(self.spread, at)


def ranges(operand: Operand, axis: AxisName, extent: int, read: int) -> tuple[Indices, Indices]:
    """Return for each value below `extent` the first coordinate that it leads to and the one after the last.

    `read` is the extent of the tensor's axis. Where nothing is read both are the same.
    """
    found = [walk_windows(operand, axis, value, read) for value in range(extent)]
    return np.array([x.start for x in found]), np.array([max(x.start, x.stop) for x in found])


class _Form:
    """One form of an operand, with what each of its values leads to."""

    def __init__(
        self,
        operand: Operand,
        names: tuple[AxisName, ...],
        shape: Sequence[int],
        coordinates: TouchedCoordinates,
    ) -> None:
        own = operand.flatten if len(names) > 1 else operand.axes[names[0]]
        assert own is not None
        read = [shape[AXES.index(name)] for name in names]
        self.form, self.coordinates = own, coordinates
        self.dims = [DIMS.index(dim) for dim in own.terms]
        self.extents = own.shape if isinstance(own, Flatten) else (own.extent or read[0],)
        self.ranges = [ranges(operand, *axis) for axis in zip(names, self.extents, read, strict=True)]
        self._known: dict[Hashable, _Reads] = {}

    def reads(self, digits: OuterDigits) -> _Reads:
        """Return what is read in the block with these digits."""
        key = self.coordinates.form_key(self.form.terms, digits)
        if key not in self._known:
            self._known[key] = self._found(digits)
        return self._known[key]

    def _found(self, digits: OuterDigits) -> _Reads:
        value = np.array(self.form.offset)
        for dim, coefficient in self.form.terms.items():
            value = value[..., None] + coefficient * np.array(self.coordinates.touched(dim, digits), np.int64)
        inside = (value >= 0) & (value < math.prod(self.extents))
        places = np.unravel_index(np.where(inside, value, 0), self.extents)
        for (low, high), place in zip(self.ranges, places, strict=True):
            inside = inside & (low[place] < high[place])
        axes, numbers = [], []
        for (low, high), place in zip(self.ranges, places, strict=True):
            axis, which = _axis(low[place[inside]], high[place[inside]])
            axes.append(axis)
            numbers.append(which)
        flat = np.zeros(len(numbers[0]), np.int64)
        for axis, which in zip(axes, numbers, strict=True):
            flat = flat * len(axis.first) + which
        boxes, which = np.unique(flat, return_inverse=True)
        spread = np.full(value.shape, len(boxes))
        spread[inside] = which
        return _Reads(axes, boxes, spread)


def _axis(low: Indices, high: Indices) -> tuple[_Axis, Indices]:
    """Return the different ones among ranges, and which of them each is."""
    different, which = np.unique(np.stack((low, high), 1), axis=0, return_inverse=True)
    opened = np.zeros(high.max(initial=0) + 1, np.int64)
    np.add.at(opened, different[:, 0], 1)
    np.add.at(opened, different[:, 1], -1)
    elements = np.flatnonzero(np.cumsum(opened))
    first, last = np.searchsorted(elements, different.T)
    return _Axis(elements, first, last), which.ravel()


class Reader:
    """One operand of a layer, read block by block; `loaded` is when each element has been read first."""

    def __init__(self, operand: Operand, coordinates: TouchedCoordinates, tensor: TimedTensor) -> None:
        """Prepare reading a tensor at the coordinates that blocks of `space` have."""
        self.tensor = tensor
        self.loaded: Cycles = np.full(tensor.shape, INFINITY)
        self.forms = [_Form(operand, names, tensor.shape, coordinates) for names, _ in operand.forms()]
        self.dims = [dim for form in self.forms for dim in form.dims]

    def read(self, digits: OuterDigits, time: int) -> tuple[Numbers, int]:
        """Read at the points of a block, at a time.

        Returns
        -------
        numbers : an axis for each dim of `DIMS`, 1 long where the operand does not depend on it.
        need : the first time at which all of it is readable.

        Raises
        ------
        InputError
            if an element is not readable yet; names element and time.
        """
        reads = [form.reads(digits) for form in self.forms]
        if not all(len(read.boxes) for read in reads):
            return np.zeros((1,) * len(DIMS)), 0
        where = np.ix_(*(axis.elements for read in reads for axis in read.axes))
        ready = self.tensor.ready[where]
        found = np.where(ready <= time, self.tensor.values[where], np.nan)
        need: npt.NDArray[Any] = ready
        boxes: npt.NDArray[Any] = found
        for at, read in enumerate(reads):
            need, boxes = read.reduce(np.maximum, need, at), read.reduce(np.add, boxes, at) % PRIME
        if np.isnan(boxes).any():
            raise self._early(reads, found, np.argwhere(np.isnan(boxes))[0].tolist(), time)
        covered = reduce(np.multiply.outer, [read.covered for read in reads])
        self.loaded[where] = np.where(covered, np.minimum(self.loaded[where], time), self.loaded[where])
        for at, read in reversed(list(enumerate(reads))):
            boxes = read.spread_out(boxes, at)
        return self._in_dims(boxes), int(need.max())

    def _in_dims(self, numbers: Numbers) -> Numbers:
        """Order the axes as in `DIMS` and add those that are missing."""
        shape = [1] * len(DIMS)
        for dim, size in zip(self.dims, numbers.shape, strict=True):
            shape[dim] = size
        return numbers.transpose(np.argsort(self.dims)).reshape(shape)

    def _early(self, reads: Sequence[_Reads], found: Numbers, boxes: Sequence[int], time: int) -> InputError:
        """Return the error for a read whose sum is not-a-number: the first such element of these boxes."""
        inside = [part for read, i in zip(reads, boxes, strict=True) for part in read.box(i)]
        place = np.argwhere(np.isnan(found[tuple(inside)]))[0]
        axes = [axis for read in reads for axis in read.axes]
        element = tuple([int(x.elements[part][i]) for x, part, i in zip(axes, inside, place, strict=True)])
        ready = int(self.tensor.ready[element])
        until = "it is not finished" if ready == INFINITY else f"it can be read from {ready} on"
        return InputError(f"reads element {element} of '{self.tensor.name}' at {time}, but {until}")
