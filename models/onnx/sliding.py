"""Convolution and pooling: windows that slide over the image axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.layer import Dim
from models.onnx.access import (
    MAX_POINTS,
    Digit,
    Digits,
    Tensor,
    cut,
    each_form,
    extent,
    fresh,
    slide,
    without,
)
from models.onnx.align import replaced_past_ends, with_axis
from models.onnx.build import SUMMED, WEIGHTED, Body, Builder
from models.onnx.graph import Node
from models.onnx.merge import divided
from models.onnx.operands import Handler, Inputs, first, optional, spatial
from models.onnx.spans import reduced

ROWS: tuple[tuple[Dim, Dim], ...] = (("P", "R"), ("Q", "S"))
FRAMES: tuple[Dim, Dim] = ("N", "C")
"""The dims of a third image axis, which stands before the rows: its places are like images of a batch."""
MAX_IMAGE_AXES = 3
SAME = ("SAME_UPPER", "SAME_LOWER")


def image_dims(count: int) -> tuple[tuple[Dim, Dim], ...]:
    """Return for each of so many image axes the dims of its places and of its kernel."""
    return (FRAMES, *ROWS) if count == MAX_IMAGE_AXES else ROWS


@dataclass(frozen=True)
class Kernel:
    """How a window slides over one axis of `size` values: `out` times, from `-pad` on."""

    size: int
    width: int
    stride: int
    dilation: int
    pad: int
    out: int

    @property
    def reach(self) -> int:
        """How many values lie between the first and the last that the window covers, both counted."""
        return (self.width - 1) * self.dilation + 1

    @property
    def touches(self) -> bool:
        """Whether the window surely meets the axis wherever it stands."""
        if self.out * self.width > MAX_POINTS:
            return False
        taps = np.arange(self.width) * self.dilation - self.pad
        places = np.arange(self.out)[:, None] * self.stride + taps
        return bool(((places >= 0) & (places < self.size)).any(axis=1).all())


def kernels(node: Node, build: Builder, sizes: tuple[int, ...], widths: list[int]) -> list[Kernel]:
    """Return the kernel of each image axis of extents `sizes`."""
    count = len(sizes)
    strides = spatial(node, build, "strides", count, 1)
    dilations = spatial(node, build, "dilations", count, 1)
    pads = spatial(node, build, "pads", 2 * count, 0)
    auto = node.get("auto_pad", "NOTSET")
    result = []
    for i, size in enumerate(sizes):
        width, stride, dilation = widths[i], strides[i], dilations[i]
        before, after = pads[i], pads[count + i]
        reach = (width - 1) * dilation + 1
        if auto == "VALID":
            before = after = 0
        elif auto in SAME:
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            small, large = total // 2, total - total // 2
            before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
        out = _positions(size + before + after - reach, stride, size + before, bool(node.get("ceil_mode", 0)))
        if out < 1:
            raise build.wrong(f"the window of {reach} does not fit into an axis of {size}")
        result.append(Kernel(size, width, stride, dilation, before, out))
    return result


def _positions(room: int, stride: int, behind: int, up: bool) -> int:
    """Return how often a window fits; rounded up, but then no window begins in the padding at the end."""
    if not up:
        return room // stride + 1
    out = -(-room // stride) + 1
    return out - 1 if (out - 1) * stride >= behind else out


# Convolution


def conv(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a convolution over one or two image axes, with groups."""
    x, weight, bias = convolved(inputs, build)
    each, made, windows = grouped(node, build, x, weight)
    return windowed(build, x, (each, made), windows, bias)


def grouped(node: Node, build: Builder, x: Tensor, weight: Tensor) -> tuple[int, int, list[Kernel]]:
    """Return how many channels a group reads and makes, and the kernel of each image axis."""
    groups = int(node.get("group", 1))
    made, each = weight.shape[:2]
    if groups < 1 or x.shape[1] != groups * each or made % groups:
        raise build.wrong(f"{x.shape[1]} channels do not fit {groups} groups of {each}")
    return each, made // groups, kernels(node, build, x.shape[2:], list(weight.shape[2:]))


def windowed(
    build: Builder, x: Tensor, channels: tuple[int, int], windows: list[Kernel], bias: bool
) -> tuple[Tensor, ...]:
    """Return the layer in which windows slide; `channels` are those read and made in one group."""
    each, made = channels
    x = channels_in_groups(build, x, each, 1 + (made > 1), sum(window.width > 1 for window in windows))
    own, summed = divided_at(x.axes[1], each)
    out = (*own, *fresh(made))
    wanted = named_channels(x, out, own, summed)
    for i in range(len(windows)):
        x = build.single(x, 2 + i)
    dims = image_dims(len(windows))
    found: list[tuple[Digits, Digits]] = []
    for i, kernel in innermost_first(windows):
        place = fresh(kernel.out)
        x, tap = slid(build, x, 2 + i, kernel, place)
        found.insert(0, (place, tap))
        wanted += [(d, dim) for ds, dim in zip((place, tap), dims[i], strict=True) for d in ds]
    taps = tuple(d for _, tap in found for d in tap)
    outputs = (x.axes[0], out, *(place for place, _ in found))
    body = Body((x,), outputs, (*summed, *taps), out, tuple(wanted))
    return (replace(build.layer(body, post=int(bias)), folds=bias),)


