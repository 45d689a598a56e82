"""ONNX graphs for tests: those in the onnx package, and what they cost by their shapes."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import numpy_helper, shape_inference

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = tuple(sorted(path.stem.removeprefix("light_") for path in LIGHT.glob("*.onnx")))


def light(name: str) -> onnx.ModelProto:
    """Return one of the graphs that come with the onnx package."""
    return onnx.load(LIGHT / f"light_{name}.onnx")


def with_open_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Open the first axis of the input; shapes that say 1 image say as many as there are instead."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0 if shape[0] == 1 else shape[0]
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    return model


def products(model: onnx.ModelProto) -> list[int]:
    """Return the multiply-accumulates of each convolution and product, by the shapes that onnx infers."""
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes = {x.name: [dim.dim_value for dim in x.type.tensor_type.shape.dim] for x in values}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    counts = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight = shapes[node.input[1]]
            counts.append(math.prod(shapes[node.output[0]]) * math.prod(weight[1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            inner = shapes[node.input[0]][-2 if transposed else -1]
            counts.append(math.prod(shapes[node.output[0]]) * inner)
    return counts
