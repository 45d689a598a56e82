"""Graphs inside of nodes: which tensors they read from outside, and other names for these."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def inside(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs inside of a node."""
    return [a.g for a in node.attribute if a.type == a.GRAPH]


def own_names(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that a graph has itself, not those of graphs inside of it."""
    made = {name for node in graph.node for name in node.output}
    return made | {x.name for x in graph.initializer} | {x.name for x in graph.input}


def outer_names(node: onnx.NodeProto) -> list[str]:
    """Return the tensors that the graphs inside of a node read from outside, each once."""
    found: dict[str, None] = {}
    for graph in inside(node):
        read = [name for x in graph.node for name in (*x.input, *outer_names(x))]
        read += [output.name for output in graph.output]
        own = own_names(graph)
        found |= dict.fromkeys(name for name in read if name and name not in own)
    return list(found)


def rename(node: onnx.NodeProto, name_of: Callable[[str], str]) -> None:
    """Give the tensors of a node, and those that graphs inside of it read from outside, other names."""
    for side in (node.input, node.output):
        side[:] = [name_of(name) if name else "" for name in side]
    for graph in inside(node):
        own = own_names(graph)
        for x in graph.node:
            rename(x, lambda name: name if name in own else name_of(name))  # noqa: B023
        for output in graph.output:
            output.name = output.name if output.name in own else name_of(output.name)
