"""The graph of an ONNX file as plain records: limits are checked and open axes have been given extents."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.onnx.inputs import input_shapes
from models.onnx.wire import graph_bytes
from overlapim_files import InputError, shorten

if TYPE_CHECKING:
    import onnx
    import onnx.reference

MAX_NODES = 20_000
MAX_RANK = 16
MAX_ELEMENTS = 2**40
MAX_VALUES = 2**14
"""Elements of a constant whose values are kept; only those of shapes and indices matter."""
DOMAINS = ("", "ai.onnx")
INSTALL = "pip install 'fast-overlapim[onnx]'"


@dataclass(frozen=True)
class Weight:
    """A constant of the file: its shape, and its value if that is small."""

    shape: tuple[int, ...]
    value: npt.NDArray[np.generic] | None


@dataclass(frozen=True, eq=False)
class Node:
    """One node, the `index`-th in the file. `inputs` and `outputs` name tensors, '' one that is left out."""

    index: int
    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    version: int
    proto: onnx.NodeProto

    def evaluator(self) -> onnx.reference.ReferenceEvaluator:
        """Return what computes the node from arrays, by the version of its operator."""
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        given = [helper.make_empty_tensor_value_info(x) for x in self.inputs if x]
        made = [helper.make_empty_tensor_value_info(x) for x in self.outputs if x]
        graph = helper.make_graph([self.proto], "node", given, made)
        version = helper.make_opsetid("", self.version)
        return ReferenceEvaluator(helper.make_model(graph, opset_imports=[version]))

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)


@dataclass(frozen=True)
class Graph:
    """The nodes on which the outputs depend, in an order in which they can be computed."""

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    weights: Mapping[str, Weight]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def uses(self) -> dict[str, int]:
        """Return how often each tensor is read; an output of the graph is read once more."""
        counts: dict[str, int] = {}
        for name in [x for node in self.nodes for x in node.inputs] + list(self.outputs):
            counts[name] = counts.get(name, 0) + 1
        return counts


def read_graph(path: str | Path, dims: Mapping[str, int]) -> Graph:
    """Read the graph of an ONNX file.

    Parameters
    ----------
    dims : extents of the axes that the file leaves open, by their names in the file, or `INPUT.AXIS`.

    Raises
    ------
    InputError
        if the file is no valid ONNX file, is too large, or leaves axes open that are not given.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(f"{path}: reading ONNX files needs the package onnx: {INSTALL}") from None
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(graph_bytes(Path(path)))
    except DecodeError:
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from None
    try:
        return _graph(model, dims, Path(path).stem)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _graph(model: onnx.ModelProto, dims: Mapping[str, int], stem: str) -> Graph:
    graph = model.graph
    if not graph.node:
        raise InputError("not an ONNX model, or one without nodes")
    if len(graph.node) > MAX_NODES:
        raise InputError(f"has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = next((versions[domain] for domain in DOMAINS if domain in versions), 1)
    weights = {tensor.name: _weight(tensor) for tensor in graph.initializer}
    outputs = tuple(output.name for output in graph.output)
    nodes = _needed([_node(i, node, version) for i, node in enumerate(graph.node)], outputs)
    read = {name for node in nodes for name in node.inputs} | {*outputs}
    shapes = input_shapes([x for x in graph.input if x.name not in weights], read, dims)
    inputs = {name: shape for name, shape in shapes.items() if name in read}
    for name, shape in inputs.items():
        check_shape(f"input '{shorten(name)}'", shape)
    return Graph(stem, inputs, weights, _ordered(nodes, {*inputs, *weights}), outputs)


def _node(index: int, node: onnx.NodeProto, version: int) -> Node:
    name = node.name or next((x for x in node.output if x), "") or f"node {index}"
    operator = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
    attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    return Node(index, name, operator, tuple(node.input), tuple(node.output), attributes, version, node)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    """Return the value of an attribute: a number, text, a list or a weight; None for a graph."""
    kind = attribute.AttributeType.Name(attribute.type)
    if kind == "TENSOR":
        return _weight(attribute.t)
    if kind == "STRING":
        return attribute.s.decode("utf-8", "replace")
    values = {"INT": attribute.i, "FLOAT": attribute.f}
    lists = {"INTS": attribute.ints, "FLOATS": attribute.floats}
    return list(lists[kind]) if kind in lists else values.get(kind)


def _weight(tensor: onnx.TensorProto) -> Weight:
    from onnx import numpy_helper

    shape = tuple(tensor.dims)
    check_shape(f"constant '{shorten(tensor.name)}'", shape)
    stored = tensor.data_location != tensor.EXTERNAL
    if not stored or math.prod(shape) > MAX_VALUES:
        return Weight(shape, None)
    try:
        return Weight(shape, np.asarray(numpy_helper.to_array(tensor)))
    except Exception:  # whatever the library raises for data that does not fit its type and shape
        return Weight(shape, None)


def check_shape(what: str, shape: tuple[int, ...]) -> None:
    """Check that a tensor has not too many axes or elements, and not none."""
    if len(shape) > MAX_RANK:
        raise InputError(f"{what} has {len(shape)} axes; at most {MAX_RANK} are read")
    if min(shape, default=1) < 0 or math.prod(shape) > MAX_ELEMENTS:
        shown = shorten(" x ".join(map(str, shape)))
        raise InputError(f"{what} has the shape {shown}; at most {MAX_ELEMENTS} elements are read")


# The order of the nodes


def _needed(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    """Return the nodes on which the outputs depend."""
    maker: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in maker:
                raise InputError(f"the tensor '{shorten(name)}' is made by two nodes")
            maker[name] = node
    left, needed = list(outputs), set()
    while left:
        name = left.pop()
        if name in maker and maker[name] not in needed:
            needed.add(maker[name])
            left += maker[name].inputs
    return [node for node in nodes if node in needed]


def _ordered(nodes: list[Node], given: set[str]) -> tuple[Node, ...]:
    """Return the nodes so that each stands behind those that it reads, otherwise as in the file."""
    made = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    readers: dict[int, list[int]] = {}
    missing = [0] * len(nodes)
    for i, node in enumerate(nodes):
        for name in {*node.inputs} - {""} - given:
            if name not in made:
                raise InputError(f"node '{shorten(node.name)}' reads '{shorten(name)}', which nothing makes")
            readers.setdefault(made[name], []).append(i)
            missing[i] += 1
    ready = [i for i, count in enumerate(missing) if count == 0]
    order: list[Node] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(nodes[i])
        for reader in readers.get(i, []):
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for i, node in enumerate(nodes) if missing[i])
        raise InputError(f"node '{shorten(stuck.name)}' depends on itself: the graph has a cycle")
    return tuple(order)
