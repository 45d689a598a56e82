"""Tensors brought to common digits, parts put beside each other, and pieces taken out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from models.layer import Window
from models.onnx.access import (
    Checked,
    Digit,
    Digits,
    DigitTerms,
    Form,
    Part,
    Tensor,
    coalesced,
    cut,
    each_form,
    each_part,
    extent,
    fresh,
    pruned,
    renamed,
    substitute,
)
from models.onnx.build import Builder
from models.onnx.merge import MAX_TOGETHER, selected, substituted


def with_axis(tensor: Tensor, axis: int, digits: Digits) -> Tensor:
    """Return the tensor with other digits on one axis; its forms must know them already."""
    axes = (*tensor.axes[:axis], digits, *tensor.axes[axis + 1 :])
    return replace(tensor, axes=axes, value=None)


# Common digits


def aligned(build: Builder, tensors: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """Broadcast tensors to one shape, and make them have the same digits."""
    rank = len(shape)
    result = [coalesced(replace(t, axes=((),) * (rank - len(t.axes)) + t.axes)) for t in tensors]
    for axis in range(rank):
        if not _cuttable(result, axis):
            result = [build.single(t, axis) for t in result]
    for axis, size in enumerate(shape):
        result = _unified(result, axis, size)
    return result


def _spans(tensors: Iterable[Tensor], axis: int) -> list[int]:
    """Return where the digits of an axis end in any of the tensors, as numbers of values."""
    found = {1}
    for tensor in tensors:
        digits = tensor.axes[axis]
        found |= {extent(digits[i:]) for i in range(len(digits))}
    return sorted(found)


def _cut_at(tensor: Tensor, axis: int, spans: Iterable[int]) -> tuple[Tensor, bool]:
    exact = True
    for inner in spans:
        tensor, ok = cut(tensor, axis, inner)
        exact = exact and ok
    return tensor, exact


def _cuttable(tensors: Sequence[Tensor], axis: int) -> bool:
    holders = [t for t in tensors if t.axes[axis]]
    spans = _spans(holders, axis)
    return all(_cut_at(t, axis, spans)[1] for t in holders)


def _unified(tensors: list[Tensor], axis: int, size: int) -> list[Tensor]:
    holders = [t for t in tensors if t.axes[axis]]
    spans = _spans(holders, axis)
    shared = tuple(Digit(b // a) for a, b in reversed([*pairwise(spans)])) if holders else fresh(size)
    result = []
    for tensor in tensors:
        if tensor.axes[axis]:
            tensor, _ = _cut_at(tensor, axis, spans)
            pairs = zip(tensor.axes[axis], shared, strict=True)
            names: dict[Digit, DigitTerms] = {old: ((new, 1),) for old, new in pairs}
            tensor = renamed(tensor, names)
        result.append(with_axis(tensor, axis, shared))
    return result


# Pieces


def piece(build: Builder, tensor: Tensor, axis: int, start: int, step: int, count: int) -> Tensor:
    """Return the elements `start, start + step, ..` of an axis, `count` of them; `step` is positive."""
    tensor = coalesced(tensor)
    digits = tensor.axes[axis]
    if count == extent(digits) or not digits:
        return tensor
    inner = extent(digits[1:])
    last = start + (count - 1) * step
    if start // inner == last // inner:
        fixed = with_axis(_replaced(tensor, digits[0], (), start // inner), axis, digits[1:])
        return piece(build, fixed, axis, start % inner, step, count) if digits[1:] else fixed
    if len(digits) == 1:
        new = fresh(count)
        return with_axis(_replaced(tensor, digits[0], tuple((d, step) for d in new), start), axis, new)
    if step == 1 and start % inner == 0 and count % inner == 0:
        new = fresh(count // inner)
        tensor = _replaced(tensor, digits[0], tuple((d, 1) for d in new), start // inner)
        return with_axis(tensor, axis, (*new, *digits[1:]))
    return piece(build, build.single(tensor, axis), axis, start, step, count)


def _replaced(tensor: Tensor, digit: Digit, terms: DigitTerms, shift: int) -> Tensor:
    """Put values of a digit in its place, all of which it has."""
    return each_form(tensor, lambda form: substitute(form, digit, terms, shift))[0]


# Parts beside each other


def joined(build: Builder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Return tensors one after the other on an axis."""
    whole = [coalesced(tensor) for tensor in tensors]
    if len({t.shape[axis] for t in whole}) == 1 and not all(_plain(t, axis) for t in whole):
        return _beside(build, whole, axis)
    sizes = [t.shape[axis] for t in tensors]
    tensors = _same_inside(build, tensors, axis)
    inner = max((extent(t.axes[axis][1:]) for t in tensors), default=1)
    # The joined axis is put aside while the others are brought to common digits.
    aside = [t.axes[axis] for t in tensors]
    tensors = _others_aligned(build, tensors, axis)
    whole_digit = fresh(sum(sizes) // inner)
    common = fresh(inner)
    placed: list[Tensor] = []
    start = 0
    for tensor, digits, size in zip(tensors, aside, sizes, strict=True):
        if inner > 1:
            tensor = renamed(tensor, {digits[-1]: ((common[0], 1),)})
        outer = digits[: len(digits) - 1] if inner > 1 else digits
        placed.append(positioned(build, tensor, outer, whole_digit, start // inner))
        start += size
    return _together(placed, axis, (*whole_digit, *common))


def _plain(tensor: Tensor, axis: int) -> bool:
    """Return whether an axis is at most one digit, which decides alone wherever it does."""
    digits = tensor.axes[axis]
    forms = [form for part in tensor.parts for form in part.forms if any(form.coefficient(d) for d in digits)]
    return len(digits) <= 1 and all(len(form.terms) == 1 for form in forms)


def _beside(build: Builder, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Return tensors of equal extents one after the other: a new digit says which of them is read."""
    shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    which = Digit(len(tensors))
    tensors = aligned(build, tensors, shape)
    digits = tensors[0].axes[axis]
    placed = [_chosen_by(tensor, which, i, digits) for i, tensor in enumerate(tensors)]
    return _together(placed, axis, (which, *digits))


def _chosen_by(tensor: Tensor, which: Digit, value: int, digits: Digits) -> Tensor:
    """Return a tensor that is read only where a digit has a value."""

    def change(part: Part) -> tuple[Part, bool]:
        axis = min(range(4), key=lambda i: _rank(part.forms[i], digits))
        a, b, c, d = (selected(f, which, value) if i == axis else f for i, f in enumerate(part.forms))
        return Part(part.producer, (a, b, c, d)), True

    return each_part(tensor, change)[0]


def _rank(form: Form, digits: Digits) -> tuple[bool, int]:
    """Order forms: first one that goes on where the axis ends, then one that depends on nothing."""
    outermost = form.coefficient(digits[0]) * digits[0].extent if digits else 0
    goes_on = (form.least, form.most, outermost) == (0, form.extent - 1, form.extent)
    return not goes_on, len(form.terms)


def _others_aligned(build: Builder, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Bring all axes but one to common digits; that one has none then."""
    without_axis = [with_axis(t, axis, ()) for t in tensors]
    shape = [max(sizes) for sizes in zip(*(t.shape for t in without_axis), strict=True)]
    return aligned(build, without_axis, shape)


def _together(tensors: Sequence[Tensor], axis: int, digits: Digits) -> Tensor:
    """Return tensors, each of which is read on its own part of an axis, as one: term by term."""
    terms = itertools.zip_longest(*(tensor.terms for tensor in tensors), fillvalue=())
    parts = tuple(tuple(part for own in term for part in own) for term in terms)
    return coalesced(pruned(with_axis(replace(tensors[0], terms=parts, folds=False), axis, digits)))


def _same_inside(build: Builder, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Make all tensors have one digit on an axis, or two of which the inner one is the same size."""
    result = [coalesced(t) for t in tensors]
    longest = max(result, key=lambda t: len(t.axes[axis]))
    inner = extent(longest.axes[axis][1:])
    if len(longest.axes[axis]) == 2 and all(t.shape[axis] % inner == 0 for t in result):
        halves = [cut(t, axis, inner) for t in result]
        if all(ok and len(t.axes[axis]) <= 2 for t, ok in halves):
            return [t for t, _ in halves]
    return [build.single(t, axis) for t in result]


def positioned(build: Builder, tensor: Tensor, digits: Digits, new: Digits, start: int) -> Tensor:
    """Let a tensor begin at `start` on a longer axis `new`, of which `digits` were the only one or none."""
    text = "what lies beside a part of an axis is read with it"
    for digit in digits:
        tensor = replaced_past_ends(build, tensor, digit, tuple((d, 1) for d in new), -start, text)

    def change(part: Part) -> tuple[Part, bool]:
        if any(form.coefficient(d) for form in part.forms for d in new):
            return part, True
        forms = _selected(part.forms, extent(digits), new, start)
        a, b, c, d = (form for form, _ in forms)
        return Part(part.producer, (a, b, c, d)), all(ok for _, ok in forms)

    return build.exact(each_part(tensor, change), text)


def replaced_past_ends(
    build: Builder, tensor: Tensor, digit: Digit, terms: DigitTerms, shift: int, text: str
) -> Tensor:
    """Put `sum(terms) + shift` in place of a digit; where that is past an end, nothing is read.

    Parts become several where they have to; `text` is noted if there would be too many of them.
    """
    parts = [[substituted(part, digit, terms, shift) for part in term] for term in tensor.terms]
    count = sum(len(own) for term in parts for own in term)
    if all(own for term in parts for own in term) and count <= max(MAX_TOGETHER, len(tensor.parts)):
        return replace(tensor, terms=tuple(tuple(x for own in term for x in own) for term in parts))
    return build.exact(each_form(tensor, lambda form: substitute(form, digit, terms, shift)), text)


def _selected(forms: tuple[Form, Form, Form, Form], size: int, new: Digits, start: int) -> list[Checked]:
    """Make forms that do not depend on an axis read something between `start` and `start + size` only."""
    chosen = next((i for i, form in enumerate(forms) if not form.terms), None)
    if not new or chosen is None:
        return [(form, not new) for form in forms]
    same = Window(divide=size, extent=1), Window(scale=1, shift=forms[chosen].offset, width=1)
    windows = (same[0], same[1].model_copy(update={"extent": forms[chosen].extent}), *forms[chosen].windows)
    moved = Form(((new[0], 1),), -start, size, windows)
    return [(moved if i == chosen else form, True) for i, form in enumerate(forms)]
