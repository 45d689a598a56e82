"""The access algebra: which elements of which producers an element of a tensor is made of.

An axis of a tensor is a mixed-radix number, its *digits* standing outermost first; an axis of extent 1 has
none. What the element with given digits reads of a producer is, on each of the producer's axes, a linear form
of the digits and then windows: exactly what an operand of a network file says, with digits in place of loop
dims. Reshaping splits and regroups digits, transposing reorders them, slicing and padding shift them, pooling
puts a window behind them. A layer at last names each digit after one of its loop dims.

Functions on a form return it together with whether it is exact. If it is not, it reads more than the truth,
never less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.layer import Window

MAX_POINTS = 2**18
"""Points at which two forms are compared before they are taken for different."""


@dataclass(frozen=True, eq=False)
class Digit:
    """One digit of an index: a number from 0 to `extent - 1`. Digits are told apart by identity."""

    extent: int


Digits = tuple[Digit, ...]
DigitTerms = tuple[tuple[Digit, int], ...]


@dataclass(frozen=True)
class Form:
    """Coordinates read on one axis of a producer: `sum(coefficient * digit) + offset`, then windows.

    A value outside [0, extent) reads nothing. Every window says what it reads (`Window.extent`).
    """

    terms: DigitTerms
    offset: int
    extent: int
    windows: tuple[Window, ...] = ()

    def coefficient(self, digit: Digit) -> int:
        """Return the coefficient of a digit, 0 if the form does not use it."""
        return next((c for d, c in self.terms if d is digit), 0)

    @property
    def least(self) -> int:
        """The least value of the form."""
        return self.offset

    @property
    def most(self) -> int:
        """The largest value of the form."""
        return self.offset + sum(c * (d.extent - 1) for d, c in self.terms)


Checked = tuple[Form, bool]
"""A form, and whether it is exact."""


@dataclass(frozen=True)
class Part:
    """One producer, and what is read on each of its four axes."""

    producer: str
    forms: tuple[Form, Form, Form, Form]

    @property
    def digits(self) -> set[Digit]:
        """The digits that decide what is read."""
        return {digit for form in self.forms for digit, _ in form.terms}


Concatenation = tuple[Part, ...]


@dataclass(frozen=True)
class Tensor:
    """A sum of terms, each a concatenation of parts; a tensor without terms is constant.

    `value` is that of a small constant. `folds` says that the last thing that happened to every element is a
    multiplication with or an addition of a constant, into which the next such operation can be folded.
    """

    axes: tuple[Digits, ...]
    terms: tuple[Concatenation, ...] = ()
    value: npt.NDArray[np.generic] | None = field(default=None, compare=False)
    folds: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return tuple(extent(digits) for digits in self.axes)

    @property
    def constant(self) -> bool:
        """Whether nothing that a layer or an input makes is read."""
        return not self.terms

    @property
    def parts(self) -> list[Part]:
        """The parts of all terms."""
        return [part for term in self.terms for part in term]


def extent(digits: Iterable[Digit]) -> int:
    """Return how many values some digits have together."""
    return math.prod(digit.extent for digit in digits)


def fresh(size: int) -> Digits:
    """Return a new axis of one digit, or of none if its extent is 1."""
    return (Digit(size),) if size != 1 else ()


def constant(shape: Sequence[int], value: npt.NDArray[np.generic] | None = None) -> Tensor:
    """Return a tensor that reads nothing."""
    return Tensor(tuple(fresh(size) for size in shape), value=value)


# Forms


def substitute(form: Form, digit: Digit, terms: DigitTerms, shift: int = 0) -> Checked:
    """Put `sum(terms) + shift` in place of a digit; where that is no value of the digit, nothing is read."""
    c = form.coefficient(digit)
    if c == 0:
        return form, True
    most = shift + sum(k * (d.extent - 1) for d, k in terms)
    inside = shift >= 0 and most < digit.extent
    others = tuple((d, k) for d, k in form.terms if d is not digit)
    if not (inside or _padded_alike(form, digit)) and not others:
        windows = (*_behind(form, digit), *form.windows)
        return Form(terms, shift, digit.extent, windows), True
    merged = (*others, *((d, k * c) for d, k in terms))
    result = Form(merged, form.offset + c * shift, form.extent, form.windows)
    return result, inside or _padded_alike(form, digit)


def _padded_alike(form: Form, digit: Digit) -> bool:
    """Return whether values past both ends of a digit lead past the ends of the form, whatever the others."""
    c = form.coefficient(digit)
    others = form.most - form.least - c * (digit.extent - 1)
    return form.offset + others - c < 0 and form.offset + c * digit.extent >= form.extent


def slide(form: Form, digit: Digit, new: Digits, scale: int, shift: int, width: int) -> Checked:
    """Put a window over a digit: it takes the values from `new * scale + shift` on, `width` of them."""
    c = form.coefficient(digit)
    if c == 0:
        return form, True
    if width == 1:
        return substitute(form, digit, tuple((d, scale) for d in new), shift)
    if len(form.terms) == 1:
        over = Window(scale=scale, shift=shift, width=width, extent=digit.extent)
        if not new and shift <= 0 and shift + width >= digit.extent:
            over = Window(all=True, extent=digit.extent)
        rest = (*_behind(form, digit), *form.windows)
        return Form(tuple((d, 1) for d in new), 0, extent(new), (over, *rest)), gapless(rest)
    return _slide_among_others(form, digit, new, scale, shift, width)


def _slide_among_others(form: Form, digit: Digit, new: Digits, scale: int, shift: int, width: int) -> Checked:
    """Put a window over one digit of several: the form takes the window's first value, a window the rest."""
    c = form.coefficient(digit)
    others = tuple((d, k) for d, k in form.terms if d is not digit)
    moved = Form((*others, *((d, c * scale) for d in new)), form.offset + c * shift, 0, form.windows)
    raised = max(0, -moved.least)
    over = Window(scale=1, shift=-raised, width=c * (width - 1) + 1, extent=form.extent)
    result = Form(moved.terms, moved.offset + raised, moved.most + raised + 1, (over, *form.windows))
    inside = shift >= 0 and shift + scale * (extent(new) - 1) + width <= digit.extent
    return result, c == 1 and inside and gapless(form.windows)


