"""What makes a network meaningful beyond the shape of its file; every function raises on the first fault.

The faults carry where they were found, so that a reader of files can name the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic_core import PydanticCustomError

from models.layer import (
    AXES,
    MAX_EXTENT,
    MAX_FORM_POINTS,
    MAX_MACS,
    AxisAccess,
    AxisName,
    Flatten,
    Layer,
    NetworkInput,
    Operand,
    Window,
)
from overlapim_files import Step, fault, nearest

MAX_OUTPUTS = 2**40
MAX_FLATTENED = 2**22
Shape = tuple[int, int, int, int]
Coordinates = npt.NDArray[np.int64]
Where = tuple[Step, ...]

# Layers by themselves


def check_layers(layers: Sequence[Layer]) -> None:
    """Check of each layer what does not depend on others: its size, and that its operands fit together."""
    for i, layer in enumerate(layers):
        _check_size(layer, ("layers", i, "dims"))
        _check_cache(layer, ("layers", i))
        _check_concatenations(layer, ("layers", i, "operands"))
        for j, operand in enumerate(layer.operands):
            _check_dims_once(layer, operand, ("layers", i, "operands", j))
            _check_flatten(layer, operand, ("layers", i, "operands", j))


def _check_size(layer: Layer, at: Where) -> None:
    limits = (
        (layer.shape[1], MAX_EXTENT, "output channels (G * K)"),
        (math.prod(layer.shape), MAX_OUTPUTS, "output elements"),
        (layer.macs, MAX_MACS, "multiply-accumulates"),
    )
    for size, limit, what in limits:
        if size > limit:
            raise fault(f"layer '{layer.name}' has {size} {what}; the limit is {limit}", *at)


def _check_cache(layer: Layer, at: Where) -> None:
    if layer.cache and not layer.weights:
        text = "'cache' says whose its weights are, but a product of activations has none"
        raise fault(f"layer '{layer.name}': {text}", *at, "cache")
    if layer.cache and layer.bound("N") > 1:
        text = f"a cache is that of one inference, so dim N must be 1, not {layer.bound('N')}"
        raise fault(f"layer '{layer.name}': {text}", *at, "dims")


def _check_concatenations(layer: Layer, at: Where) -> None:
    sums: dict[str, str | None] = {}
    for j, operand in enumerate(layer.operands):
        if operand.concat and sums.setdefault(operand.concat, operand.sum) != operand.sum:
            text = f"layer '{layer.name}': the parts of concat '{operand.concat}' must have the same 'sum'"
            raise fault(text, *at, j)


def _check_dims_once(layer: Layer, operand: Operand, at: Where) -> None:
    seen: dict[str, str] = {}
    for names, form in operand.forms():
        label = "flatten" if isinstance(form, Flatten) else names[0]
        points = math.prod(layer.bound(dim) for dim in form.terms)
        if points > MAX_FORM_POINTS:
            text = f"the dims of this form have {points} combinations; the limit is {MAX_FORM_POINTS}"
            raise fault(f"layer '{layer.name}': {text}", *at, *_path(label))
        for dim in form.terms:
            if dim in seen:
                text = f"dim {dim} stands on {seen[dim]} and on {label}; an operand may use a dim once"
                raise fault(f"layer '{layer.name}': {text}", *at, *_path(label))
            seen[dim] = label


def _path(label: str) -> Where:
    return ("flatten",) if label == "flatten" else ("axes", label)


def _check_flatten(layer: Layer, operand: Operand, at: Where) -> None:
    if operand.flatten is None:
        return
    if math.prod(operand.flatten.shape) > MAX_FLATTENED:
        text = f"the flattened shape has more than {MAX_FLATTENED} elements"
        raise fault(f"layer '{layer.name}': {text}", *at, "flatten", "shape")
    for axis in AXES[1:]:
        access = operand.axes[axis]
        if access.terms or access.offset or access.extent is not None:
            text = "beside 'flatten' an axis may have 'windows' only; terms, offset and shape go to 'flatten'"
            raise fault(f"layer '{layer.name}': {text}", *at, "axes", axis)


# The graph


def check_names(inputs: Sequence[NetworkInput], layers: Sequence[Layer]) -> None:
    """Check that every name is given once and that every operand reads a tensor that there is."""
    places: list[tuple[str, Where]] = [(x.name, ("inputs", i)) for i, x in enumerate(inputs)]
    places += [(x.name, ("layers", i)) for i, x in enumerate(layers)]
    names: set[str] = set()
    for name, at in places:
        if name in names:
            raise fault(f"the name '{name}' is given twice; inputs and layers share their names", *at, "name")
        names.add(name)
    for i, layer in enumerate(layers):
        for j, operand in enumerate(layer.operands):
            if operand.producer not in names:
                hint = nearest(operand.producer, [name for name, _ in places])
                text = f"layer '{layer.name}' reads '{operand.producer}', which there is not{hint}"
                raise fault(text, "layers", i, "operands", j, "from")


def cycle_fault(
    layers: Sequence[Layer], producers: Sequence[Sequence[int]], ordered: Sequence[int]
) -> PydanticCustomError:
    """Return the fault that names the layers of one cycle; `ordered` are those that depend on no cycle."""
    stuck = set(range(len(layers))) - set(ordered)
    path = [min(stuck)]
    while path.count(path[-1]) == 1:
        path.append(next(p for p in producers[path[-1]] if p in stuck))
    cycle = path[path.index(path[-1]) :]
    names = [f"'{layers[i].name}'" for i in cycle]
    if len(names) > 8:
        names = [*names[:4], "..", *names[-3:]]
    return fault(f"these layers wait for each other: {' reads '.join(names)}", "layers", cycle[0])


# What operands read


def check_reads(layers: Sequence[Layer], shapes: dict[str, Shape]) -> None:
    """Check every operand against the shape of the tensor that it reads."""
    for i, layer in enumerate(layers):
        for j, operand in enumerate(layer.operands):
            at, shape = ("layers", i, "operands", j), shapes[operand.producer]
            for axis, extent in zip(AXES, shape, strict=True):
                _check_extents(layer, operand, axis, extent, at)
            for names, form in operand.forms():
                _check_form(layer, operand, names, form, shape, at)


def _check_extents(layer: Layer, operand: Operand, axis: AxisName, read: int, at: Where) -> None:
    """Check that the form and the windows of an axis hand extents on to each other down to the tensor's."""
    access, place = operand.axes[axis], (*at, "axes", axis)
    given, source = access.extent, (*place, "extent")
    if operand.flatten is not None and axis != "n":
        given, source = operand.flatten.shape[AXES.index(axis) - 1], (*at, "flatten", "shape")
    if access.windows and given is None:
        text = f"axis {axis} has windows, so it needs 'extent': how many values its form ranges over"
        raise fault(f"layer '{layer.name}': {text}", *place)
    chain = [(given, source)]
    chain += [(window.extent, (*place, "windows", k, "extent")) for k, window in enumerate(access.windows)]
    _check_last(layer, operand, axis, chain[-1], read)
    for extent, here in chain[1:-1]:
        if extent is None:
            text = "a window before the last needs 'extent': how many values it reads"
            raise fault(f"layer '{layer.name}': {text}", *here[:-1])


