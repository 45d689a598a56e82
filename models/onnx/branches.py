"""Conditions that are constant: the branch that one chooses stands in its place."""

from __future__ import annotations

from collections.abc import Mapping

from models.onnx.inner import own_names, rename
from models.onnx.lower import Lowering, Nodes

UNKNOWN = "loops and conditions are not imported, unless a condition is constant"


def chosen(nodes: Nodes) -> None:
    """Replace a node If, whose condition is known, by the nodes of one of its branches."""
    node, condition = nodes.node, nodes.values[0] if nodes.values else None
    if condition is None or condition.size != 1:
        raise nodes.build.wrong(UNKNOWN)
    wanted = "then_branch" if condition.all() else "else_branch"
    branches = [a.g for a in node.proto.attribute if a.name == wanted and a.type == a.GRAPH]
    if len(branches) != 1 or len(branches[0].output) != len(node.outputs) or branches[0].input:
        raise nodes.build.wrong("its branches do not fit it")
    (graph,) = branches
    place, own = node.name or node.outputs[0], own_names(graph)
    for tensor in graph.initializer:
        nodes.add("Constant", output=f"{place}/{tensor.name}", value=tensor)
    for inner in graph.node:
        copy = type(inner)()
        copy.CopyFrom(inner)
        copy.name = f"{place}/{inner.name or inner.op_type}"
        rename(copy, lambda name: f"{place}/{name}" if name in own else name)
        nodes.made.append(copy)
    for result, output in zip(graph.output, node.outputs, strict=True):
        name = f"{place}/{result.name}" if result.name in own else result.name
        nodes.add("Identity", name, output=output)


LOWERED: Mapping[str, Lowering] = {"If": chosen}
