"""Functions that a file defines: every call of one is replaced by the nodes of its body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.onnx.inner import rename
from overlapim_files import InputError, shorten

if TYPE_CHECKING:
    import onnx

MAX_DEPTH = 32
DOMAINS = ("", "ai.onnx")


def version_of(sets: Iterable[onnx.OperatorSetIdProto], default: int = 1) -> int:
    """Return the version of ONNX's own operators among sets of operators."""
    versions = {entry.domain: entry.version for entry in sets}
    return next((versions[domain] for domain in DOMAINS if domain in versions), default)


@dataclass(frozen=True)
class Step:
    """A node as it is to be read, the version of the operators there, and its place if it is in the graph."""

    proto: onnx.NodeProto
    version: int
    place: int | None = None


class Functions:
    """The functions of a file."""

    def __init__(self, model: onnx.ModelProto, limit: int) -> None:
        """Read the functions; no more than `limit` nodes are made of all calls together."""
        self._of = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._left = limit

    def inlined(self, nodes: Iterable[onnx.NodeProto], version: int) -> list[Step]:
        """Return the nodes of a graph with each call of a function replaced by its body.

        Raises
        ------
        InputError
            if functions call each other without end, or become too many nodes.
        """
        return [x for i, node in enumerate(nodes) for x in self._steps(Step(node, version, i), 0)]

    def _steps(self, step: Step, depth: int) -> list[Step]:
        node = step.proto
        function = self._of.get((node.domain, node.op_type, node.overload))
        if function is None:
            return [step]
        self._left -= len(function.node)
        if depth == MAX_DEPTH or self._left < 0:
            text = "the functions of the file call each other too deeply, or become too many nodes"
            raise InputError(f"node '{shorten(node.name)}' ({shorten(node.op_type)}): {text}")
        version = version_of(function.opset_import, step.version)
        return [x for inner in _body(node, function) for x in self._steps(Step(inner, version), depth + 1)]


def _body(call: onnx.NodeProto, function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """Return the nodes of a function with the tensors and attributes of a call."""
    place = call.name or next((x for x in call.output if x), "") or call.op_type
    names = {"": ""}
    names |= dict.fromkeys(function.input, "") | dict(zip(function.input, call.input, strict=False))
    names |= {inner: outer for inner, outer in zip(function.output, call.output, strict=False) if outer}
    given = {a.name: a for a in function.attribute_proto} | {a.name: a for a in call.attribute}
    nodes = []
    for i, inner in enumerate(function.node):
        node = type(inner)()
        node.CopyFrom(inner)
        node.name = f"{place}/{inner.name or f'{inner.op_type}.{i}'}"
        rename(node, lambda x: names.get(x, f"{place}/{x}"))
        _fill(node, given)
        nodes.append(node)
    return nodes


def _fill(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Put the attributes of a call in place of references to them; those that are not given are left out."""
    attributes = []
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            attributes.append(attribute)
        elif (value := given.get(attribute.ref_attr_name)) is not None:
            copy = type(value)()
            copy.CopyFrom(value)
            copy.name = attribute.name
            attributes.append(copy)
    copies = [type(a).FromString(a.SerializeToString()) for a in attributes]
    del node.attribute[:]
    node.attribute.extend(copies)