def _check_last(
    layer: Layer, operand: Operand, axis: AxisName, last: tuple[int | None, Where], read: int
) -> None:
    """Check that the extent at the end of the chain, if it is given, is that of the tensor."""
    extent, at = last
    if extent not in (None, read):
        text = f"axis {axis} of '{operand.producer}' has extent {read}, not {extent}"
        raise fault(f"layer '{layer.name}': {text}", *at)


def _check_form(
    layer: Layer,
    operand: Operand,
    names: tuple[AxisName, ...],
    form: Flatten | AxisAccess,
    shape: Shape,
    at: Where,
) -> None:
    """Check that a form stays inside where there is no padding, and that it reads something."""
    reads = [shape[AXES.index(axis)] for axis in names]
    extents = form.shape if isinstance(form, Flatten) else (form.extent or reads[0],)
    label = "flatten" if isinstance(form, Flatten) else names[0]
    if label in _UNPADDED and operand.concat is None:
        _check_inside(layer, operand, form, math.prod(extents), label, at)
    terms = tuple((layer.bound(dim), coefficient) for dim, coefficient in form.terms.items())
    windows = tuple(operand.axes[axis].windows for axis in names)
    if not _reads_anything(terms, form.offset, tuple(extents), windows, tuple(reads)):
        text = f"reads nothing of '{operand.producer}': all of axis {', '.join(names)} is padding"
        raise fault(f"layer '{layer.name}' {text}", *at, *_path(label))


