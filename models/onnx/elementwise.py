"""Operators that work element by element: post-operations, sums, and products of two activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.onnx.access import Part, Tensor, constant, contains, pruned, with_terms_of
from models.onnx.align import aligned
from models.onnx.build import Body, Builder, proposed
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first, operators
from models.onnx.residuals import with_residuals

UNARY = operators(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu "
    "HardSigmoid HardSwish IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink "
    "Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu DequantizeLinear "
    "QuantizeLinear"
)
ADDING = operators("Add Sub Sum Mean Max Min")
FACTORS = operators("Add Sub Mul Div")
"""Operators that, with a constant, can be folded into the one before or after them."""
OTHERS = operators(
    "Mul Div Pow Mod PRelu And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual Where BitwiseAnd "
    "BitwiseOr BitwiseXor BitShift"
)
CHOOSING = ("Where",)


def unary(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor with one more operation on every element."""
    x = first(inputs, build)
    build.count(x, 1)
    return (replace(x, folds=False, value=None),)


def triangle(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a matrix with zeros above or below its diagonal; it is read there all the same."""
    x = first(inputs, build)
    if not x.constant:
        build.widen("what it replaces by zeros is read, too")
    return (replace(x, folds=False, value=None),)


def elementwise(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return what an operator makes of tensors that are broadcast to one shape."""
    given = [tensor for tensor in inputs if tensor is not None]
    shape = broadcast(build, given)
    live = [tensor for tensor in given if not tensor.constant]
    if node.operator == "Where" and live and given[0].constant:
        if (side := _only_side(given)) is not None:
            return (aligned(build, [side], shape)[0] if not side.constant else constant(shape),)
        build.widen("both sides are read, whatever the condition")
    if not live:
        return (constant(shape),)
    if len(live) == 1:
        return (_with_constant(node, live[0], shape, build, len(given) > 1),)
    adds = node.operator in (*ADDING, *CHOOSING)
    return (combined(build, live, adds, shape),)


def _only_side(given: Sequence[Tensor]) -> Tensor | None:
    """Return what a condition that is the same everywhere chooses of the two others."""
    condition = given[0].value
    if condition is None or len(given) != 3 or condition.all() != condition.any():
        return None
    return given[1 if condition.all() else 2]


def broadcast(build: Builder, tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the shape to which tensors are broadcast."""
    return broadcast_shapes(build, *(t.shape for t in tensors))


def broadcast_shapes(build: Builder, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which shapes are broadcast."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        shown = " and ".join(str(list(shape)) for shape in shapes)
        raise build.wrong(f"the shapes {shown} do not fit together") from None


def _with_constant(node: Node, x: Tensor, shape: Sequence[int], build: Builder, several: bool) -> Tensor:
    """Return a tensor with a constant added to it, multiplied with it or the like."""
    foldable = node.operator in FACTORS
    if several and not (foldable and x.folds):
        build.count(x, 1)
    return replace(aligned(build, [x], shape)[0], folds=foldable, value=None)


def combined(
    build: Builder, tensors: Sequence[Tensor], adds: bool, shape: Sequence[int] | None = None
) -> Tensor:
    """Return tensors put together element by element.

    Where one reads all that the others read, it is an operation on what they read. Otherwise a sum is added
    up by the layer that makes one of its terms, or else by those that read it, and anything else is a layer
    with one product for each element.
    """
    shape = broadcast(build, tensors) if shape is None else shape
    total = aligned(build, tensors, shape)
    result = total[0]
    for other in total[1:]:
        result = _pair(build, result, other, adds)
    result = replace(result, folds=False, value=None)
    return with_residuals(build, result) if adds else result


def _pair(build: Builder, a: Tensor, b: Tensor, adds: bool) -> Tensor:
    for large, small in ((a, b), (b, a)):
        if (merged := _covered(large, small)) is not None:
            build.count(merged, 1)
            return merged
    if adds:
        return pruned(replace(a, terms=a.terms + b.terms))
    digits = [d for axis in a.axes for d in axis]
    wanted = {d: dim for t in (b, a) for d, dim in proposed(t, digits)}
    return build.layer(Body((a, b), a.axes, wanted=tuple(wanted.items())))


def _covered(large: Tensor, small: Tensor) -> Tensor | None:
    """Return the tensor that reads all that the other one does, None if it does not."""
    parts = large.parts
    inside: list[tuple[Part, Part]] = []
    for i, part in enumerate(small.parts):
        likely = parts[i : i + 1]
        found = next((own for own in (*likely, *parts) if contains(own, part)), None)
        if found is None:
            return None
        inside.append((part, found))

    def of(part: Part) -> Part:
        return next((with_terms_of(part, little) for little, found in inside if found is part), part)

    return replace(large, terms=tuple(tuple(of(part) for part in term) for term in large.terms))


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys((*ADDING, *OTHERS), elementwise),
    "Trilu": triangle,
}
