"""Which digits become one loop, where a layer has fewer loops than there are digits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.onnx.access import Digit, Tensor, extent, like_one, without
from models.onnx.merge import divided, merged_tensor

Products = tuple[Tensor, ...]
_Merge = Callable[[Tensor, tuple[Digit, ...], Digit], Tensor | None]
_Fits = Callable[[Products, Products, Digit, Digit], bool]


@dataclass(frozen=True)
class DigitGroup:
    """Digits that one loop runs through, the outermost first, and the number in forms that they make."""

    digits: tuple[Digit, ...]
    number: Digit


@dataclass(frozen=True)
class GroupedDigits:
    """Groups of digits, what is read in terms of them, and whether something is read as a whole for it."""

    groups: tuple[DigitGroup, ...]
    products: Products
    widened: bool = False


def grouped(digits: Sequence[Digit], limit: int, products: Products) -> GroupedDigits:
    """Join digits into at most `limit` groups, at no loss where that is possible.

    Digits that are read like one number are joined in any case, so that what a layer makes lies as what it
    reads does. Of others the best are those that nothing reads, then those of which a window drops one, at
    last those for which a part becomes several.
    """
    state = GroupedDigits(tuple(DigitGroup((digit,), digit) for digit in digits), products)
    while (more := _cheapest(state, merged_tensor, _read_like_one)) is not None:
        state = more
    while len(state.groups) > limit:
        state = _cheapest(state, merged_tensor) or _cheapest(state, divided) or _lost(state)
    return state


def _any(before: Products, after: Products, outer: Digit, inner: Digit) -> bool:
    return True


def _read_like_one(before: Products, after: Products, outer: Digit, inner: Digit) -> bool:
    """Return whether digits are read like one number: by one of two factors, or by all there is."""
    forms = [form for x in before for part in x.parts for form in part.forms if form.coefficient(inner)]
    alike = any(form.coefficient(outer) and like_one((form,), outer, inner) for form in forms)
    return alike and (len(before) > 1 or _size(after) == _size(before))


def _cheapest(state: GroupedDigits, merge: _Merge, fits: _Fits = _any) -> GroupedDigits | None:
    """Return the state after the best join of two groups that fit, None if there is none."""
    used = {digit for product in state.products for part in product.parts for digit in part.digits}
    best: tuple[tuple[int, ...], GroupedDigits] | None = None
    for i, j in itertools.permutations(range(len(state.groups)), 2):
        outer, inner = state.groups[i].number, state.groups[j].number
        number = Digit(extent((outer, inner)))
        products = [merge(x, (outer, inner), number) for x in state.products]
        found = tuple(x for x in products if x is not None)
        if len(found) < len(products) or not fits(state.products, found, outer, inner):
            continue
        reads = (outer in used) + (inner in used)
        near = (j - i, -i) if reads else (-i, -j)
        cost = (_size(found) - _size(state.products), reads, i > j, *near)
        if best is None or cost < best[0]:
            best = cost, _joined(state, i, j, number, found)
    return best[1] if best else None


def _size(products: Products) -> int:
    """Return how many parts and windows there are, a part counting for many windows."""
    parts = [part for product in products for part in product.parts]
    return 100 * len(parts) + sum(len(form.windows) for part in parts for form in part.forms)


def _joined(state: GroupedDigits, i: int, j: int, number: Digit, products: Products) -> GroupedDigits:
    groups = list(state.groups)
    groups[i] = DigitGroup((*groups[i].digits, *groups[j].digits), number)
    del groups[j]
    return GroupedDigits(tuple(groups), products, state.widened)


def _lost(state: GroupedDigits) -> GroupedDigits:
    """Join the last two groups; where one is used, the axis is read as a whole."""
    last = len(state.groups) - 1
    pair = state.groups[last - 1].number, state.groups[last].number
    products = tuple(without(x, pair) for x in state.products)
    joined = _joined(state, last - 1, last, Digit(extent(pair)), products)
    return GroupedDigits(joined.groups, joined.products, True)
