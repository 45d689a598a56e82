"""Networks as frameworks export them, with the operators of torchvision and transformers, without weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
Dim = int | str


class Net:
    """A graph that grows. A weight is a node that fills a shape, so files stay small."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def input(self, *shape: Dim, name: str = "input", kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{operator.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"/{names[0]}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, *values: float | int, scalar: bool = False) -> str:
        kind = np.int64 if all(isinstance(value, int) for value in values) else np.float32
        name = f"constant_{len(self.constants)}"
        value = np.array(values[0] if scalar else values, kind)
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape: int) -> str:
        return str(self.add("ConstantOfShape", self.constant(*shape)))

    def model(self, output: str) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, results, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])

    # Convolutions

    def conv(self, x: str, read: int, made: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        weight = self.weight(made, read // groups, kernel, kernel)
        pads, strides = [(kernel - 1) // 2] * 4, [stride] * 2
        y = self.add("Conv", x, weight, pads=pads, strides=strides, group=groups, kernel_shape=[kernel] * 2)
        return str(self.add("BatchNormalization", y, *(self.weight(made) for _ in range(4))))

    def dense(self, x: str, read: int, made: int) -> str:
        return str(self.add("Gemm", x, self.weight(made, read), self.weight(made), transB=1))

    def pooled_vector(self, x: str) -> str:
        return str(self.add("Flatten", self.add("GlobalAveragePool", x), axis=1))

    # Transformers

    def linear(self, x: str, read: int, made: int) -> str:
        return str(self.add("Add", self.weight(made), self.add("MatMul", x, self.weight(read, made))))

    def layer_norm(self, x: str, width: int) -> str:
        """Layer norm written out, as it is exported for older operator sets."""
        centred = self.add("Sub", x, self.add("ReduceMean", x, axes=[-1]))
        square = self.add("Pow", centred, self.constant(2.0, scalar=True))
        variance = self.add("ReduceMean", square, axes=[-1])
        deviation = self.add("Sqrt", self.add("Add", variance, self.constant(1e-5, scalar=True)))
        scaled = self.add("Mul", self.add("Div", centred, deviation), self.weight(width))
        return str(self.add("Add", scaled, self.weight(width)))

    def gelu(self, x: str) -> str:
        error = self.add("Erf", self.add("Div", x, self.constant(1.414, scalar=True)))
        gate = self.add("Add", error, self.constant(1.0, scalar=True))
        return str(self.add("Mul", self.add("Mul", x, gate), self.constant(0.5, scalar=True)))

    def size(self, x: str, axis: int) -> str:
        """The extent of an axis as a vector of one, computed from the shape when the network runs."""
        extent = self.add("Gather", self.add("Shape", x), self.constant(axis, scalar=True), axis=0)
        return str(self.add("Unsqueeze", extent, self.constant(0)))

    def heads(self, x: str, width: int, heads: int) -> str:
        """From (batch, sequence, width) to (batch, heads, sequence, width of a head)."""
        sizes = [self.size(x, 0), self.size(x, 1), self.constant(heads), self.constant(width // heads)]
        shaped = self.add("Reshape", x, self.add("Concat", *sizes, axis=0))
        return str(self.add("Transpose", shaped, perm=[0, 2, 1, 3]))

    def attention(self, x: str, memory: str, width: int, heads: int, mask: str = "") -> str:
        q, k, v = (self.heads(self.linear(y, width, width), width, heads) for y in (x, memory, memory))
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.add("Div", scores, self.constant(8.0, scalar=True))
        if mask:
            scores = self.add("Add", scores, mask)
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        back = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        sizes = [self.size(x, 0), self.size(x, 1), self.constant(width)]
        return self.linear(self.add("Reshape", back, self.add("Concat", *sizes, axis=0)), width, width)

    def feed_forward(self, x: str, width: int) -> str:
        return self.linear(self.gelu(self.linear(x, width, 4 * width)), 4 * width, width)


def resnet18(batch: Dim = "batch", size: int = 224) -> onnx.ModelProto:
    """ResNet-18 with batch norm and rectifiers as nodes of their own."""
    net = Net("resnet18")
    x = net.add("Relu", net.conv(net.input(batch, 3, size, size), 3, 64, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    read = 64
    for made in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if made > read and block == 0 else 1
            y = net.add("Relu", net.conv(x, read, made, 3, stride))
            y = net.conv(y, made, made, 3)
            short = x if read == made else net.conv(x, read, made, 1, stride)
            x, read = net.add("Relu", net.add("Add", y, short)), made
    return net.model(net.dense(net.pooled_vector(x), 512, 1000))


MOBILENET = (
    (3, 16, 16, True, "Relu", 2),
    (3, 72, 24, False, "Relu", 2),
    (3, 88, 24, False, "Relu", 1),
    (5, 96, 40, True, "HardSwish", 2),
    (5, 240, 40, True, "HardSwish", 1),
    (5, 240, 40, True, "HardSwish", 1),
    (5, 120, 48, True, "HardSwish", 1),
    (5, 144, 48, True, "HardSwish", 1),
    (5, 288, 96, True, "HardSwish", 2),
    (5, 576, 96, True, "HardSwish", 1),
    (5, 576, 96, True, "HardSwish", 1),
)
"""Kernel, channels inside and out, gate, activation and stride of the blocks of MobileNetV3-Small."""


def mobilenetv3(batch: Dim = "batch", size: int = 224) -> onnx.ModelProto:
    """MobileNetV3-Small; its hard swish partly written out as older operator sets need it."""
    net = Net("mobilenetv3")

    def activation(x: str, kind: str) -> str:
        if kind == "Relu" or len(net.nodes) % 2:
            return str(net.add(kind, x))
        clipped = net.add("Clip", net.add("Add", x, net.constant(3.0, scalar=True)), *limits)
        return str(net.add("Div", net.add("Mul", x, clipped), net.constant(6.0, scalar=True)))

    limits = net.constant(0.0, scalar=True), net.constant(6.0, scalar=True)
    x = activation(net.conv(net.input(batch, 3, size, size), 3, 16, 3, 2), "HardSwish")
    read = 16
    for kernel, inside, made, gated, kind, stride in MOBILENET:
        y = x if inside == read else activation(net.conv(x, read, inside, 1), kind)
        y = activation(net.conv(y, inside, inside, kernel, stride, groups=inside), kind)
        if gated:
            squeezed = net.conv(net.add("GlobalAveragePool", y), inside, inside // 4, 1)
            gate = net.add("HardSigmoid", net.conv(net.add("Relu", squeezed), inside // 4, inside, 1))
            y = net.add("Mul", gate, y)
        y = net.conv(y, inside, made, 1)
        x = net.add("Add", x, y) if read == made and stride == 1 else y
        read = made
    x = activation(net.conv(x, read, 576, 1), "HardSwish")
    return net.model(
        net.dense(activation(net.dense(net.pooled_vector(x), 576, 1024), "HardSwish"), 1024, 1000)
    )


def vit(
    batch: Dim = "batch", size: int = 32, patch: int = 8, width: int = 64, heads: int = 4, depth: int = 2
) -> onnx.ModelProto:
    """A vision transformer: patches by a convolution, a class token in front, heads from one product."""
    net = Net("vit")
    image, tokens = net.input(batch, 3, size, size), (size // patch) ** 2
    x = net.add("Conv", image, net.weight(width, 3, patch, patch), strides=[patch] * 2)
    flat = net.add("Concat", net.size(x, 0), net.constant(width), net.constant(-1), axis=0)
    x = net.add("Transpose", net.add("Reshape", x, flat), perm=[0, 2, 1])
    shape = net.add("Concat", net.size(image, 0), net.constant(-1), net.constant(-1), axis=0)
    ones = net.add("ConstantOfShape", net.constant(3), value=numpy_helper.from_array(np.ones(1, np.int64)))
    kept = net.add("Equal", shape, net.add("Mul", ones, net.constant(-1, scalar=True)))
    token = net.add("Expand", net.weight(1, 1, width), net.add("Where", kept, ones, shape))
    x = net.add("Add", net.add("Concat", token, x, axis=1), net.weight(1, tokens + 1, width))
    for _ in range(depth):
        y = net.layer_norm(x, width)
        qkv = net.linear(y, width, 3 * width)
        sizes = [net.size(y, 0), net.size(y, 1), *(net.constant(i) for i in (3, heads, width // heads))]
        qkv = net.add("Reshape", qkv, net.add("Concat", *sizes, axis=0))
        qkv = net.add("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.add("Gather", qkv, net.constant(i, scalar=True), axis=0) for i in range(3))
        scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 1, 3, 2]))
        weights = net.add("Softmax", net.add("Mul", scores, net.constant(0.25, scalar=True)), axis=-1)
        mixed = net.add("Transpose", net.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        joined = net.add("Reshape", mixed, net.constant(0, -1, width))
        x = net.add("Add", x, net.linear(joined, width, width))
        x = net.add("Add", x, net.feed_forward(net.layer_norm(x, width), width))
    first = net.add("Gather", net.layer_norm(x, width), net.constant(0, scalar=True), axis=1)
    return net.model(net.dense(first, width, 10))


def transformer(
    batch: Dim = "batch", tokens: Dim = "tokens", width: int = 32, heads: int = 4
) -> onnx.ModelProto:
    """An encoder and a decoder layer over token numbers, the decoder's attention masked."""
    net = Net("transformer")
    table = net.weight(100, width)
    source = net.input(batch, tokens, name="source", kind=TensorProto.INT64)
    target = net.input(batch, tokens, name="target", kind=TensorProto.INT64)
    memory, x = (net.add("Gather", table, ids, axis=0) for ids in (source, target))
    memory = net.layer_norm(net.add("Add", memory, net.attention(memory, memory, width, heads)), width)
    memory = net.layer_norm(net.add("Add", memory, net.feed_forward(memory, width)), width)
    length = net.size(x, 1)
    square = net.add("Concat", length, length, axis=0)
    mask = net.add("Trilu", net.add("ConstantOfShape", square), net.constant(1, scalar=True), upper=1)
    x = net.layer_norm(net.add("Add", x, net.attention(x, x, width, heads, mask)), width)
    x = net.layer_norm(net.add("Add", x, net.attention(x, memory, width, heads)), width)
    x = net.layer_norm(net.add("Add", x, net.feed_forward(x, width)), width)
    return net.model(net.linear(x, width, 100))