def _check_inside(
    layer: Layer, operand: Operand, form: Flatten | AxisAccess, size: int, label: str, at: Where
) -> None:
    """Check that a form without padding has all its values in [0, size)."""
    last = form.offset + sum(c * (layer.bound(dim) - 1) for dim, c in form.terms.items())
    if form.offset < 0 or last >= size:
        text = f"reads {_UNPADDED[label]} {form.offset}..{last} of '{operand.producer}', which has {size}"
        raise fault(f"layer '{layer.name}' {text}", *at, *_path(label))


_UNPADDED = {"n": "images", "ch": "channels", "flatten": "elements"}
"""What there is no padding for, outside of a concatenation."""


@lru_cache(maxsize=1024)
def _reads_anything(
    terms: tuple[tuple[int, int], ...],
    offset: int,
    extents: tuple[int, ...],
    windows: tuple[tuple[Window, ...], ...],
    reads: tuple[int, ...],
) -> bool:
    """Return whether the windows of all axes leave anything of some value of a form; kept for equal layers.

    Parameters
    ----------
    terms : (bound, coefficient) of each dim of the form.
    extents, windows, reads : for each axis what the form ranges over, and what its last window reads.
    """
    coordinates = np.unravel_index(_values(terms, offset, math.prod(extents)), extents)
    hits = [_hits(*axis) for axis in zip(coordinates, windows, reads, strict=True)]
    return bool(np.logical_and.reduce(hits).any())


def _values(terms: tuple[tuple[int, int], ...], offset: int, size: int) -> Coordinates:
    """Return the distinct values of a form that lie in [0, size)."""
    least = min(offset, 0)
    values = np.full(1, offset, np.int64)
    for bound, coefficient in terms:
        sums = (values[:, None] + np.arange(bound, dtype=np.int64) * coefficient).ravel()
        reached = np.zeros(size - least, bool)
        reached[sums[sums < size] - least] = True
        values = np.flatnonzero(reached) + least
    return values[(values >= 0) & (values < size)]


def _hits(coordinates: Coordinates, windows: Sequence[Window], read: int) -> npt.NDArray[np.bool_]:
    """Return of each coordinate whether its windows leave anything of it."""
    low = high = coordinates
    hit = np.ones(len(coordinates), bool)
    for window in windows:
        extent = window.extent or read
        low, high = _through(window, low, high, extent)
        low, high = np.maximum(low, 0), np.minimum(high, extent - 1)
        hit &= low <= high
    return hit


def _through(
    window: Window, low: Coordinates, high: Coordinates, extent: int
) -> tuple[Coordinates, Coordinates]:
    if window.all:
        return np.zeros_like(low), np.full_like(high, extent - 1)
    if window.block is not None:
        return low - low % window.block, high - high % window.block + window.block - 1
    if window.divide is not None:
        keep = window.keep or 1
        fewer = low // (window.divide * keep) * keep, high // (window.divide * keep) * keep
        together = low // keep == high // keep
        return fewer[0] + low % keep * together, fewer[1] + np.where(together, high % keep, keep - 1)
    if window.every is not None:
        first = window.first or 0
        return -((first - low) // window.every), (high - first) // window.every
    scale, shift, width = window.scale or 1, window.shift or 0, window.width or 1
    return low * scale + shift, high * scale + shift + width - 1
