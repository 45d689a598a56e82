"""Matrix products: of activations with weights, and of activations with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.layer import Dim
from models.onnx.access import Digit, Digits, Tensor
from models.onnx.align import aligned
from models.onnx.build import Body, Builder
from models.onnx.elementwise import broadcast_shapes, combined
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first, optional


def gemm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a matrix product with a bias; its factors are constants that belong to the weights."""
    a, b, bias = first(inputs, build), first(inputs, build, 1), optional(inputs, 2)
    if len(a.axes) != 2 or len(b.axes) != 2:
        raise build.wrong("two matrices are needed")
    a = transposed(a) if node.get("transA", 0) else a
    b = transposed(b) if node.get("transB", 0) else b
    made = product(build, a, b, bias=bias is not None and bias.constant)
    if bias is not None and not bias.constant:
        return (combined(build, [made, bias], adds=True),)
    return (made,)


def matmul(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the product of stacks of matrices, or of vectors."""
    a, b = first(inputs, build), first(inputs, build, 1)
    if not a.axes or not b.axes:
        raise build.wrong("a factor has no axes")
    rows, columns = len(a.axes) > 1, len(b.axes) > 1
    a = a if rows else replace(a, axes=((), *a.axes), value=None)
    b = b if columns else replace(b, axes=(*b.axes, ()), value=None)
    made = product(build, a, b, bias=False)
    axes = made.axes
    axes = axes if columns else axes[:-1]
    axes = axes if rows else (*axes[: len(made.axes) - 2], *axes[len(made.axes) - 1 :])
    return (replace(made, axes=axes),)


def transposed(tensor: Tensor) -> Tensor:
    """Return a stack of matrices, each transposed."""
    return replace(tensor, axes=(*tensor.axes[:-2], tensor.axes[-1], tensor.axes[-2]), value=None)


def product(build: Builder, a: Tensor, b: Tensor, bias: bool) -> Tensor:
    """Return the layer that multiplies `(.., M, C)` with `(.., C, K)`."""
    if a.shape[-1] != b.shape[-2]:
        raise build.wrong(f"the extents {a.shape[-1]} and {b.shape[-2]} must be the same")
    m, k, c = a.shape[-2], b.shape[-1], a.shape[-1]
    stack = broadcast_shapes(build, a.shape[:-2], b.shape[:-2])
    rows = replace(a, axes=(*a.axes[:-1], (), a.axes[-1]), value=None)
    columns = replace(b, axes=(*b.axes[:-2], (), b.axes[-1], b.axes[-2]), value=None)
    left, right = aligned(build, [_few(build, rows), _few(build, columns)], (*stack, m, k, c))
    outputs, summed = left.axes[:-1], left.axes[-1]
    live = tuple(t for t in (left, right) if not t.constant)
    weighted: Digits = ()
    if len(live) == 1:
        factor = rows if left.constant else columns
        sizes = (1,) * (len(outputs) - len(factor.shape) + 1) + factor.shape[:-1]
        own = zip(outputs, sizes, strict=True)
        weighted = tuple(digit for digits, size in own if size > 1 for digit in digits)
    body = Body(live or (left,), outputs, summed, weighted, _wanted(outputs, summed))
    return replace(build.layer(body, post=int(bias)), folds=bias)


def _few(build: Builder, tensor: Tensor) -> Tensor:
    """Join the digits of the summed axis if a layer has not as many loops for them."""
    return build.single(tensor, len(tensor.axes) - 1) if len(tensor.axes[-1]) > 3 else tensor


def _wanted(outputs: Sequence[Digits], summed: Digits) -> tuple[tuple[Digit, Dim], ...]:
    """Propose dims: a matrix has its rows in the batch; in a stack the last axis is that of the heads."""
    *stack, rows, columns = outputs
    named: list[tuple[Digit, Dim]] = [(d, "K") for d in columns[:1]] + [(d, "C") for d in summed[:1]]
    named += [(d, "P" if stack else "N") for d in rows[:1]]
    if stack:
        named += [(d, "N") for d in stack[0][:1]] + [(d, "G") for d in stack[-1][:1] if len(stack) > 1]
    return tuple(named)


HANDLERS: dict[str, Handler] = {"Gemm": gemm, "MatMul": matmul}
