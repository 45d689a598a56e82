"""Transposed convolution: which weights an output meets, and which elements, by its place.

With a stride `s`, output `p` meets the weights `t` with `(p + pad - t) % s = 0`. So of `p = s*q + r` the
digit `r` chooses weights, as an output channel does, and only `q` goes over the image. A layer has all
weights of the file this way, each of them once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.onnx.access import MAX_POINTS, Digit, Digits, Tensor, fresh, without
from models.onnx.align import replaced_past_ends, with_axis
from models.onnx.build import Body, Builder, number
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, spatial
from models.onnx.sliding import (
    SAME,
    Kernel,
    channels_in_groups,
    convolved,
    divided_at,
    image_dims,
    innermost_first,
    named_channels,
    repeated,
    slid,
)


@dataclass(frozen=True)
class _Axis:
    """What becomes of one image axis: the digits of the output, those of them that choose weights, taps."""

    outputs: Digits
    weighted: Digits
    taps: Digits


def conv_transpose(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a transposed convolution over the image axes, with groups."""
    x, weight, bias = convolved(inputs, build)
    groups = int(node.get("group", 1))
    each = weight.shape[0] // max(groups, 1)
    if groups < 1 or x.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise build.wrong(f"{x.shape[1]} channels do not fit {groups} groups and {weight.shape[0]} weights")
    windows = _kernels(node, build, x.shape[2:], list(weight.shape[2:]))
    made = weight.shape[1]
    x = channels_in_groups(build, x, each, 1 + (made > 1), sum(_taps(window) > 1 for window in windows))
    own, summed = divided_at(x.axes[1], each)
    channels = (*own, *fresh(made))
    wanted = named_channels(x, channels, own, summed)
    axes: list[_Axis] = []
    dims = image_dims(len(windows))
    for i, kernel in enumerate(windows):
        x = _prepared(build, x, 2 + i, kernel)
    for i, kernel in innermost_first(windows):
        x, axis = _along(build, x, 2 + i, kernel)
        axes.insert(0, axis)
        wanted += [(d, dims[i][0]) for d in axis.outputs[:1] if d not in axis.weighted]
        wanted += [(d, dims[i][1]) for d in axis.taps]
    weighted = (*own, *(d for axis in axes for d in axis.weighted), *channels[len(own) :])
    taps = tuple(d for axis in axes for d in axis.taps)
    outputs = (x.axes[0], channels, *(axis.outputs for axis in axes))
    body = Body((x,), outputs, (*summed, *taps), weighted, tuple(wanted))
    return (replace(build.layer(body, post=int(bias)), folds=bias),)


