"""Images of another size: which old elements each new one is made of, by whatever factor.

New element `p` lies at an old coordinate that is a fraction, `(scale * p + shift) / divisor`. The old
elements that it is made of lie between two such fractions, both rounded down, so windows say exactly which
they are: one that multiplies and is as wide as the two are apart, and one of quotients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from models.layer import MAX_EXTENT, Window
from models.onnx.access import (
    Checked,
    Digit,
    Digits,
    Form,
    Tensor,
    each_form,
    extent,
    fresh,
    gapless,
    whole,
    without,
)
from models.onnx.align import with_axis
from models.onnx.build import Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, axes_in_order, first, integers, optional

Places = npt.NDArray[np.int64]
NEAREST = {"floor": Fraction(0), "round_prefer_ceil": Fraction(1, 2)}
"""What is added to a coordinate before it is rounded down; other modes round up."""
CUBIC = 1
"""Elements beyond the two between which a new one lies, on either side, for cubic resizing."""
MAX_DENOMINATOR = 4096
"""Of a factor that stands in a file as a floating-point number."""


@dataclass(frozen=True)
class Reach:
    """The old elements of which new element `p` is made: from one number, rounded down, to another.

    The numbers are `(scale * p + shift) / divisor` and `(scale * p + shift + width) / divisor`; `before` and
    `behind` more elements are read on both sides.
    """

    scale: int
    shift: int
    divisor: int
    width: int
    before: int = 0
    behind: int = 0

    def ends(self, new: int) -> tuple[Places, Places]:
        """Return the first and last old coordinate for each new element."""
        low = np.arange(new, dtype=np.int64) * self.scale + self.shift
        return low // self.divisor - self.before, (low + self.width) // self.divisor + self.behind

    def windows(self, old: int, new: int) -> tuple[Window, ...]:
        """Return windows from new elements to old ones; coordinates in between are raised to be positive."""
        raised = max(0, -(self.shift // self.divisor))
        shift = self.shift + raised * self.divisor
        most = (new - 1) * self.scale + shift + self.width
        result = [Window(scale=self.scale, shift=shift, width=self.width + 1, extent=most + 1)]
        result.append(Window(divide=self.divisor, extent=most // self.divisor + 1))
        down, wide = -raised - self.before, 1 + self.before + self.behind
        result.append(Window(scale=1, shift=down, width=wide, extent=old))
        kept = [w for w in result if not _does_nothing(w)]
        return tuple(w.model_copy(update={"extent": old}) if w is kept[-1] else w for w in kept)


def _does_nothing(window: Window) -> bool:
    return (window.scale, window.shift, window.width) == (1, 0, 1) or window.divide == 1


def resize(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an image of another size, whose elements are old ones or made of some that are near."""
    x = first(inputs, build)
    for axis, (new, scale) in enumerate(_sizes(node, inputs, build, x)):
        if new != x.shape[axis]:
            x = _resized(node, build, x, axis, new, scale)
    return (replace(x, folds=False, value=None),)


def _sizes(node: Node, inputs: Inputs, build: Builder, x: Tensor) -> list[tuple[int, Fraction]]:
    """Return of each axis its new extent and by which factor it grows."""
    rank = len(x.axes)
    axes = axes_in_order(build, node.get("axes") or range(rank), rank)
    sizes = integers(node, inputs, build, 3, "sizes")
    given = optional(inputs, 1 if node.operator == "Upsample" or len(inputs) == 2 else 2)
    scales = node.get("scales") if given is None else given.value
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch" or (not sizes and scales is None):
        raise build.wrong("its sizes are not known before it runs")
    result = [(size, Fraction(1)) for size in x.shape]
    for axis, value in zip(axes, sizes or np.asarray(scales).ravel().tolist(), strict=False):
        old = x.shape[axis]
        if not math.isfinite(value) or not 1 <= (value if sizes else old * value) <= MAX_EXTENT:
            raise build.wrong(f"axis {axis} cannot be resized by {value:g}")
        new = int(value) if sizes else math.floor(old * value)
        factor = Fraction(new, old) if sizes else Fraction(value).limit_denominator(MAX_DENOMINATOR)
        result[axis] = new, factor
    return result