def repeat(form: Form, digit: Digit, new: Digits, times: int) -> Checked:
    """Put `new // times` in place of a digit, as where every element stands several times in a row."""
    if form.coefficient(digit) == 0:
        return form, True
    if len(form.terms) > 1:
        return whole(form), False
    rest = (*_behind(form, digit), *form.windows)
    quotient = Window(divide=times, extent=digit.extent)
    return Form(tuple((d, 1) for d in new), 0, extent(new), (quotient, *rest)), True


def in_one(form: Form, digits: Digits, new: Digits) -> Checked:
    """Put one number in place of digits, in a form that uses all or the outermost of them like one."""
    used = next((i for i in range(len(digits), 0, -1) if form.coefficient(digits[i - 1])), 0)
    outer, inner = digits[:used], extent(digits[used:])
    if not used:
        return form, True
    if not all(like_one((form,), a, b) for a, b in pairwise(outer)):
        return whole(form), False
    others = tuple((d, c) for d, c in form.terms if d not in outer)
    if inner == 1:
        return replace(form, terms=(*others, (new[0], form.coefficient(outer[-1])))), True
    joined = Digit(extent(outer))
    return repeat(replace(form, terms=(*others, (joined, form.coefficient(outer[-1])))), joined, new, inner)


def spread(form: Form, digit: Digit) -> Checked:
    """Read for every value of a digit what all of them read, as a softmax does."""
    c = form.coefficient(digit)
    if c == 0:
        return form, True
    if len(form.terms) == 1:
        if form.windows and form.windows[0].all:
            return form, True
        rest = (*_behind(form, digit), *form.windows)
        everything = Window(all=True, extent=digit.extent)
        return Form(((digit, 1),), 0, digit.extent, (everything, *rest)), gapless(rest)
    numbers = (form.offset, form.extent, *(k for d, k in form.terms if d is not digit))
    if c == 1 and all(number % digit.extent == 0 for number in numbers):
        block = Window(block=digit.extent, extent=form.extent)
        return replace(form, windows=(block, *form.windows)), gapless(form.windows)
    return whole(form), False


