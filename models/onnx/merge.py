"""Numbers put together of digits: what a part reads of some of them if one loop runs through all.

Where a part does not use all of the digits in one form, like one number, those that it does not use are
dropped by a window. Digits of which another form needs to know are taken one value after the other: the part
becomes several, of which each reads where they have this value only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from models.layer import MAX_EXTENT, Window
from models.onnx.access import (
    Checked,
    Digit,
    Digits,
    DigitTerms,
    Form,
    Part,
    Tensor,
    coalesced,
    extent,
    like_one,
    substitute,
)

MAX_VALUES_APART = 64
"""Parts that one part may become."""
MAX_TOGETHER = 128
"""Parts that a tensor may have after some have become several."""


def merged(part: Part, digits: Digits, new: Digit) -> Part | None:
    """Return what a part reads if `new` is the number that has these digits, the outermost first.

    None if that is not known exactly: if more than one form uses them, or if a form uses digits that are not
    next to each other.
    """
    users = _users(part, digits)
    if not users:
        return part
    if len(users) > 1:
        return None
    form = part.forms[users[0]]
    used = [i for i, digit in enumerate(digits) if form.coefficient(digit)]
    own = digits[used[0] : used[-1] + 1]
    if not _like_one_number(form, own):
        return None
    above, below = extent(digits[: used[0]]), extent(digits[used[-1] + 1 :])
    return _with_form(part, users[0], _within(form, own, new, above, below))


def merged_tensor(tensor: Tensor, digits: Digits, new: Digit) -> Tensor | None:
    """Return a tensor with a number in place of digits; None if that is not known exactly without parts."""
    terms = []
    for term in tensor.terms:
        parts = [merged(part, digits, new) for part in term]
        if any(part is None for part in parts):
            return None
        terms.append(tuple(part for part in parts if part is not None))
    return replace(tensor, terms=tuple(terms))


def divided(tensor: Tensor, digits: Digits, new: Digit) -> Tensor | None:
    """Return the same, where parts become several if they have to; None if there is no exact form."""
    terms = []
    for term in tensor.terms:
        found = [parts_of(part, digits, new) for part in term]
        if any(parts is None for parts in found):
            return None
        terms.append(tuple(part for parts in found for part in parts or ()))
    result = replace(tensor, terms=tuple(terms))
    return result if len(result.parts) <= max(MAX_TOGETHER, len(tensor.parts)) else None


def parts_of(part: Part, digits: Digits, new: Digit) -> list[Part] | None:
    """Return the parts that together read what one does, if `new` is the number that has these digits."""
    if (one := merged(part, digits, new)) is not None:
        return [one]
    for count, first, last in sorted(_runs(part, digits)):
        if count <= MAX_VALUES_APART and (parts := _apart(part, digits, new, first, last)):
            return parts
    return None


def _users(part: Part, digits: Sequence[Digit]) -> list[int]:
    """Return the axes whose forms use any of the digits."""
    return [i for i, form in enumerate(part.forms) if any(form.coefficient(d) for d in digits)]


def _like_one_number(form: Form, digits: Digits) -> bool:
    return all(like_one((form,), a, b) for a, b in pairwise(digits))


def _with_form(part: Part, axis: int, form: Form | None) -> Part | None:
    if form is None or not _small(form):
        return None
    return Part(part.producer, sequence([form if i == axis else old for i, old in enumerate(part.forms)]))


def _small(form: Form) -> bool:
    """Return whether a network file can say a form."""
    numbers = [form.offset, form.extent, *(c for _, c in form.terms)]
    for window in form.windows:
        numbers += [window.scale or 0, window.shift or 0, (window.divide or 0) * (window.keep or 1)]
    return max(map(abs, numbers)) <= MAX_EXTENT


# Digits that are not used


def _within(form: Form, own: Digits, new: Digit, above: int, below: int) -> Form | None:
    """Return a form for a number with `above` and `below` values around its own, which are dropped."""
    form, c = _number(form, own, new, above * below > 1)
    result: Form | None = form
    if below > 1:
        result = _inserted(form, new, c, c, below)
    if above > 1 and result is not None:
        result = _inserted(result, new, c, c * extent(own) * below, above, inside=True)
    return result


def _number(form: Form, own: Digits, new: Digit, alone: bool) -> tuple[Form, int]:
    """Return a form with a number in place of its digits, and the number's coefficient.

    `alone` makes the coefficient 1 where the form has no other digits: a window says the rest.
    """
    c = form.coefficient(own[-1])
    others = tuple((d, k) for d, k in form.terms if d not in own)
    if others or not alone:
        return replace(form, terms=(*others, (new, c))), c
    size, rest = extent(own), form.windows
    if (c, form.offset, form.extent) != (1, 0, size):
        rest = (Window(scale=c, shift=form.offset, width=1, extent=form.extent), *rest)
    return Form(((new, 1),), 0, size, rest), 1


def _inserted(form: Form, new: Digit, c: int, keep: int, times: int, inside: bool = False) -> Form | None:
    """Insert a digit of `times` values above the `keep` innermost ones of a form; a window drops it again.

    `inside` says that the number itself stands among those innermost ones, else it is above them. None if
    others lie on both sides.
    """
    rest = [(d, k) for d, k in form.terms if d is not new]
    low = [(d, k) for d, k in rest if k % keep]
    count, left = divmod(form.offset, keep)
    most = left + sum(k * (d.extent - 1) for d, k in low)
    most += keep - c if inside else 0
    if most >= keep or keep * times > MAX_EXTENT:
        return None
    terms = [(d, k if k % keep else k * times) for d, k in rest]
    window = Window(divide=times, keep=keep if keep > 1 else None, extent=form.extent)
    size = -(-form.extent // keep) * keep * times
    return Form((*terms, (new, c)), count * keep * times + left, size, (window, *form.windows))


# Digits that are taken one value after the other


def _runs(part: Part, digits: Digits) -> Iterator[tuple[int, int, int]]:
    """Give the runs of digits, from one to before another, that one form alone uses like a number.

    With each comes how many values the digits around it have, as far as they are used.
    """
    for first, last in itertools.combinations(range(len(digits) + 1), 2):
        users = _users(part, digits[first:last])
        if len(users) == 1 and _like_one_number(part.forms[users[0]], digits[first:last]):
            around = [digits[:first], digits[last:]]
            yield extent(d for own in around if _users(part, own) for d in own), first, last


def _apart(part: Part, digits: Digits, new: Digit, first: int, last: int) -> list[Part] | None:
    """Return a part for each value of the digits around a run."""
    outer, own, inner = digits[:first], digits[first:last], digits[last:]
    axis = _users(part, own)[0]
    outer_values = _values(outer) if _users(part, outer) else [None]
    inner_values = _values(inner) if _users(part, inner) else [None]
    parts = []
    for above, below in itertools.product(outer_values, inner_values):
        fixed = _fixed(_fixed(part, outer, above), inner, below)
        form = _chosen(fixed.forms[axis], own, new, extent(outer), above, extent(inner), below)
        chosen = _with_form(fixed, axis, form)
        if chosen is None:
            return None
        parts.append(chosen)
    return parts


def _values(digits: Digits) -> list[int | None]:
    return [*range(extent(digits))]


def _fixed(part: Part, digits: Digits, value: int | None) -> Part:
    """Return what a part reads where digits have a value; None leaves them as they are."""
    if value is None:
        return part
    forms = list(part.forms)
    for digit in reversed(digits):
        value, own = divmod(value, digit.extent)
        forms = [substitute(form, digit, (), own)[0] for form in forms]
    return Part(part.producer, sequence(forms))


def _chosen(
    form: Form, own: Digits, new: Digit, outer: int, above: int | None, inner: int, below: int | None
) -> Form | None:
    """Return a form that reads only where the digits around its own have these values; None is any value."""
    size, most = extent(own), (outer, inner)
    if most == (1, 1):
        return _number(form, own, new, False)[0]
    form, c = _number(form, own, new, True)
    result: Form | None = form
    if inner > 1 and below is None:
        result = _inserted(form, new, c, c, inner)
    elif inner > 1:
        result = _interleaved(form, new, c, inner, below or 0)
    if result is None or outer == 1:
        return result
    if above is None:
        return _inserted(result, new, c, c * size * inner, outer, inside=True)
    # Only the number itself may decide: with others a value past its end would be one of theirs.
    return replace(result, offset=-above * size * inner) if result.terms == ((new, 1),) else None


def _interleaved(form: Form, new: Digit, c: int, times: int, value: int) -> Form | None:
    """Return a form that reads where the innermost digit of a number, of `times` values, has one of them."""
    if c != 1:
        return None
    terms = tuple((d, k if d is new else k * times) for d, k in form.terms)
    window = Window(every=times, first=value, extent=form.extent)
    return Form(terms, form.offset * times, form.extent * times, (window, *form.windows))


def nesting(tensor: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Return a tensor of one axis whose digits can be cut where the axes of a shape end, or None.

    Digits between two ends that are cuts already become one number.
    """
    joined = coalesced(replace(tensor, axes=(tuple(d for digits in tensor.axes for d in digits),)))
    digits = joined.axes[0]
    inner = [extent(digits[i:]) for i in range(len(digits) + 1)]
    wanted = {math.prod(shape[i:]) for i in range(len(shape) + 1)}
    ends = [i for i, size in enumerate(inner) if size in wanted]
    axis: list[Digit] = []
    for first, last in pairwise(ends):
        run = digits[first:last]
        if len(run) > 1 and any(inner[last] < size < inner[first] for size in wanted):
            run = (Digit(extent(run)),)
            merged_run = divided(joined, digits[first:last], run[0])
            if merged_run is None:
                return None
            joined = merged_run
        axis += run
    return replace(joined, axes=(tuple(axis),))


