"""One layer of a network: a tensor contraction, and which elements of which tensors it reads."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from overlapim_files import FileModel

Dim = Literal["N", "G", "K", "P", "Q", "C", "R", "S"]
DIMS: tuple[Dim, ...] = get_args(Dim)
OUTPUT_DIMS: tuple[Dim, ...] = ("N", "G", "K", "P", "Q")
REDUCTION_DIMS: tuple[Dim, ...] = ("C", "R", "S")
AxisName = Literal["n", "ch", "h", "w"]
AXES: tuple[AxisName, ...] = get_args(AxisName)
AXIS_DIMS: tuple[tuple[Dim, ...], ...] = (("N",), ("G", "K"), ("P",), ("Q",))
"""The output dims whose coordinates make up each axis of a layer's output, the slowest first."""

MAX_EXTENT = 2**20
MAX_FORM_POINTS = 2**24
MAX_MACS = 2**50

Extent = Annotated[int, Field(ge=1, le=MAX_EXTENT)]
Shift = Annotated[int, Field(ge=-MAX_EXTENT, le=MAX_EXTENT)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Terms = dict[Dim, Extent]


class Window(FileModel):
    """Maps an interval of coordinates to another: a sliding window, the whole axis (`all`), aligned blocks
    (`block`), quotients (`divide`), as where every element stands several times in a row, or the place among
    every so many coordinates from the `first` on (`every`), as where tensors are interleaved.

    With `keep`, quotients leave that many innermost values as they are and divide what counts them. `extent`
    is what the window reads; the last window of an axis reads the producer's axis and needs none.
    """

    scale: Extent | None = None
    shift: Shift | None = None
    width: Extent | None = None
    all: Literal[True] | None = None
    block: Extent | None = None
    divide: Extent | None = None
    keep: Extent | None = None
    every: Extent | None = None
    first: Annotated[int, Field(ge=0, le=MAX_EXTENT)] | None = None
    extent: Extent | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        slide = (self.scale, self.shift, self.width)
        others = (self.all, self.block, self.divide, self.every)
        kinds = (any(v is not None for v in slide), *(v is not None for v in others))
        if sum(kinds) != 1 or (kinds[0] and None in slide):
            kinds_of = "{scale, shift, width}, {all: true}, {block: n}, {divide: n} or {every: n, first: i}"
            raise ValueError(f"a window is {kinds_of}")
        if (self.keep and not self.divide) or (self.first is not None) != (self.every is not None):
            raise ValueError("'keep' goes with 'divide', and 'first' with 'every'")
        if self.every is not None and (self.first or 0) >= self.every:
            raise ValueError(f"'first' is {self.first}; it must be below 'every', {self.every}")
        return self


class AxisAccess(FileModel):
    """Coordinates read on one axis: `sum(coefficient * dim) + offset`, then a chain of windows."""

    terms: Terms = Field(default={})
    offset: Shift = 0
    extent: Extent | None = None
    windows: tuple[Window, ...] = Field(default=(), max_length=64, strict=False)


class Flatten(FileModel):
    """One form for the axes ch, h and w: its value is unravelled over `shape`."""

    terms: Terms
    offset: Shift = 0
    shape: Annotated[tuple[Extent, Extent, Extent], Field(strict=False)]


class Axes(FileModel):
    """The access of each axis of the producer; an axis that is not given is the constant 0."""

    n: AxisAccess = AxisAccess()
    ch: AxisAccess = AxisAccess()
    h: AxisAccess = AxisAccess()
    w: AxisAccess = AxisAccess()

    def __getitem__(self, axis: AxisName) -> AxisAccess:
        access: AxisAccess = getattr(self, axis)
        return access


class Operand(FileModel):
    """What a layer reads of one producer (`from` in a file) at a point of its iteration space.

    Operands of the same `sum` are added together before they are used, those of the same `concat` are parts
    of one.
    """

    producer: Annotated[Name, Field(alias="from")]
    axes: Axes = Axes()
    flatten: Flatten | None = None
    sum: Name | None = None
    concat: Name | None = None

    def forms(self) -> list[tuple[tuple[AxisName, ...], Flatten | AxisAccess]]:
        """Return the operand's groups: which axes each form decides, and the form."""
        if self.flatten is None:
            return [((axis,), self.axes[axis]) for axis in AXES]
        return [(("n",), self.axes.n), (("ch", "h", "w"), self.flatten)]

    @cached_property
    def terms(self) -> tuple[tuple[tuple[Dim, int], ...], ...]:
        """The (dim, coefficient) of each form, one form after the other."""
        return tuple(tuple(form.terms.items()) for _, form in self.forms())

    @cached_property
    def dims(self) -> frozenset[Dim]:
        """The dims that the operand reads."""
        return frozenset(dim for _, form in self.forms() for dim in form.terms)


Bits = Annotated[int, Field(ge=1, le=2**10)]
Duration = Annotated[int, Field(ge=0, le=2**30)]


class LayerBits(FileModel):
    """Widths in bits with which a layer computes in place of the chip's.

    `multiply`, `add`, `move` and `post` are the cycles of these operations; the chip's unless given.
    """

    activation: Bits
    weight: Bits
    accumulator: Bits
    multiply: Annotated[int, Field(ge=1, le=2**30)] | None = None
    add: Duration | None = None
    move: Duration | None = None
    post: Duration | None = None


class Layer(FileModel):
    """One tensor contraction over the eight loop dims, with `post` operations for each output element.

    The weights of a `cache` are keys or values of one inference, so that each of a batch has its own. `bits`
    are those of a layer that does not compute with the chip's.
    """

    name: Name
    dims: Terms
    post: Annotated[int, Field(ge=0, le=2**20)] = 0
    cache: Literal[True] | None = None
    bits: LayerBits | None = None
    operands: tuple[Operand, ...] = Field(min_length=1, max_length=1024, strict=False)

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """Loop bounds in the order of `DIMS`."""
        return tuple(self.dims.get(dim, 1) for dim in DIMS)

    def bound(self, dim: Dim) -> int:
        """Return the loop bound of one dim."""
        return self.dims.get(dim, 1)

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Extents (n, ch, h, w) of the output."""
        n, g, k, p, q = self.bounds[:5]
        return n, g * k, p, q

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return math.prod(self.bounds)

    @cached_property
    def weights(self) -> int:
        """Weight elements of the layer; a product of two activations counts its second operand as none."""
        single = len(self.factors) == 1
        return math.prod(self.bound(d) for d in ("G", "K", "C", "R", "S")) if single else 0

    @cached_property
    def groups(self) -> tuple[tuple[Operand, ...], ...]:
        """The operands, each with those of its sum or concatenation."""
        groups: dict[str | int, list[Operand]] = {}
        for i, operand in enumerate(self.operands):
            groups.setdefault(operand.sum or operand.concat or i, []).append(operand)
        return tuple(map(tuple, groups.values()))

    @cached_property
    def factors(self) -> tuple[tuple[Operand, ...], ...]:
        """The groups that are multiplied for each product.

        A group on which the reduction does not depend, beside others on which it does, is no factor: it is a
        residual, which is added to the results.
        """
        reduced = {dim for dim in REDUCTION_DIMS if self.bound(dim) > 1}
        inner = tuple(group for group in self.groups if any(x.dims & reduced for x in group))
        return inner or self.groups

    @cached_property
    def loaded(self) -> tuple[Operand, ...]:
        """The operands that are loaded, only the first part of each concatenation."""
        return tuple(x for group in self.factors for x in _first_parts(group))

    @cached_property
    def residuals(self) -> tuple[Operand, ...]:
        """The operands that are added to the results, only the first part of each concatenation."""
        others = (group for group in self.groups if group not in self.factors)
        return tuple(x for group in others for x in _first_parts(group))

    @cached_property
    def is_residual(self) -> tuple[bool, ...]:
        """Whether each operand, in the order of `operands`, is added to the results."""
        factors = {id(x) for group in self.factors for x in group}
        return tuple(id(x) not in factors for x in self.operands)

    @cached_property
    def sums(self) -> tuple[tuple[int, ...], ...]:
        """Positions in `loaded` of the operands of each sum of several."""
        groups: dict[str, list[int]] = {}
        for i, operand in enumerate(self.loaded):
            if operand.sum:
                groups.setdefault(operand.sum, []).append(i)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    @cached_property
    def read_dims(self) -> frozenset[Dim]:
        """The dims that some loaded operand reads."""
        return frozenset().union(*(x.dims for group in self.factors for x in group))


def _first_parts(group: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """Return the operands of a group, only the first part of each concatenation."""
    first = {operand.concat or i: operand for i, operand in reversed([*enumerate(group)])}
    return tuple(reversed(first.values()))


class NetworkInput(FileModel):
    """A tensor that is available at time 0, of shape (n, ch, h, w)."""

    name: Name
    shape: Annotated[tuple[Extent, Extent, Extent, Extent], Field(strict=False)]
