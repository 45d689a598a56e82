"""A file with nodes in place of calls of functions and of operators of several layers, as they were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.onnx.load import Imported

if TYPE_CHECKING:
    import onnx


def as_read(proto: onnx.ModelProto, imported: Imported) -> onnx.ModelProto:
    """Return a model that has the nodes that were read, and of its outputs those that they make."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(proto)
    made = {name for node in imported.steps.values() for name in node.output}
    outputs = [output for output in proto.graph.output if output.name in made]
    for items in (result.graph.node, result.graph.output, result.graph.value_info):
        del items[:]
    result.graph.node.extend(imported.steps.values())
    result.graph.output.extend(outputs)
    return result


def is_replaced(proto: onnx.ModelProto, imported: Imported) -> bool:
    """Return whether some of the nodes that were read are not in the file."""
    return any(index >= len(proto.graph.node) for index in imported.steps)