def _resized(node: Node, build: Builder, x: Tensor, axis: int, new: int, scale: Fraction) -> Tensor:
    old, x = x.shape[axis], build.single(x, axis)
    reach = _reach(node, old, new, scale)
    if reach is None or not _sayable(reach, new):
        build.widen("resized in a way that no window describes: the whole axis is read")
        return with_axis(without(x, x.axes[axis]), axis, fresh(new))
    low, high = reach.ends(new)
    if (high < 0).any() or (low >= old).any():
        reach = _over_the_ends(reach, int(max(-high.min(), 0)), int(max(low.max() - old + 1, 0)))
        build.widen("at the ends elements beside those that it is made of are read too")
    if node.get("mode") == "cubic" and (high - low < 2 * CUBIC + 1).any():
        build.widen("elements that count for nothing where it hits an old one are read too")
    places = fresh(new)
    for digit in x.axes[axis]:
        change = each_form(x, lambda form: _through(form, digit, places, reach.windows(old, new)))  # noqa: B023
        x = build.exact(change, f"axis {axis} is read as a whole")
    return with_axis(x, axis, places)


def _through(form: Form, digit: Digit, places: Digits, windows: Sequence[Window]) -> Checked:
    """Read a form through windows that lead from new places to the values of a digit."""
    if not form.coefficient(digit):
        return form, True
    if len(form.terms) > 1:
        return whole(form), False
    ((_, c),) = form.terms
    rest = form.windows
    if (c, form.offset, form.extent) != (1, 0, digit.extent):
        rest = (Window(scale=c, shift=form.offset, width=1, extent=form.extent), *rest)
    exact = gapless(rest) or all(window.width in (None, 1) for window in windows)
    return Form(tuple((d, 1) for d in places), 0, extent(places), (*windows, *rest)), exact


def _over_the_ends(reach: Reach, behind: int, before: int) -> Reach:
    """Reach further, so that new elements past the old ones, which repeat the last of them, read that."""
    return replace(reach, before=reach.before + before, behind=reach.behind + behind)


def _sayable(reach: Reach, new: int) -> bool:
    raised = max(0, -(reach.shift // reach.divisor)) * reach.divisor
    return max(new * reach.scale + abs(reach.shift) + reach.width + raised, reach.divisor) < MAX_EXTENT


def _reach(node: Node, old: int, new: int, scale: Fraction) -> Reach | None:
    """Return what each new element is made of, None if that is not known."""
    early = node.operator == "Upsample" or node.version < 11
    transform = node.get("coordinate_transformation_mode", "asymmetric" if early else "half_pixel")
    if transform == "pytorch_half_pixel":
        transform = "half_pixel" if new > 1 else "asymmetric"
    factors = {
        "asymmetric": (1 / scale, Fraction(0)),
        "align_corners": (Fraction(old - 1, max(new - 1, 1)), Fraction(0)),
        "half_pixel": (1 / scale, 1 / (2 * scale) - Fraction(1, 2)),
    }
    if transform not in factors or node.get("antialias", 0):
        return None
    factor, shift = factors[transform]
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        return _nearest(node.get("nearest_mode", "floor" if early else "round_prefer_floor"), factor, shift)
    margin = CUBIC if mode == "cubic" else 0
    scaled, shifted, divisor = _whole_numbers(factor, shift)
    return Reach(scaled, shifted, divisor, divisor - 1, margin, margin)


def _nearest(mode: str, factor: Fraction, shift: Fraction) -> Reach:
    """Return the one element that is nearest; rounding up adds what is just less than 1."""
    if mode in NEAREST:
        return Reach(*_whole_numbers(factor, shift + NEAREST[mode]), 0)
    scaled, shifted, divisor = _whole_numbers(factor, shift if mode == "ceil" else shift - Fraction(1, 2))
    return Reach(scaled, shifted + divisor - 1, divisor, 0)


def _whole_numbers(factor: Fraction, shift: Fraction) -> tuple[int, int, int]:
    """Return integers `a, b, n` with `factor * p + shift = (a * p + b) / n`."""
    n = math.lcm(factor.denominator, shift.denominator)
    return int(factor * n), int(shift * n), n


HANDLERS: dict[str, Handler] = {"Resize": resize, "Upsample": resize}
