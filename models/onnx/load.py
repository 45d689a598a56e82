"""From an ONNX file to a network: the nodes in their order, each handled by its operator's function."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from models.network import FORMAT, Network
from models.onnx import elementwise, products, resizing, rows, sliding, transposed, views
from models.onnx.access import Tensor, constant
from models.onnx.build import Builder, Note
from models.onnx.graph import MAX_VALUES, Graph, Node, check_shape, read_graph
from models.onnx.operands import Handler, operators
from models.onnx.origin import Placed, nodes_between, placed
from overlapim_files import InputError, shorten

HANDLERS: dict[str, Handler] = {
    **views.HANDLERS,
    **resizing.HANDLERS,
    **sliding.HANDLERS,
    **transposed.HANDLERS,
    **products.HANDLERS,
    **elementwise.HANDLERS,
    **rows.HANDLERS,
}
"""What to do with each operator."""

REFUSED = operators("If Loop Scan SequenceMap RNN LSTM GRU")
FOLDED = operators(
    "Add Sub Mul Div Mod Pow Neg Abs Floor Ceil Sqrt Min Max Cast Concat Gather Slice Squeeze Unsqueeze "
    "Reshape Transpose Expand ConstantOfShape Equal Greater Less Where Not And Or ReduceProd ReduceSum "
    "ReduceMax ReduceMin Identity Split Tile Round Sign Flatten"
)
"""Operators by which shapes and indices are computed from constants."""


@dataclass(frozen=True)
class Imported:
    """A network, and how it came out of its file.

    `notes` says what could not be taken over as it stands. The rest is for those who run the operators:
    `placed` gives for each layer and input of the network the ONNX tensor that it is; `nodes` for each layer,
    as positions in the file, the nodes that make its tensor out of the placed tensors before it (poolings,
    views and activations on the way in, the operator itself last); `constants` the values of small tensors on
    which these nodes depend and that no longer have to be computed. Layers that are no tensor of the file are
    missing.
    """

    network: Network
    notes: tuple[Note, ...]
    placed: Mapping[str, Placed]
    nodes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, npt.NDArray[np.generic]]

    def exactly(self) -> Network:
        """Return the network.

        Raises
        ------
        InputError
            if anything in it reads more than the operators of the file do.
        """
        for note in self.notes:
            if note.widened:
                raise InputError(f"node '{shorten(note.node)}' ({note.operator}): {note.text}")
        return self.network


def import_onnx(path: str | Path, dims: Mapping[str, int] | None = None) -> Imported:
    """Read a network from an ONNX file; the data of large weights is never read.

    Parameters
    ----------
    dims : extents of the axes that the file leaves open, by name.

    Raises
    ------
    InputError
        if the file cannot be read, leaves other axes open, or has an operator that is not known.
    """
    graph = read_graph(path, dims or {})
    try:
        _check_operators(graph.nodes)
        return _imported(graph)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValidationError as error:
        text = str(error.errors(include_url=False)[0]["msg"])
        raise InputError(f"{path}: {shorten(text, 400)}") from None


def _check_operators(nodes: Iterable[Node]) -> None:
    """Check that every operator is known; the message names the first node and all operators that are not."""
    unknown = [node for node in nodes if node.operator not in HANDLERS]
    if not unknown:
        return
    operator = unknown[0].operator
    text = "the operator is not known"
    if operator in REFUSED:
        text = "loops, conditions and recurrent operators are not imported"
    elif close := difflib.get_close_matches(operator, HANDLERS, n=1, cutoff=0.8):
        text += f"; did you mean {close[0]}?"
    if others := dict.fromkeys(node.operator for node in unknown if node.operator != operator):
        text += f" (nor are {shorten(', '.join(others), 200)})"
    raise InputError(f"node '{shorten(unknown[0].name)}' ({shorten(operator)}): {text}")


def _imported(graph: Graph) -> Imported:
    build = Builder()
    tensors = {name: constant(w.shape, w.value) for name, w in graph.weights.items()}
    tensors |= {name: build.add_input(name, shape) for name, shape in graph.inputs.items()}
    places = placed({name: tensors[name] for name in graph.inputs}, {x.name for x in build.inputs})
    uses = graph.uses()
    for name in graph.inputs:
        build.count_readers(tensors[name], uses.get(name, 0))
    parts = 0
    for node in graph.nodes:
        inputs = [tensors[name] if name else None for name in node.inputs]
        made = dict(zip(node.outputs, _outputs(node, inputs, build), strict=False))
        if unknown := [name for name in node.outputs if name not in made and name in uses]:
            raise build.wrong(f"its output '{shorten(unknown[0])}' is not known, which others read")
        for name, tensor in made.items():
            check_shape(f"tensor '{shorten(name)}'", tensor.shape)
            parts += len(tensor.parts)
            build.check_size(tensor, parts)
            tensors[name] = tensor if uses.get(name, 0) == 1 else replace(tensor, folds=False)
            build.count_readers(tensor, uses.get(name, 0))
        for read in filter(None, inputs):
            build.count_readers(read, -1)
        places |= placed(made, {*build.made_by_node})
    if not build.layers:
        raise InputError("no layer computes anything from the inputs")
    network = Network(
        format=FORMAT, name=shorten(graph.name, 200), inputs=tuple(build.inputs), layers=build.layers
    )
    constants = {name: t.value for name, t in tensors.items() if t.constant and t.value is not None}
    nodes = nodes_between(graph.nodes, places, {*constants, *graph.inputs, *graph.weights})
    return Imported(network, tuple(build.notes), places, nodes, constants)


def _outputs(node: Node, inputs: Sequence[Tensor | None], build: Builder) -> Sequence[Tensor]:
    """Return what a node makes."""
    build.begin(node.name, node.operator)
    try:
        outputs = HANDLERS[node.operator](node, inputs, build)
    except InputError:
        raise
    except ValidationError as error:
        text = str(error.errors(include_url=False)[0]["msg"])
        raise build.wrong(f"a network cannot say this: {shorten(text, 200)}") from None
    except (
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
    ):  # attributes of wrong types
        raise build.wrong("its attributes and inputs do not fit together") from None
    return _folded(node, inputs, outputs)


def _folded(node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Compute the values of small constants that are made of such."""
    small = all(math.prod(t.shape) <= MAX_VALUES for t in outputs)
    if node.operator not in FOLDED or not small or any(t is not None and t.value is None for t in inputs):
        return outputs
    feeds = {name: t.value for name, t in zip(node.inputs, inputs, strict=True) if t is not None}
    try:
        with np.errstate(all="ignore"):
            values = node.evaluator().run(None, feeds)
    except Exception:  # whatever the library raises; a value that matters is missed where it is needed
        return outputs
    return [
        replace(t, value=np.asarray(v)) if np.shape(v) == t.shape else t
        for t, v in zip(outputs, values, strict=False)
    ]
