"""Operators on quantised numbers: products of integers, and quantisers as operations on each element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from models.onnx.access import Tensor, constant
from models.onnx.build import Builder
from models.onnx.elementwise import elementwise, unary
from models.onnx.graph import Node
from models.onnx.lower import FLOAT, Lowering, Nodes
from models.onnx.operands import Handler, Inputs, first, operators, optional
from models.onnx.products import gemm, matmul
from models.onnx.rows import softmax
from models.onnx.sliding import global_pool, pool
from models.onnx.spans import over
from models.onnx.views import concat
from models.onnx.volumes import convolution

QUANTISERS = operators(
    "com.microsoft.QuantizeLinear com.microsoft.DequantizeLinear com.microsoft.QLinearSigmoid "
    "com.microsoft.QLinearLeakyRelu "
    "qonnx.custom_op.general.Quant qonnx.custom_op.general.IntQuant qonnx.custom_op.general.FloatQuant "
    "qonnx.custom_op.general.BipolarQuant qonnx.custom_op.general.Trunc onnx.brevitas.Quant "
    "onnx.brevitas.BipolarQuant onnx.brevitas.Trunc finn.custom_op.general.MultiThreshold"
)
"""Operators on each element, with constants."""


def of_inputs(handler: Handler, *places: int, scaled: bool = False) -> Handler:
    """Return a handler that gives another one some of the inputs; the others are scales and zero points.

    `scaled` counts the operation that brings results back to few bits.
    """

    def handle(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
        (made,) = handler(node, [optional(inputs, place) for place in places], build)
        if scaled:
            build.count(made, 1)
        return (replace(made, folds=False, value=None),)

    return handle


def renamed_to(operator: str, handler: Handler) -> Handler:
    """Return a handler that treats a node as one of another operator."""
    return lambda node, inputs, build: handler(replace(node, operator=operator), inputs, build)


def dynamically_quantised(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return numbers quantised by their own range: each depends on all of them.

    Scale and zero point do, too, but who uses them multiplies them with what is made of these numbers, and so
    has waited for all of them.
    """
    x = first(inputs, build)
    build.count(x, 2)
    whole = over(build, x, tuple(d for digits in x.axes for d in digits))
    return whole, constant(()), constant(())


def packed_product(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a product with weights of a few bits, packed in blocks."""
    shape = int(node.get("K", 0)), int(node.get("N", 0))
    if min(shape) < 1 or not first(inputs, build, 1).constant:
        raise build.wrong("K and N of constant weights are needed")
    return matmul(node, [first(inputs, build), constant(shape)], build)


def joined_quantised(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return quantised tensors one after the other, each brought to the same scale."""
    parts = [first(inputs, build, place) for place in range(2, len(inputs), 3)]
    for part in parts:
        build.count(part, 1)
    return concat(node, parts, build)


def dynamic_product(nodes: Nodes) -> None:
    """Replace a product of constant weights with activations that are quantised by their own range."""
    node = nodes.node
    whole, scale, zero = nodes.several("DynamicQuantizeLinear", 3, nodes.given(0))
    zeros = [zero, nodes.given(3)] if nodes.given(3) else [zero]
    made = nodes.add("MatMulInteger", whole, nodes.given(1), *zeros, name=node.name)
    both = nodes.add("Mul", scale, nodes.given(2))
    bias = nodes.given(4)
    result = nodes.add("Mul", nodes.add("Cast", made, to=FLOAT), both, output="" if bias else node.outputs[0])
    if bias:
        nodes.add("Add", result, bias, output=node.outputs[0])


M = "com.microsoft."
DYNAMIC = "DynamicQuantizeLinear"
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(QUANTISERS, of_inputs(unary, 0)),
    DYNAMIC: dynamically_quantised,
    "QLinearConv": of_inputs(convolution, 0, 3, 8, scaled=True),
    f"{M}QLinearConv": of_inputs(convolution, 0, 3, 8, scaled=True),
    "ConvInteger": of_inputs(convolution, 0, 1),
    "QLinearMatMul": of_inputs(matmul, 0, 3, scaled=True),
    "MatMulInteger": of_inputs(matmul, 0, 1),
    f"{M}MatMulInteger16": of_inputs(matmul, 0, 1),
    f"{M}MatMulIntegerToFloat": of_inputs(matmul, 0, 1, scaled=True),
    f"{M}MatMulNBits": packed_product,
    f"{M}QGemm": of_inputs(gemm, 0, 3, 6, scaled=True),
    f"{M}QLinearAdd": of_inputs(renamed_to("Add", elementwise), 0, 3, scaled=True),
    f"{M}QLinearMul": of_inputs(renamed_to("Mul", elementwise), 0, 3, scaled=True),
    f"{M}QLinearSoftmax": of_inputs(softmax, 0, scaled=True),
    f"{M}QLinearAveragePool": of_inputs(pool, 0, scaled=True),
    f"{M}QLinearGlobalAveragePool": of_inputs(global_pool, 0, scaled=True),
    f"{M}QLinearConcat": joined_quantised,
}
LOWERED: Mapping[str, Lowering] = {f"{M}DynamicQuantizeMatMul": dynamic_product}
