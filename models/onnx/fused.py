"""Operators into which runtimes put several: products with activations, sums with normalisations.

Those in which tensors are added are replaced by nodes, so that the sum, which a layer may make, is a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.onnx.access import Tensor
from models.onnx.build import Builder
from models.onnx.elementwise import combined, elementwise, unary
from models.onnx.graph import Node
from models.onnx.lower import Lowering, Nodes
from models.onnx.operands import Handler, Inputs, first, optional
from models.onnx.products import gemm, matmul, transposed


def added(node: Node, tensors: Sequence[Tensor | None], build: Builder) -> Tensor:
    """Return a sum of tensors, constant or not; those that are left out add nothing."""
    given = [tensor for tensor in tensors if tensor is not None]
    total = given[0]
    for other in given[1:]:
        (total,) = elementwise(replace(node, operator="Add"), [total, other], build)
    return total


def _activated(node: Node, x: Tensor, build: Builder) -> tuple[Tensor, ...]:
    return unary(node, [x], build) if node.get("activation") else (x,)


def fused_gemm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a matrix product with an activation."""
    (made,) = gemm(node, inputs, build)
    return _activated(node, made, build)


def fused_matmul(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a product of stacks of matrices that may be transposed, scaled by a constant."""
    a, b = (_as_factor(node, first(inputs, build, i), side) for i, side in enumerate("AB"))
    (made,) = matmul(node, [a, b], build)
    if node.get("alpha", 1.0) != 1.0 and not a.constant and not b.constant:
        build.count(made, 1)
    return _activated(node, made, build)


def _as_factor(node: Node, x: Tensor, side: str) -> Tensor:
    """Return a stack of matrices as it is multiplied: rows may come first in it, or be columns."""
    if node.get(f"transBatch{side}", 0) and len(x.axes) > 2:
        x = replace(x, axes=(*x.axes[1:-1], x.axes[0], x.axes[-1]), value=None)
    return transposed(x) if node.get(f"trans{side}", 0) and len(x.axes) > 1 else x


def biased(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an activation of a tensor to which a bias may be added."""
    return unary(node, [added(node, [first(inputs, build), optional(inputs, 1)], build)], build)


def passed_over(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return what an operator reads, with an operation on each element, whatever it does."""
    live = [tensor for tensor in inputs if tensor is not None and not tensor.constant]
    build.note("passed over: counted as an operation on each element, as it was asked for")
    (made,) = unary(node, [combined(build, live, adds=True) if len(live) > 1 else live[0]], build)
    return (made,) * len(node.outputs)


def fused_conv(nodes: Nodes) -> None:
    """Replace a convolution to which a tensor may be added, with an activation."""
    node, windows = nodes.node, ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    same = {name: value for name, value in node.attributes.items() if name in windows}
    given = [nodes.given(i) for i in range(3 if nodes.given(2) else 2)]
    x = nodes.add("Conv", *given, name=node.name, **same)
    x = nodes.add("Add", x, nodes.given(3)) if nodes.given(3) else x
    numbers = [float(value) for value in node.get("activation_params") or ()]
    operator = node.get("activation") or "Identity"
    if operator == "Clip":
        limits = [nodes.constant(value, np.float32) for value in numbers]
        nodes.add("Clip", x, *limits, output=node.outputs[0])
    else:
        named: dict[str, Any] = dict(zip(("alpha", "beta"), numbers, strict=False))
        nodes.add(operator, x, output=node.outputs[0], **named)


def skip_norm(nodes: Nodes) -> None:
    """Replace a sum of two tensors, perhaps with a bias, that is normalised."""
    node, simple = nodes.node, "Simplified" in nodes.node.operator
    bias = nodes.given(3 if simple else 4)
    total = node.outputs[3] if len(node.outputs) > 3 else ""
    first_two = nodes.given(0), nodes.given(1)
    if bias:
        first_two = nodes.add("Add", *first_two), bias
    x = nodes.add("Add", *first_two, output=total)
    weights = [nodes.given(2)] if simple or not nodes.given(3) else [nodes.given(2), nodes.given(3)]
    operator = "SimplifiedLayerNormalization" if simple else "LayerNormalization"
    epsilon = float(node.get("epsilon") or 1e-12)
    nodes.add(operator, x, *weights, output=node.outputs[0], axis=-1, epsilon=epsilon)


def embedding(nodes: Nodes) -> None:
    """Replace the sum of what words, places and segments are looked up to, which is normalised."""
    node = nodes.node
    _, tokens = nodes.shape(0)
    total = node.outputs[2] if len(node.outputs) > 2 else ""
    places = nodes.given(8) or nodes.constant(np.arange(tokens)[None], np.int64)
    segments = bool(nodes.given(1) and nodes.given(4))
    x = nodes.add("Gather", nodes.given(2), nodes.given(0))
    x = nodes.add("Add", x, nodes.add("Gather", nodes.given(3), places), output="" if segments else total)
    if segments:
        x = nodes.add("Add", x, nodes.add("Gather", nodes.given(4), nodes.given(1)), output=total)
    epsilon = float(node.get("epsilon") or 1e-12)
    weights = nodes.given(5), nodes.given(6)
    nodes.add("LayerNormalization", x, *weights, output=node.outputs[0], axis=-1, epsilon=epsilon)


M = "com.microsoft."
LOWERED: Mapping[str, Lowering] = {
    f"{M}FusedConv": fused_conv,
    f"{M}SkipLayerNormalization": skip_norm,
    f"{M}SkipSimplifiedLayerNormalization": skip_norm,
    f"{M}EmbedLayerNormalization": embedding,
}
HANDLERS: dict[str, Handler] = {
    f"{M}FusedGemm": fused_gemm,
    f"{M}FusedMatMul": fused_matmul,
    f"{M}TransposeMatMul": fused_matmul,
    f"{M}BiasGelu": biased,
    f"{M}FastGelu": biased,
    f"{M}Gelu": biased,
    f"{M}QuickGelu": biased,
}
