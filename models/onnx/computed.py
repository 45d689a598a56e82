"""Convolutions whose weights another layer makes: products of two activations."""

from __future__ import annotations

from dataclasses import replace

from models.layer import Dim
from models.onnx.access import Digit, Digits, Tensor, cut, fresh
from models.onnx.align import aligned
from models.onnx.build import Body, Builder
from models.onnx.graph import Node
from models.onnx.operands import Inputs, first, optional
from models.onnx.sliding import divided_at, kernels, slid

OUT: tuple[Dim, ...] = ("N", "G", "K", "P", "Q")
IN: tuple[Dim, ...] = ("C", "R", "S")


def computed_conv(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a convolution over one or two image axes, of which image and weights are activations."""
    x, weight = first(inputs, build), first(inputs, build, 1)
    groups, count = int(node.get("group", 1)), len(x.axes) - 2
    if not 1 <= count <= 2 or len(weight.axes) != count + 2:
        raise build.wrong(f"its weights are computed, and it has {count} image axes; one or two are known")
    made, each = weight.shape[:2]
    if groups < 1 or x.shape[1] != groups * each or made % groups:
        raise build.wrong(f"{x.shape[1]} channels do not fit {groups} groups of {each}")
    windows = kernels(node, build, x.shape[2:], [*weight.shape[2:]])
    if any(k.pad > 0 or (k.out - 1) * k.stride + k.reach - k.pad > k.size for k in windows):
        build.widen("weights are read where they meet padding only, too")
    image, own = _image(build, x, each), _apart(build, weight, made // groups)
    places: list[Digits] = []
    taps: list[Digits] = []
    for i, kernel in enumerate(windows):
        place = fresh(kernel.out)
        image, tap = slid(build, image, 3 + i, kernel, place)
        places.append(place)
        taps.append(tap)
    left = replace(image, axes=(*image.axes[:2], (), *places, image.axes[2], *taps))
    blank: tuple[Digits, ...] = ((),) * count
    right = replace(own, axes=((), *own.axes[:2], *blank, *own.axes[2:]), value=None)
    shape = (x.shape[0], groups, made // groups, *(k.out for k in windows), each, *(k.width for k in windows))
    left, right = aligned(build, [left, right], shape)
    result = _layer(build, left, right, count)
    if optional(inputs, 2) is not None:
        build.count(result, 1)
    return (result,)


def _layer(build: Builder, left: Tensor, right: Tensor, count: int) -> Tensor:
    batch, groups, kernels_, *places = left.axes[: 3 + count]
    summed = left.axes[3 + count :]
    named = [*zip(OUT, left.axes[: 3 + count], strict=False), *zip(IN, summed, strict=False)]
    wanted: list[tuple[Digit, Dim]] = [(d, dim) for dim, digits in named for d in digits[:1]]
    flat = tuple(d for digits in summed for d in digits)
    body = Body((left, right), (batch, (*groups, *kernels_), *places), flat, wanted=tuple(wanted))
    return build.layer(body)


def _image(build: Builder, x: Tensor, each: int) -> Tensor:
    """Return a tensor with an axis of groups and one of the channels in them."""
    attempt, ok = cut(x, 1, each)
    x = attempt if ok else cut(build.single(x, 1), 1, each)[0]
    own, summed = divided_at(x.axes[1], each)
    return replace(x, axes=(x.axes[0], own, summed, *x.axes[2:]), value=None)


def _apart(build: Builder, weight: Tensor, made: int) -> Tensor:
    """Return weights with an axis of groups and one of the channels that each of them makes."""
    attempt, ok = cut(weight, 0, made)
    weight = attempt if ok else cut(build.single(weight, 0), 0, made)[0]
    own, inner = divided_at(weight.axes[0], made)
    return replace(weight, axes=(own, inner, *weight.axes[1:]), value=None)