def innermost_first(windows: Sequence[Kernel]) -> list[tuple[int, Kernel]]:
    """Return the kernels with their positions, the last one first.

    An axis of which an outer one needs to be known value by value is read while the outer one is whole.
    """
    return list(reversed([*enumerate(windows)]))


def convolved(inputs: Inputs, build: Builder) -> tuple[Tensor, Tensor, bool]:
    """Return what is convolved, its constant weights, and whether there is a bias."""
    x, weight = first(inputs, build), first(inputs, build, 1)
    if not weight.constant:
        raise build.wrong("its weights are computed; they must be constants")
    if not 3 <= len(x.axes) <= 2 + MAX_IMAGE_AXES or len(weight.axes) != len(x.axes):
        raise build.wrong(f"has {len(x.axes) - 2} image axes; one to three are known")
    return x, weight, optional(inputs, 2) is not None


def named_channels(x: Tensor, out: Digits, own: Digits, summed: Digits) -> list[tuple[Digit, Dim]]:
    """Propose dims for batch, groups, output and input channels."""
    named: list[tuple[Digit, Dim]] = [(d, "N") for d in x.axes[0][:1]] + [(d, "C") for d in summed[:1]]
    named += [(d, "G") for d in own[:1]]
    return named + [(d, "K") for d in out[len(own) :]]


def channels_in_groups(build: Builder, x: Tensor, each: int, kept: int, taps: int) -> Tensor:
    """Cut the channels at the groups; join digits first if there would be more than a layer has loops."""
    attempt, ok = cut(x, 1, each)
    own, summed = divided_at(attempt.axes[1], each)
    if ok and len(own) + kept - 1 <= len(WEIGHTED) and len(summed) + taps <= len(SUMMED):
        return attempt
    return cut(build.single(x, 1), 1, each)[0]


def divided_at(digits: Digits, inner: int) -> tuple[Digits, Digits]:
    """Return the outer digits, and the inner ones that have `inner` values."""
    at = next(i for i in range(len(digits) + 1) if extent(digits[i:]) <= inner)
    return digits[:at], digits[at:]


def slid(build: Builder, x: Tensor, axis: int, kernel: Kernel, place: Digits) -> tuple[Tensor, Digits]:
    """Read `place * stride + tap * dilation - pad` of an image axis; also return the digit of the taps."""
    x, tap = _noted(build, build.single(x, axis), axis, kernel), fresh(kernel.width)
    terms = (*((d, kernel.stride) for d in place), *((d, kernel.dilation) for d in tap))
    for digit in x.axes[axis]:
        text = "padding between elements that are not neighbours is read as elements"
        x = replaced_past_ends(build, x, digit, terms, -kernel.pad, text)
    return with_axis(x, axis, ()), tap


def _noted(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> Tensor:
    """Note it if a part does not depend on an axis, so that it is read where there is padding, too."""
    uses = all(any(d in part.digits for d in x.axes[axis]) for part in x.parts)
    if not uses and not kernel.touches:
        build.widen("padding is read as elements")
    return x


def repeated(build: Builder, x: Tensor, axis: int, new: Digits, times: int) -> Tensor:
    """Return the tensor with each element of an axis several times in a row."""
    for digit in x.axes[axis]:
        spread_out = divided(x, (digit, Digit(times)), new[0])
        if spread_out is None:
            build.widen(f"axis {axis} is read as a whole")
            spread_out = without(x, (digit,))
        x = spread_out
    return with_axis(x, axis, new)


# Pooling


def pool(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor read through windows; what pools costs nothing, as in a network file."""
    x = first(inputs, build)
    count = len(x.axes) - 2
    if count < 1:
        raise build.wrong("there is no image axis to pool over")
    windows = kernels(node, build, x.shape[2:], spatial(node, build, "kernel_shape", count, 1))
    for i, kernel in enumerate(windows):
        x = pooled(build, x, 2 + i, kernel)
    return (replace(x, folds=False),)


def pooled(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> Tensor:
    """Return a tensor with one axis pooled."""
    x = _noted(build, build.single(x, axis), axis, kernel)
    new = fresh(kernel.out)
    for digit in x.axes[axis]:
        change = each_form(
            x,
            lambda form: slide(form, digit, new, kernel.stride, -kernel.pad, kernel.reach),  # noqa: B023
        )
        x = build.exact(change, "the window also covers elements between those that are pooled")
    if kernel.dilation > 1 and kernel.width > 1:
        build.widen("the window is dilated: what lies between its elements is read too")
    return with_axis(x, axis, new)


def global_pool(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor with all image axes pooled into one element each."""
    x = first(inputs, build)
    for axis in range(2, len(x.axes)):
        x = reduced(build, x, axis)
    return (replace(x, folds=False),)


HANDLERS: dict[str, Handler] = {
    "Conv": conv,
    "MaxPool": pool,
    "AveragePool": pool,
    "LpPool": pool,
    "GlobalMaxPool": global_pool,
    "GlobalAveragePool": global_pool,
    "GlobalLpPool": global_pool,
}
