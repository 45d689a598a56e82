"""The graph of an ONNX file as plain records: limits are checked and open axes have been given extents."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.onnx.functions import DOMAINS, Functions, Step, version_of
from models.onnx.inner import outer_names
from models.onnx.inputs import input_shapes
from models.onnx.values import Weight, stored
from models.onnx.wire import graph_bytes
from overlapim_files import InputError, nearest, shorten

if TYPE_CHECKING:
    import onnx
    import onnx.reference

MAX_NODES = 20_000
MAX_RANK = 16
MAX_ELEMENTS = 2**40
BOOL = 9
INSTALL = "pip install 'fast-overlapim[onnx]'"


@dataclass(frozen=True, eq=False)
class Node:
    """One node. `inputs` and `outputs` name tensors, '' one that is left out; those that graphs inside of the
    node read are the last inputs.

    `index` is its place in the file; nodes that stand for others in it are counted on from its last one.
    """

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
    """The nodes on which the outputs depend, in an order in which they can be computed.

    `next` is the first index that no node has; `truths` names inputs and constants of truth values.
    """

    name: str
    inputs: Mapping[str, tuple[int, ...]]
    weights: Mapping[str, Weight]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    next: int
    truths: frozenset[str]

    def uses(self) -> dict[str, int]:
        """Return how often each tensor is read; an output of the graph is read once more."""
        counts: dict[str, int] = {}
        for name in [x for node in self.nodes for x in node.inputs] + list(self.outputs):
            counts[name] = counts.get(name, 0) + 1
        return counts


@dataclass(frozen=True)
class Choices:
    """What is said about a file that it does not say itself.

    Attributes
    ----------
    dims : extents of the axes that the file leaves open, by their names in the file, or `INPUT.AXIS`.
    until : the tensor with which the network ends; None for the outputs of the file.
    as_post : operators, `DOMAIN.OPERATOR`, that are passed over: post-operations of what they read.
    weights_from : inputs that are weights.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    until: str | None = None
    as_post: frozenset[str] = frozenset()
    weights_from: frozenset[str] = frozenset()


def read_graph(path: str | Path, choices: Choices, model: onnx.ModelProto | None = None) -> Graph:
    """Read the graph of an ONNX file; `model` is that with all weights, if it has been read already.

    Raises
    ------
    InputError
        if the file is no valid ONNX file, is too large, leaves axes open that are not given, or has no
        tensors and inputs of the names that are given.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(f"{path}: reading ONNX files needs the package onnx: {INSTALL}") from None
    from google.protobuf.message import DecodeError

    try:
        model = model or onnx.ModelProto.FromString(graph_bytes(Path(path)))
    except DecodeError:
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from None
    try:
        return _graph(model, choices, Path(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: a name in it is no text, so that the file is damaged") from None


def _graph(model: onnx.ModelProto, choices: Choices, path: Path) -> Graph:
    graph = model.graph
    if not graph.node:
        raise InputError("not an ONNX model, or one without nodes")
    if len(graph.node) > MAX_NODES:
        raise InputError(f"has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    version = version_of(model.opset_import)
    weights = {tensor.name: _weight(tensor, path.parent) for tensor in graph.initializer}
    others = itertools.count(len(graph.node))
    steps = Functions(model, MAX_NODES).inlined(graph.node, version)
    read_steps = [read_node(next(others) if x.place is None else x.place, x, path.parent) for x in steps]
    outputs = _ends(read_steps, graph, choices.until)
    nodes = _needed(read_steps, outputs)
    read = {name for node in nodes for name in node.inputs} | {*outputs}
    shapes = input_shapes([x for x in graph.input if x.name not in weights], read, choices.dims)
    inputs = {name: shape for name, shape in shapes.items() if name in read}
    for name, shape in inputs.items():
        check_shape(f"input '{shorten(name)}'", shape)
    _check_names("--weights-from", choices.weights_from, inputs, "input")
    ordered = _ordered(nodes, {*inputs, *weights})
    kinds = [(x.name, x.type.tensor_type.elem_type) for x in graph.input]
    kinds += [(x.name, x.data_type) for x in graph.initializer]
    truths = frozenset(name for name, kind in kinds if kind == BOOL)
    return Graph(path.stem, inputs, weights, ordered, outputs, next(others), truths)


def _ends(nodes: Iterable[Node], graph: onnx.GraphProto, until: str | None) -> tuple[str, ...]:
    """Return the tensors with which the network ends."""
    if until is None:
        return tuple(output.name for output in graph.output)
    made = dict.fromkeys(name for node in nodes for name in node.outputs if name)
    _check_names("--until", [until], made, "tensor that a node makes")
    return (until,)


def _check_names(option: str, given: Iterable[str], known: Iterable[str], what: str) -> None:
    names = [*known]
    for name in given:
        if name not in names:
            raise InputError(
                f"{option} {shorten(name)}: there is no {what} of this name{nearest(name, names)}"
            )


def read_node(index: int, step: Step, folder: Path | None = None) -> Node:
    """Return the record of a node; constants in other files are read from `folder` only."""
    node = step.proto
    name = node.name or next((x for x in node.output if x), "") or f"node {index}"
    operator = _text(node.op_type)
    operator = operator if node.domain in DOMAINS else f"{_text(node.domain)}.{operator}"
    attributes = {attribute.name: _attribute(attribute, folder) for attribute in node.attribute}
    inputs = (*node.input, *outer_names(node))
    return Node(index, name, operator, inputs, tuple(node.output), attributes, step.version, node)


def _text(text: str | bytes) -> str:
    """Return text; the library gives bytes where they are none."""
    return text if isinstance(text, str) else text.decode("utf-8", "replace")


def _attribute(attribute: onnx.AttributeProto, folder: Path | None) -> Any:
    """Return the value of an attribute: a number, text, a list or a weight; None for a graph."""
    kind = attribute.AttributeType.Name(attribute.type)
    if kind == "TENSOR":
        return _weight(attribute.t, folder)
    if kind == "STRING":
        return attribute.s.decode("utf-8", "replace")
    values = {"INT": attribute.i, "FLOAT": attribute.f}
    lists = {"INTS": attribute.ints, "FLOATS": attribute.floats}
    return list(lists[kind]) if kind in lists else values.get(kind)


def _weight(tensor: onnx.TensorProto, folder: Path | None) -> Weight:
    check_shape(f"constant '{shorten(tensor.name)}'", tuple(tensor.dims))
    return stored(tensor, folder)


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
