"""Elements chosen by tables of places: where these are constant and regular, they are followed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.onnx.access import Digit, Tensor, constant, each_form, fresh, pruned, substitute, without
from models.onnx.align import aligned, with_axis
from models.onnx.build import Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, axis_of, first, integers
from models.onnx.spans import reduced
from models.onnx.values import PlaceTable

COMPUTED = "the indices are computed: all that they choose from is read"


@dataclass(frozen=True)
class Affine:
    """Numbers that are `offset + sum(steps[i] * i-th index)`."""

    offset: int
    steps: tuple[int, ...]


def affine(table: PlaceTable) -> Affine | None:
    """Return by which offset and steps a table counts; None if it does not count evenly."""
    if not table.size:
        return None
    offset = int(table[(0,) * table.ndim])
    steps = tuple(
        int(table[tuple(int(j == i) for j in range(table.ndim))]) - offset if size > 1 else 0
        for i, size in enumerate(table.shape)
    )
    even = np.full((1,) * table.ndim, offset, np.int64)
    for i, (step, size) in enumerate(zip(steps, table.shape, strict=True)):
        along = [1] * table.ndim
        along[i] = size
        even = even + step * np.arange(size).reshape(along)
    return Affine(offset, steps) if np.array_equal(even, table) else None


def picked(build: Builder, x: Tensor, tables: Sequence[PlaceTable]) -> Tensor:
    """Return the elements of a tensor whose places on its first axes stand in tables, one for each axis.

    The axes of the result are those of the tables, which have one shape, and then the others of the tensor.
    """
    shape = tables[0].shape
    new = tuple(fresh(size) for size in shape)
    used: set[Digit] = set()
    for axis, table in enumerate(tables):
        size = x.shape[axis]
        if table.min(initial=0) < -size or table.max(initial=0) >= size:
            raise build.wrong(f"an index lies outside of an axis of {size}")
        x = _picked_axis(
            build, build.single(x, axis), axis, np.where(table < 0, table + size, table), new, used
        )
    return replace(x, axes=(*new, *x.axes[len(tables) :]), value=None, folds=False)


def _picked_axis(
    build: Builder, x: Tensor, axis: int, table: PlaceTable, new: Sequence[Sequence[Digit]], used: set[Digit]
) -> Tensor:
    found = affine(table)
    if not x.axes[axis]:
        return x
    (digit,) = x.axes[axis]
    steps = () if found is None else found.steps
    terms = tuple((d, step) for digits, step in zip(new, steps, strict=False) for d in digits if step)
    if found is None or min(steps, default=0) < 0 or used & {d for d, _ in terms}:
        build.widen("elements in an irregular order: the whole axis is read for each")
        return without(x, (digit,))
    used |= {d for d, _ in terms}
    moved = each_form(x, lambda form: substitute(form, digit, terms, found.offset))
    return build.exact(moved, "more is read than the elements that are chosen")


def windows_taken(build: Builder, x: Tensor, axis: int, table: PlaceTable) -> Tensor | None:
    """Return elements of an axis by a table of several axes, if that counts evenly along each of them.

    So the windows of an axis are written out: the table has `start of the window + place in it`.
    """
    found = affine(table)
    if table.ndim < 2 or found is None or min(found.steps) < 0:
        return None
    new = tuple(fresh(size) for size in table.shape)
    x = _picked_axis(build, build.single(x, axis), axis, table, new, set())
    return replace(x, axes=(*x.axes[:axis], *new, *x.axes[axis + 1 :]), value=None, folds=False)


def gather_nd(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return elements, or slices, whose places on the first axes are given."""
    x, places = first(inputs, build), first(inputs, build, 1)
    batch = int(node.get("batch_dims", 0))
    if not places.axes or not 0 <= batch < len(places.axes) or batch + places.shape[-1] > len(x.axes):
        raise build.wrong("the indices do not fit the axes")
    chosen = batch + places.shape[-1]
    shape = (*places.shape[:-1], *x.shape[chosen:])
    if x.constant or places.value is None:
        whole = reduced(build, places, len(places.axes) - 1)
        return (_computed(build, x, replace(whole, axes=whole.axes[:-1]), chosen, shape),)
    table = np.asarray(places.value, np.int64)
    tables = [_counting(table.shape[:-1], axis) for axis in range(batch)]
    return (picked(build, x, [*tables, *np.moveaxis(table, -1, 0)]),)


