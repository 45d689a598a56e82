"""Sums that a layer makes itself: it adds the other terms to its results, as residuals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from models.layer import AXIS_DIMS, Dim, Layer
from models.onnx.access import (
    Concatenation,
    Digit,
    Digits,
    DigitTerms,
    Form,
    Part,
    Tensor,
    coalesced,
    renamed,
)
from models.onnx.build import Builder, number


def with_residuals(build: Builder, total: Tensor) -> Tensor:
    """Return a sum with one term only if that is all that a layer makes and the layer can add the others.

    Nothing else may read that layer, as its result becomes the sum. Of several such layers the one that is
    complete last is taken.
    """
    found = [(layer, term) for term in total.terms if (layer := _made(build, total, term))]
    for layer, own in sorted(found, key=lambda pair: build.place(pair[0].name), reverse=True):
        others = tuple(term for term in total.terms if term is not own)
        dims = _in_dims(layer, own[0], others)
        if others and dims and build.add_residuals(layer.name, *dims):
            return replace(total, terms=(own,))
    return total


def _made(build: Builder, total: Tensor, term: Concatenation) -> Layer | None:
    """Return the layer of which a term has every element once, None if it has others or others read it."""
    layer = build.unread(term[0].producer) if len(term) == 1 else None
    if layer is None or any(form.windows or form.offset for form in term[0].forms):
        return None
    used = Counter(digit for form in term[0].forms for digit, _ in form.terms)
    every = used == Counter(digit for digits in total.axes for digit in digits)
    return layer if every and [part.producer for part in total.parts].count(layer.name) == 1 else None


def _in_dims(
    layer: Layer, own: Part, others: tuple[Concatenation, ...]
) -> tuple[Tensor, dict[Digit, Dim]] | None:
    """Return what is added to a layer's results in digits that are its dims, None if it has no such forms."""
    axes = tuple(_outermost_first(form.terms) for form in own.forms)
    joined = coalesced(Tensor(axes, ((own,), *others)))
    names: dict[Digit, DigitTerms] = {}
    dim_of: dict[Digit, Dim] = {}
    for form, digits, dims in zip(joined.parts[0].forms, joined.axes, AXIS_DIMS, strict=True):
        own_dims = {Digit(layer.bound(dim)): dim for dim in dims if layer.bound(dim) > 1}
        of_axis = _names(form, digits, tuple(own_dims))
        if of_axis is None:
            return None
        names, dim_of = names | of_axis, dim_of | own_dims
    return renamed(replace(joined, terms=joined.terms[1:]), names), dim_of


def _names(form: Form, digits: Digits, dims: Digits) -> dict[Digit, DigitTerms] | None:
    """Return the digits of an axis in terms of its dims, if they are these or one number of all of them."""
    found, terms = [(d.extent, form.coefficient(d)) for d in digits], number(dims).terms
    if found == [(d.extent, stride) for d, stride in terms]:
        return {digit: ((dim, 1),) for digit, dim in zip(digits, dims, strict=True)}
    return {digits[0]: terms} if found == [(form.extent, 1)] else None


def _outermost_first(terms: DigitTerms) -> Digits:
    return tuple(digit for digit, _ in sorted(terms, key=lambda term: -term[1]))
