"""What is read where an element needs all values of some digits, as a softmax or a mean does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from models.layer import Window
from models.onnx.access import Checked, Digit, Digits, Form, Tensor, each_form, gapless, slide, spread
from models.onnx.align import with_axis
from models.onnx.build import Builder


def reduced(build: Builder, x: Tensor, axis: int) -> Tensor:
    """Return a tensor with one axis reduced to one element."""
    digits = x.axes[axis]
    change = each_form(x, lambda form: _at_once(form, digits, _without) or _one_by_one(form, digits, _gone))
    return with_axis(build.exact(change, f"more is read than axis {axis} alone"), axis, ())


def over(build: Builder, x: Tensor, digits: Digits) -> Tensor:
    """Return a tensor each element of which reads all values of some digits."""
    change = each_form(x, lambda form: _at_once(form, digits, _blocks) or _one_by_one(form, digits, spread))
    x = build.exact(change, "more is read than the axis that it works on")
    return replace(x, folds=False, value=None)


def _gone(form: Form, digit: Digit) -> Checked:
    return slide(form, digit, (), 1, 0, digit.extent)


def _one_by_one(form: Form, digits: Digits, change: Callable[[Form, Digit], Checked]) -> Checked:
    exact = True
    for digit in digits:
        form, ok = change(form, digit)
        exact = exact and ok
    return form, exact


def _at_once(
    form: Form, digits: Sequence[Digit], change: Callable[[Form, list[Digit], int], Form | None]
) -> Checked | None:
    """Change a form in which several of the digits, with all their values, reach a run of coordinates."""
    used = sorted((d for d in digits if form.coefficient(d)), key=form.coefficient)
    span = 1
    for digit in used:
        if form.coefficient(digit) > span:
            return None
        span += form.coefficient(digit) * (digit.extent - 1)
    if len(used) < 2 or not gapless(form.windows):
        return None
    result = change(form, used, span)
    return None if result is None else (result, True)


def _without(form: Form, used: list[Digit], span: int) -> Form | None:
    """Read from each value of the other digits on, `span` coordinates."""
    others = tuple((d, c) for d, c in form.terms if d not in used)
    raised = max(0, -form.offset)
    most = form.offset + raised + sum(c * (d.extent - 1) for d, c in others)
    run = Window(scale=1, shift=-raised, width=span, extent=form.extent)
    if not others and form.offset <= 0 and form.offset + span >= form.extent:
        run = Window(all=True, extent=form.extent)
    return Form(others, form.offset + raised, most + 1, (run, *form.windows))


def _blocks(form: Form, used: list[Digit], span: int) -> Form | None:
    """Read whole blocks of `span` coordinates; None if they do not begin where the others lead."""
    numbers = (form.offset, form.extent, *(c for d, c in form.terms if d not in used))
    if any(number % span for number in numbers):
        return None
    everything = (form.offset, form.extent) == (0, span)
    block = Window(all=True, extent=span) if everything else Window(block=span, extent=form.extent)
    return replace(form, windows=(block, *form.windows))