def whole(form: Form) -> Form:
    """Return the form that reads, wherever it is asked, all that the given one reads anywhere."""
    return Form((), 0, 1, (Window(all=True, extent=form.extent), *form.windows))


def gapless(windows: Iterable[Window]) -> bool:
    """Return whether the elements that an interval is led to by windows have no gaps between them."""
    return all(
        window.keep is None and (window.scale is None or (window.width or 1) >= window.scale)
        for window in windows
    )


def _behind(form: Form, digit: Digit) -> tuple[Window, ...]:
    """Return the window that stands for a form of one digit alone, none if it changes nothing."""
    c = form.coefficient(digit)
    if (c, form.offset, form.extent) == (1, 0, digit.extent):
        return ()
    return (Window(scale=c, shift=form.offset, width=1, extent=form.extent),)


# What forms read, point by point


_Ints = npt.NDArray[np.int64]
Intervals = tuple[_Ints, _Ints]


def intervals(form: Form, digits: Sequence[Digit]) -> Intervals:
    """Return the first and last coordinate read at each combination of digits; (0, -1) where none is."""
    value = np.full([1] * len(digits), form.offset, np.int64)
    for i, digit in enumerate(digits):
        along = [1] * len(digits)
        along[i] = digit.extent
        value = value + form.coefficient(digit) * np.arange(digit.extent).reshape(along)
    low, high = value, value.copy()
    empty = (value < 0) | (value >= form.extent)
    for window in form.windows:
        size = window.extent or form.extent
        if window.all:
            low, high = np.zeros_like(low), np.full_like(high, size - 1)
        elif window.block is not None:
            low, high = low - low % window.block, high - high % window.block + window.block - 1
        elif window.divide is not None:
            low, high = _quotients(low, high, window.divide, window.keep or 1)
        elif window.every is not None:
            first = window.first or 0
            low, high = -((first - low) // window.every), (high - first) // window.every
            empty |= low > high
        else:
            scale, shift, width = window.scale or 1, window.shift or 0, window.width or 1
            low, high = low * scale + shift, high * scale + shift + width - 1
        low, high = np.maximum(low, 0), np.minimum(high, size - 1)
        empty |= low > high
    return np.where(empty, 0, low), np.where(empty, -1, high)


def _quotients(low: _Ints, high: _Ints, divisor: int, keep: int) -> Intervals:
    together = low // keep == high // keep
    least, most = np.where(together, low % keep, 0), np.where(together, high % keep, keep - 1)
    return low // (divisor * keep) * keep + least, high // (divisor * keep) * keep + most


def reads_something(part: Part) -> bool:
    """Return whether a part reads anything at all; a form of too many points is taken to."""
    for form in part.forms:
        digits = [digit for digit, _ in form.terms]
        padded = form.windows or form.least < 0 or form.most >= form.extent
        if padded and extent(digits) <= MAX_POINTS:
            low, high = intervals(form, digits)
            if not (low <= high).any():
                return False
    return True


def contains(large: Part, small: Part) -> bool:
    """Return whether one part surely reads, at every point, all that another reads."""
    if large.producer != small.producer:
        return False
    return all(_form_contains(a, b) for a, b in zip(large.forms, small.forms, strict=True))


def _form_contains(large: Form, small: Form) -> bool:
    if large == small:
        return True
    digits = list(dict.fromkeys(digit for form in (large, small) for digit, _ in form.terms))
    if extent(digits) > MAX_POINTS:
        return False
    (low, high), (inner_low, inner_high) = intervals(large, digits), intervals(small, digits)
    return bool(((inner_low > inner_high) | ((low <= inner_low) & (inner_high <= high))).all())


def with_terms_of(large: Part, small: Part) -> Part:
    """Return a part that reads what `large` does and, where that can be said, has the terms of `small`.

    What a layer loads is counted over the terms of its forms; a mean beside what it is the mean of should
    not make the elements themselves disappear.
    """
    pairs = zip(large.forms, small.forms, strict=True)
    a, b, c, d = (_restored(one, other) for one, other in pairs)
    return Part(large.producer, (a, b, c, d))


def _restored(large: Form, small: Form) -> Form:
    candidate = small
    for digit, _ in small.terms:
        if large.coefficient(digit) == 0:
            candidate, _ = spread(candidate, digit)
    return candidate if _form_contains(candidate, large) and _form_contains(large, candidate) else large


# Tensors


def each_form(tensor: Tensor, change: Callable[[Form], Checked]) -> tuple[Tensor, bool]:
    """Apply a change to every form of a tensor; also return whether all of them are exact."""
    exact = True

    def changed(form: Form) -> Form:
        nonlocal exact
        result, ok = change(form)
        exact = exact and ok
        return result

    def of(part: Part) -> Part:
        a, b, c, d = map(changed, part.forms)
        return Part(part.producer, (a, b, c, d))

    terms = tuple(tuple(of(part) for part in term) for term in tensor.terms)
    return replace(tensor, terms=terms), exact


def each_part(tensor: Tensor, change: Callable[[Part], tuple[Part, bool]]) -> tuple[Tensor, bool]:
    """Apply a change to every part of a tensor; also return whether all of them are exact."""
    changed = [[change(part) for part in term] for term in tensor.terms]
    terms = tuple(tuple(part for part, _ in term) for term in changed)
    return replace(tensor, terms=terms), all(exact for term in changed for _, exact in term)


def pruned(tensor: Tensor) -> Tensor:
    """Leave out the parts that read nothing, and those that read what another one reads in any case."""
    terms = (tuple(part for part in term if reads_something(part)) for term in tensor.terms)
    return replace(tensor, terms=tuple(dict.fromkeys(term for term in terms if term)))


def renamed(tensor: Tensor, names: dict[Digit, DigitTerms]) -> Tensor:
    """Put for each digit others that have the same values together; axes are left to the caller."""

    def change(form: Form) -> Checked:
        for digit, terms in names.items():
            form, _ = substitute(form, digit, terms)
        return form, True

    return each_form(tensor, change)[0] if names else tensor


def coalesced(tensor: Tensor, only: int | None = None) -> Tensor:
    """Join neighbouring digits of every axis, or of one, that every form uses like one number."""
    forms = [form for part in tensor.parts for form in part.forms]
    axes = []
    names: dict[Digit, DigitTerms] = {}
    for axis, digits in enumerate(tensor.axes):
        joined: list[list[Digit]] = []
        for digit in digits:
            if joined and only in (None, axis) and like_one(forms, joined[-1][-1], digit):
                joined[-1].append(digit)
            else:
                joined.append([digit])
        axes.append(tuple(run[0] if len(run) == 1 else Digit(extent(run)) for run in joined))
        for run, digit in zip(joined, axes[-1], strict=True):
            if len(run) > 1:
                names[run[-1]] = ((digit, 1),)
                names |= dict.fromkeys(run[:-1], ())
    if not names:
        return tensor
    # Each run is named after its last digit, whose coefficient is that of the joined digit.
    terms = tuple(tuple(_joined(part, names) for part in term) for term in tensor.terms)
    return replace(tensor, axes=tuple(axes), terms=terms)


def like_one(forms: Sequence[Form], outer: Digit, inner: Digit) -> bool:
    """Return whether forms use two digits like one number of which the first is the outer digit."""
    return all(form.coefficient(outer) == form.coefficient(inner) * inner.extent for form in forms)


def _joined(part: Part, names: dict[Digit, DigitTerms]) -> Part:
    def of(form: Form) -> Form:
        terms = tuple((new, c) for d, c in form.terms for new, _ in names.get(d, ((d, 1),)))
        return replace(form, terms=terms)

    a, b, c, d = map(of, part.forms)
    return Part(part.producer, (a, b, c, d))


def split(tensor: Tensor, digit: Digit, inner: int) -> tuple[Tensor, Digits]:
    """Split a digit into an outer and an inner one of extent `inner`; also return the two."""
    pair = Digit(digit.extent // inner), Digit(inner)
    axes = tuple(
        tuple(new for old in digits for new in (pair if old is digit else (old,))) for digits in tensor.axes
    )
    names: dict[Digit, DigitTerms] = {digit: ((pair[0], inner), (pair[1], 1))}
    return replace(renamed(tensor, names), axes=axes), pair


def cut(tensor: Tensor, axis: int, inner: int) -> tuple[Tensor, bool]:
    """Split digits so that the innermost ones of an axis have `inner` values; return whether that works."""
    span = 1
    for digit in reversed(tensor.axes[axis]):
        if span == inner:
            return tensor, True
        if span < inner < span * digit.extent:
            if inner % span or span * digit.extent % inner:
                return tensor, False
            return split(tensor, digit, inner // span)[0], True
        span *= digit.extent
    return tensor, span == inner


def reshaped(tensor: Tensor, shape: Sequence[int]) -> tuple[Tensor, bool]:
    """Return the tensor with another shape of as many elements, and whether its forms could follow.

    Where the old digits and the new axes do not nest, the elements between two cuts that both have are read
    as a whole.
    """
    joined = coalesced(replace(tensor, axes=(tuple(d for digits in tensor.axes for d in digits),)))
    spans = np.cumprod([1, *reversed([size for size in shape if size > 1])], dtype=object).tolist()
    result, exact = joined, True
    for inner in spans:
        result, ok = cut(result, 0, inner)
        exact = exact and ok
    if not exact:
        result = _forced(joined, spans)
    digits, axes = list(result.axes[0]), []
    for size in shape:
        axis: list[Digit] = []
        while extent(axis) < size:
            axis.append(digits.pop(0))
        axes.append(tuple(axis))
    return replace(result, axes=tuple(axes), value=None), exact


def _forced(tensor: Tensor, spans: Sequence[int]) -> Tensor:
    """Cut the only axis of a tensor at the given places; digits that stand in the way are read as a whole."""
    result = tensor
    common = {1, extent(tensor.axes[0])} | ({*_cuts(tensor.axes[0])} & {*spans})
    for inner in sorted(common):
        result, _ = cut(result, 0, inner)
    kept: list[Digit] = []
    for low, high in zip(sorted(common), sorted(common)[1:], strict=False):
        between = [inner for inner in spans if low < inner < high]
        attempt, ok = result, True
        for inner in between:
            attempt, done = cut(attempt, 0, inner)
            ok = ok and done
        if ok:
            result = attempt
            kept = [*_between(result.axes[0], low, high), *kept]
        else:
            gone = _between(result.axes[0], low, high)
            result = without(result, gone)
            bounds = [low, *between, high]
            kept = [*(Digit(b // a) for a, b in reversed([*pairwise(bounds)])), *kept]
            filler = Digit(high // low)
            result = replace(result, axes=(_swapped(result.axes[0], gone, filler),))
    return replace(result, axes=(tuple(kept),))


def _cuts(digits: Digits) -> list[int]:
    """Return the numbers of values of the innermost 0, 1, 2, .. digits."""
    return [extent(digits[i:]) for i in range(len(digits), -1, -1)]


def _between(digits: Digits, low: int, high: int) -> list[Digit]:
    spans = _cuts(digits)
    inward = [d for d, span in zip(reversed(digits), spans, strict=False) if low <= span < high]
    return inward[::-1]


def _swapped(digits: Digits, gone: Sequence[Digit], filler: Digit) -> Digits:
    return tuple(
        filler if digit is gone[0] else digit for digit in digits if digit is gone[0] or digit not in gone
    )


def without(tensor: Tensor, digits: Iterable[Digit]) -> Tensor:
    """Read as a whole every axis on which one of the digits decides; axes are left to the caller."""
    gone = {*digits}
    return each_form(tensor, lambda f: (whole(f) if any(d in gone for d, _ in f.terms) else f, True))[0]
