"""Tensors brought to common digits, parts put beside each other, and pieces taken out."""

from __future__ import annotations

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
    sizes = [t.shape[axis] for t in tensors]
    others = [with_axis(t, axis, ()) for t in tensors]
    tensors = _same_inside(build, tensors, axis)
    inner = max((extent(t.axes[axis][1:]) for t in tensors), default=1)
    # The joined axis is put aside while the others are brought to common digits.
    shape = [max(s) for s in zip(*(t.shape for t in others), strict=True)]
    aside = [t.axes[axis] for t in tensors]
    tensors = aligned(build, [with_axis(t, axis, ()) for t in tensors], shape)
    whole_digit = fresh(sum(sizes) // inner)
    common = fresh(inner)
    terms: list[list[Part]] = []
    start = 0
    for tensor, digits, size in zip(tensors, aside, sizes, strict=True):
        if inner > 1:
            tensor = renamed(tensor, {digits[-1]: ((common[0], 1),)})
        outer = digits[: len(digits) - 1] if inner > 1 else digits
        placed = positioned(build, tensor, outer, whole_digit, start // inner)
        for i, term in enumerate(placed.terms):
            if i == len(terms):
                terms.append([])
            terms[i] += term
        start += size
    result = replace(tensors[0], terms=tuple(map(tuple, terms)), folds=False)
    return coalesced(pruned(with_axis(result, axis, (*whole_digit, *common))))


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

    def change(part: Part) -> tuple[Part, bool]:
        if any(form.coefficient(d) for form in part.forms for d in digits):
            forms = [_shifted(form, digits, new, start) for form in part.forms]
        else:
            forms = _selected(part.forms, extent(digits), new, start)
        a, b, c, d = (form for form, _ in forms)
        return Part(part.producer, (a, b, c, d)), all(ok for _, ok in forms)

    return build.exact(each_part(tensor, change), "what lies beside a part of an axis is read with it")


def _shifted(form: Form, digits: Digits, new: Digits, start: int) -> Checked:
    if not any(form.coefficient(d) for d in digits):
        return form, True
    return substitute(form, digits[0], tuple((d, 1) for d in new), -start)


def _selected(forms: tuple[Form, Form, Form, Form], size: int, new: Digits, start: int) -> list[Checked]:
    """Make forms that do not depend on an axis read something between `start` and `start + size` only."""
    chosen = next((i for i, form in enumerate(forms) if not form.terms), None)
    if not new or chosen is None:
        return [(form, not new) for form in forms]
    same = Window(divide=size, extent=1), Window(scale=1, shift=forms[chosen].offset, width=1)
    windows = (same[0], same[1].model_copy(update={"extent": forms[chosen].extent}), *forms[chosen].windows)
    moved = Form(((new[0], 1),), -start, size, windows)
    return [(moved if i == chosen else form, True) for i, form in enumerate(forms)]