def _taps(kernel: Kernel) -> int:
    """Return how many weights an output meets on an axis, if it meets as many as any other."""
    if _is_point(kernel):
        return 1
    return -(-kernel.width // (kernel.stride // math.gcd(kernel.stride, kernel.dilation)))


def _is_point(kernel: Kernel) -> bool:
    """Return whether an axis has one element only, so that every output meets one weight of its own."""
    return kernel.size == kernel.dilation == 1 and 0 <= kernel.pad <= kernel.width - kernel.out


def _along(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> tuple[Tensor, _Axis]:
    """Read one image axis; the tensor no longer has it."""
    places = fresh(kernel.out)
    _note_padding(build, x, axis, kernel)
    if _is_point(kernel):
        return x, _Axis(places, places, ())
    if kernel.stride == 1:
        pad = (kernel.width - 1) * kernel.dilation - kernel.pad
        x, tap = slid(build, x, axis, replace(kernel, pad=pad), places)
        return x, _Axis(places, (), tap)
    if kernel.dilation > 1:
        build.widen("strided and dilated: the whole axis is read")
        x = build.single(x, axis)
        return with_axis(without(x, x.axes[axis]), axis, ()), _Axis(places, (), fresh(_taps(kernel)))
    return _strided(build, x, axis, kernel)


def _is_repeated(kernel: Kernel) -> bool:
    """Return whether the digit of the output that chooses weights also decides, with others, what is read."""
    aligned = kernel.pad % kernel.stride == 0 and kernel.out % kernel.stride == 0
    return not (_is_point(kernel) or kernel.dilation > 1 or aligned)


def _prepared(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> Tensor:
    """Make an image axis one digit, `stride` times as long where outputs are counted on it."""
    x = build.single(x, axis)
    longer = fresh(kernel.size * kernel.stride)
    return repeated(build, x, axis, longer, kernel.stride) if _is_repeated(kernel) else x


def _strided(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> tuple[Tensor, _Axis]:
    """Read `(p + pad) // stride - tap`, where the output `p` is a number with a digit below the stride."""
    stride, taps = kernel.stride, _taps(kernel)
    if kernel.width % stride:
        build.widen("outputs that meet fewer weights than others are counted and read as if they met as many")
    tap, outputs = fresh(taps), fresh(kernel.out)
    phase: Digits = ()
    if kernel.out % stride == 0:
        phase = fresh(stride)
        outputs = (*fresh(kernel.out // stride), *phase)
    else:
        build.widen("outputs are no multiple of the stride: only one weight in each stride is counted")
    if _is_repeated(kernel):
        terms = [(d, c) for d, c in number(outputs).terms] + [(d, stride) for d in tap]
        x = _read(build, x, axis, terms, kernel.pad - (taps - 1) * stride)
    else:
        x = _read(build, x, axis, [(d, 1) for d in (*outputs[:-1], *tap)], kernel.pad // stride - taps + 1)
    return x, _Axis(outputs, phase, tap)


def _note_padding(build: Builder, x: Tensor, axis: int, kernel: Kernel) -> None:
    """Note it if a part does not depend on an axis, so that outputs that meet nothing of it read it, too."""
    taps = np.arange(kernel.width) * kernel.dilation
    places = np.arange(min(kernel.out, MAX_POINTS))[:, None] + kernel.pad - taps
    size = kernel.size * kernel.stride
    meets = ((places >= 0) & (places < size) & (places % kernel.stride == 0)).any(axis=1).all()
    if not meets and not all(any(d in part.digits for d in x.axes[axis]) for part in x.parts):
        build.widen("outputs that meet nothing read an element all the same")


def _read(build: Builder, x: Tensor, axis: int, terms: Sequence[tuple[Digit, int]], shift: int) -> Tensor:
    text = "padding between elements that are not neighbours is read as elements"
    for digit in x.axes[axis]:
        x = replaced_past_ends(build, x, digit, tuple(terms), shift, text)
    return with_axis(x, axis, ())


def _kernels(node: Node, build: Builder, sizes: tuple[int, ...], widths: list[int]) -> list[Kernel]:
    """Return the kernel of each image axis, with its number of places and the padding before it."""
    count = len(sizes)
    strides = spatial(node, build, "strides", count, 1)
    dilations = spatial(node, build, "dilations", count, 1)
    pads = spatial(node, build, "pads", 2 * count, 0)
    extra = spatial(node, build, "output_padding", count, 0)
    shape, auto = node.get("output_shape"), node.get("auto_pad", "NOTSET")
    result = []
    for i, size in enumerate(sizes):
        full = strides[i] * (size - 1) + extra[i] + (widths[i] - 1) * dilations[i] + 1
        before, out = pads[i], full - pads[i] - pads[count + i]
        if auto == "VALID":
            before, out = 0, full
        elif shape or auto in SAME:
            out = int(shape[i - count]) if shape else size * strides[i]
            total = max(full - out, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        if out < 1:
            raise build.wrong(f"an axis of {size} leads to {out} elements")
        result.append(Kernel(size, widths[i], strides[i], dilations[i], before, out))
    return result


HANDLERS: dict[str, Handler] = {"ConvTranspose": conv_transpose}
