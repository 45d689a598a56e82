"""Convolutions of every kind: over images, over volumes, and with weights that are computed.

A layer has three loops for reductions. A volume needs four: channels and three axes of the kernel. One axis
of the kernel is then put among the channels: the layer reads, as a concatenation, the volume once for each of
its places on that axis.
"""

from __future__ import annotations

from dataclasses import replace

from models.onnx.access import Tensor, cut, fresh
from models.onnx.align import joined
from models.onnx.build import SUMMED, Builder
from models.onnx.computed import computed_conv
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first
from models.onnx.sliding import Kernel, conv, convolved, divided_at, grouped, slid, windowed


def convolution(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a convolution over one, two or three axes."""
    if not first(inputs, build, 1).constant:
        return computed_conv(node, inputs, build)
    if len(first(inputs, build).axes) != 5:
        return conv(node, inputs, build)
    x, weight, bias = convolved(inputs, build)
    each, made, windows = grouped(node, build, x, weight)
    taps = [i for i, window in enumerate(windows) if window.width > 1]
    if (each > 1) + len(taps) > len(SUMMED):
        folded = min(taps, key=lambda i: windows[i].width)
        x, windows[folded] = _folded(build, x, folded, each, windows[folded])
        each *= weight.shape[2 + folded]
    return windowed(build, x, (each, made), windows, bias)


def _folded(build: Builder, x: Tensor, place: int, each: int, kernel: Kernel) -> tuple[Tensor, Kernel]:
    """Return a volume with a kernel's places on one axis among its channels, and the kernel left there."""
    attempt, ok = cut(x, 1, each)
    x = attempt if ok else cut(build.single(x, 1), 1, each)[0]
    parts = []
    for tap in range(kernel.width):
        one = replace(kernel, width=1, dilation=1, pad=kernel.pad - tap * kernel.dilation)
        along = fresh(kernel.out)
        part, _ = slid(build, x, 2 + place, one, along)
        own, inner = divided_at(part.axes[1], each)
        axes = [*part.axes[:1], own, inner, *part.axes[2:]]
        axes[3 + place] = along
        parts.append(replace(part, axes=tuple(axes), value=None))
    whole = joined(build, parts, 2)
    axes = [whole.axes[0], (*whole.axes[1], *whole.axes[2]), *whole.axes[3:]]
    return replace(whole, axes=tuple(axes)), Kernel(kernel.out, 1, 1, 1, 0, kernel.out)


HANDLERS: dict[str, Handler] = {"Conv": convolution}
