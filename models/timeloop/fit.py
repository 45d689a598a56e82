"""How a layer reads the output of another one, told by the extents of both.

A problem says nothing of padding, of pooling, or of where its inputs come from. The rules by which these are
found are in docs/timeloop.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from models.checks import Shape
from models.layer import AXES, Axes, AxisAccess, AxisName, Dim, Flatten, Operand, Window
from models.timeloop.contraction import Contraction


@dataclass(frozen=True)
class Fit:
    """How a tensor of some shape is read."""

    axes: Axes
    flatten: Flatten | None = None

    def operand(self, producer: str, together: str | None = None) -> Operand:
        """Return the operand that reads a producer so; those of the sum `together` are added up."""
        return Operand(producer=producer, axes=self.axes, flatten=self.flatten, sum=together)

    def part(self, producer: str, first: int) -> Operand:
        """Return the operand for a part of a concatenation that begins at a channel."""
        channels = self.axes.ch.model_copy(update={"offset": -first})
        axes = self.axes.model_copy(update={"ch": channels})
        return Operand(producer=producer, axes=axes, concat="channels")


def fitted(made: Contraction, shape: Shape) -> Fit | None:
    """Return how a layer reads a tensor of a shape; None if the extents do not go together."""
    batch, channels, height, width = made.extents
    if batch != shape[0]:
        return None
    if channels == shape[1]:
        return _over_image(made, shape)
    if (height, width) == (1, 1) and made.forms.get("ch") == {"C": 1}:
        return _flattened(made, shape)
    return None


def fitted_factor(made: Contraction, shape: Shape) -> Fit | None:
    """Return how a layer reads a tensor of a shape instead of weights; None if it does not.

    Of several ways that with the axes in the order of the weights' own is taken.
    """
    for forms in (made.weights, *_beside_groups(made)):
        places = sorted(permutations(range(4), len(forms)), key=lambda x: [*x] != sorted(x))
        for place in places if len(forms) <= 4 else ():
            given = {AXES[i]: form for i, form in zip(place, forms, strict=True)}
            if all(reach(made, given.get(axis, {})) == size for axis, size in zip(AXES, shape, strict=True)):
                return Fit(Axes(**{axis: AxisAccess(terms=form) for axis, form in given.items()}))
    return None


def _beside_groups(made: Contraction) -> Iterator[tuple[dict[Dim, int], ...]]:
    """Yield the forms of the weights with groups and another dim on one axis."""
    for form in made.weights:
        if {"G": 1} in made.weights and form in ({"K": 1}, {"C": 1}):
            (dim,) = form
            rest = (x for x in made.weights if x not in (form, {"G": 1}))
            yield ({"G": made.dims[dim], dim: 1}, *rest)


def reach(made: Contraction, form: dict[Dim, int]) -> int:
    """Return over how many coordinates a form reaches."""
    return 1 + sum(c * (made.dims[dim] - 1) for dim, c in form.items())


def exact(made: Contraction) -> Fit:
    """Return how a layer reads a tensor that is exactly as large as it needs."""
    return Fit(_axes(made, {}))


def _over_image(made: Contraction, shape: Shape) -> Fit | None:
    accesses = {}
    for axis, extent in zip(AXES[2:], shape[2:], strict=True):
        access = _along(made, axis, extent)
        if access is None:
            return None
        accesses[axis] = access
    return Fit(_axes(made, accesses))


def _pooled(extent: int, factor: int) -> tuple[int, tuple[Window, ...]]:
    """Return the extent that pooling by a factor leaves, and its window, which covers all that is pooled."""
    left = max(extent // factor, 1)
    if left == extent:
        return extent, ()
    covering = Window(scale=factor, shift=0, width=extent - factor * (left - 1))
    return left, (Window(all=True) if left == 1 else covering,)


def _along(made: Contraction, axis: AxisName, extent: int) -> AxisAccess | None:
    """Return the access on an image axis: pooling if need be, then a sliding kernel with padding.

    Padding is at most the kernel's reach on each side; less than a stride may be left over at the end.
    """
    terms = made.forms.get(axis, {})
    kernel = sum(c * (made.dims[dim] - 1) for dim, c in terms.items() if dim in ("R", "S"))
    stride = next((c for dim, c in terms.items() if dim in ("P", "Q")), 1)
    needed = made.extents[AXES.index(axis)]
    left, windows = _pooled(extent, extent // (needed + stride) + 1)
    padding = max(needed - left, 0)
    if padding > 2 * kernel:
        return None
    over = left if windows else None
    return AxisAccess(terms=terms, offset=-((padding + 1) // 2), extent=over, windows=windows)


def _flattened(made: Contraction, shape: Shape) -> Fit | None:
    """Return how a fully connected layer reads an image, which may be pooled by one factor on both axes."""
    _, channels, height, width = shape

    def elements(factor: int) -> int:
        return channels * _pooled(height, factor)[0] * _pooled(width, factor)[0]

    factors = range(1, max(height, width) + 1)
    place = bisect_left(factors, -made.dims["C"], key=lambda factor: -elements(factor))
    if place == len(factors) or elements(factors[place]) != made.dims["C"]:
        return None
    (rows, row_windows), (columns, column_windows) = (_pooled(x, factors[place]) for x in (height, width))
    flatten = Flatten(terms=made.forms["ch"], shape=(channels, rows, columns))
    given = {"h": AxisAccess(windows=row_windows), "w": AxisAccess(windows=column_windows)}
    axes = Axes(n=AxisAccess(terms=made.forms.get("n", {})), **given)
    return Fit(axes, flatten)


def _axes(made: Contraction, given: dict[AxisName, AxisAccess]) -> Axes:
    """Return the accesses, those of an input that is exactly as large as needed where none are given."""
    empty: dict[Dim, int] = {}
    accesses = {axis: AxisAccess(terms=made.forms.get(axis, empty)) for axis in AXES} | given
    return Axes(**accesses)
