"""Operators into which runtimes put several: products with activations, sums with normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.onnx.access import Tensor
from models.onnx.build import Builder
from models.onnx.elementwise import combined, elementwise, unary
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, first, optional
from models.onnx.products import gemm, matmul, transposed
from models.onnx.rows import layer_norm
from models.onnx.volumes import convolution


def added(node: Node, tensors: Sequence[Tensor | None], build: Builder) -> Tensor:
    """Return a sum of tensors, constant or not; those that are left out add nothing."""
    given = [tensor for tensor in tensors if tensor is not None]
    total = given[0]
    for other in given[1:]:
        (total,) = elementwise(replace(node, operator="Add"), [total, other], build)
    return total


def _activated(node: Node, x: Tensor, build: Builder) -> tuple[Tensor, ...]:
    return unary(node, [x], build) if node.get("activation") else (x,)


def fused_conv(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a convolution, perhaps with another tensor added and an activation."""
    (made,) = convolution(node, inputs[:3], build)
    return _activated(node, added(node, [made, optional(inputs, 3)], build), build)


def fused_gemm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a matrix product with an activation."""
    (made,) = gemm(node, inputs, build)
    return _activated(node, made, build)


def fused_matmul(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a product of stacks of matrices that may be transposed, scaled by a constant."""
    if node.get("transBatchA", 0) or node.get("transBatchB", 0):
        raise build.wrong("transposed stacks are not known")
    a, b = first(inputs, build), first(inputs, build, 1)
    a = transposed(a) if node.get("transA", 0) and len(a.axes) > 1 else a
    b = transposed(b) if node.get("transB", 0) and len(b.axes) > 1 else b
    (made,) = matmul(node, [a, b], build)
    if node.get("alpha", 1.0) != 1.0 and not a.constant and not b.constant:
        build.count(made, 1)
    return _activated(node, made, build)


def biased(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an activation of a tensor to which a bias may be added."""
    return unary(node, [added(node, [first(inputs, build), optional(inputs, 1)], build)], build)


def skip_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a sum of two tensors, perhaps with a bias, that is normalised; the sum is the last output."""
    bias = 3 if "Simplified" in node.operator else 4
    total = added(node, [first(inputs, build), first(inputs, build, 1), optional(inputs, bias)], build)
    (made,) = layer_norm(node, [total], build)
    return made, made, made, total


def passed_over(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return what an operator reads, with an operation on each element, whatever it does."""
    live = [tensor for tensor in inputs if tensor is not None and not tensor.constant]
    build.note("passed over: counted as an operation on each element, as it was asked for")
    (made,) = unary(node, [combined(build, live, adds=True) if len(live) > 1 else live[0]], build)
    return (made,) * len(node.outputs)


M = "com.microsoft."
HANDLERS: dict[str, Handler] = {
    f"{M}FusedConv": fused_conv,
    f"{M}FusedGemm": fused_gemm,
    f"{M}FusedMatMul": fused_matmul,
    f"{M}TransposeMatMul": fused_matmul,
    f"{M}BiasGelu": biased,
    f"{M}FastGelu": biased,
    f"{M}Gelu": biased,
    f"{M}QuickGelu": biased,
    f"{M}SkipLayerNormalization": skip_norm,
    f"{M}SkipSimplifiedLayerNormalization": skip_norm,
}