def gather_elements(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return elements whose places on one axis are given, each by a number of its own."""
    x, places = first(inputs, build), first(inputs, build, 1)
    rank = len(x.axes)
    axis = axis_of(build, int(node.get("axis", 0)), rank)
    if len(places.axes) != rank:
        raise build.wrong("the indices do not fit the axes")
    if x.constant or places.value is None:
        return (_computed(build, x, places, rank, places.shape),)
    table = np.asarray(places.value, np.int64)
    return (picked(build, x, [table if i == axis else _counting(table.shape, i) for i in range(rank)]),)


def _counting(shape: Sequence[int], axis: int) -> PlaceTable:
    """Return a table in which each place holds its own index on an axis."""
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return np.broadcast_to(np.arange(shape[axis]).reshape(along), shape)


def _computed(build: Builder, x: Tensor, places: Tensor, chosen: int, shape: Sequence[int]) -> Tensor:
    """Return elements whose places are computed: all of the axes that they choose from, and the places."""
    table = without(x, [d for digits in x.axes[:chosen] for d in digits])
    front = ((),) * (len(shape) - len(x.axes[chosen:]))
    table = replace(table, axes=(*front, *x.axes[chosen:]), value=None)
    pointers = replace(places, axes=(*places.axes, *((),) * len(x.axes[chosen:])), value=None)
    if not x.constant:
        build.widen(COMPUTED)
    return _read_with(build, [table, pointers], shape)


def _read_with(build: Builder, tensors: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Return what reads all that one of several tensors reads; constants read nothing."""
    live = [tensor for tensor in tensors if not tensor.constant]
    if not live:
        return constant(shape)
    parts = aligned(build, live, shape)
    terms = tuple(term for t in parts for term in t.terms)
    return pruned(replace(parts[0], terms=terms, value=None, folds=False))


def grid_sample(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return elements, or what lies between them, at places of an image or a volume that a grid gives."""
    x, grid = first(inputs, build), first(inputs, build, 1)
    image = len(x.axes) - 2
    if image < 1 or len(grid.axes) != len(x.axes) or grid.shape[-1] != image or grid.shape[0] != x.shape[0]:
        raise build.wrong("the grid does not fit the image")
    shape = (*x.shape[:2], *grid.shape[1:-1])
    table = replace(
        without(x, [d for digits in x.axes[2:] for d in digits]), axes=(*x.axes[:2], *((),) * image)
    )
    places = reduced(build, grid, image + 1)
    places = replace(places, axes=(places.axes[0], (), *places.axes[1:-1]))
    if not x.constant:
        build.widen(COMPUTED)
    return (_read_with(build, [table, places], shape),)


def scatter(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor in which some elements are replaced by others; the replaced ones are read, too."""
    x, places, updates = (first(inputs, build, i) for i in range(3))
    live = [t for t in (places, updates) if not t.constant]
    if live or not x.constant:
        build.widen("what it replaces is read, and all that replaces it")
    rank = len(x.axes)
    others = [without(t, [d for digits in t.axes for d in digits]) for t in live]
    spread = [replace(t, axes=((),) * rank, value=None) for t in others]
    parts = aligned(build, [t for t in (x, *spread) if not t.constant], x.shape)
    terms = tuple(term for t in parts for term in t.terms)
    return (pruned(replace(parts[0] if parts else constant(x.shape), terms=terms, value=None, folds=False)),)


def one_hot(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return rows with one element that is not like the others; each reads its index."""
    x = first(inputs, build)
    (depth,) = integers(node, inputs, build, 1, "depth") or [0]
    if depth < 1:
        raise build.wrong(f"a depth of {depth}")
    axis = axis_of(build, int(node.get("axis", -1)), len(x.axes) + 1)
    build.count(x, 1)
    axes = (*x.axes[:axis], fresh(depth), *x.axes[axis:])
    return (replace(x, axes=axes, value=None, folds=False),)


def turned(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor of which sequences run backwards; each element reads all of its own."""
    x = first(inputs, build)
    axis = axis_of(build, int(node.get("time_axis", 0)), len(x.axes))
    build.widen("the order is turned around: the whole axis is read")
    return (with_axis(without(x, x.axes[axis]), axis, fresh(x.shape[axis])),)


HANDLERS: dict[str, Handler] = {
    "GatherND": gather_nd,
    "GatherElements": gather_elements,
    "GridSample": grid_sample,
    "ScatterND": scatter,
    "ScatterElements": scatter,
    "Scatter": scatter,
    "OneHot": one_hot,
    "ReverseSequence": turned,
}