# Digits that lead past the end of an axis


def selected(form: Form, digit: Digit, value: int) -> Form:
    """Return a form that reads what it does where a digit has a value, and nothing where it has another.

    The form must not use the digit. Its coefficient is so large that other values lead out of the axis.
    """
    far = max(form.extent - form.least, form.most + 1)
    return replace(form, terms=((digit, far), *form.terms), offset=form.offset - far * value)


def substituted(part: Part, digit: Digit, terms: DigitTerms, shift: int) -> list[Part]:
    """Return parts in which `sum(terms) + shift` stands for a digit; other values read nothing of it.

    Where a form has other digits, so that a value past the end would be one of theirs, there is a part for
    each value of these. Empty if that would be too many.
    """
    results: list[Checked] = [substitute(form, digit, terms, shift) for form in part.forms]
    inexact = [i for i, (_, exact) in enumerate(results) if not exact]
    forms = [form for form, _ in results]
    if not inexact:
        return [Part(part.producer, sequence(forms))]
    axis, form = inexact[0], part.forms[inexact[0]]
    run = form.coefficient(digit) * digit.extent
    outer = tuple(d for d, c in form.terms if c >= run)
    if len(inexact) > 1 or extent(outer) > MAX_VALUES_APART:
        return []
    parts = []
    for values in itertools.product(*(range(d.extent) for d in outer)):
        own, exact = _on_run(form, digit, dict(zip(outer, values, strict=True)), terms, shift)
        chosen = _with_form(Part(part.producer, sequence(forms)), axis, own) if exact else None
        if chosen is None:
            return []
        parts.append(chosen)
    return parts


def _on_run(form: Form, digit: Digit, outer: dict[Digit, int], terms: DigitTerms, shift: int) -> Checked:
    """Replace a digit where those outside it have these values, so that past its ends nothing is read."""
    for other, value in outer.items():
        form, _ = substitute(form, other, (), value)
    c = form.coefficient(digit)
    inner = sum(k * (d.extent - 1) for d, k in form.terms if d is not digit)
    if inner >= c:
        return form, False
    if inner:
        there = Window(scale=1, shift=form.offset, width=1, extent=form.extent)
        form = Form(form.terms, 0, c * digit.extent, (there, *form.windows))
    form, exact = substitute(form, digit, terms, shift)
    for other, value in outer.items():
        form = selected(form, other, value)
    return form, exact


def sequence(forms: Sequence[Form]) -> tuple[Form, Form, Form, Form]:
    """Return forms as those of the four axes."""
    a, b, c, d = forms
    return a, b, c, d
