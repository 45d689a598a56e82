"""From an ONNX file to a network: the nodes in their order, each handled by its operator's function."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from models.network import FORMAT, Network
from models.notes import Note
from models.onnx import (
    attention,
    branches,
    contraction,
    elementwise,
    fused,
    lookups,
    products,
    quantised,
    recurrent,
    resizing,
    rotary,
    rows,
    sliding,
    tails,
    transposed,
    views,
    volumes,
)
from models.onnx.access import Tensor, constant
from models.onnx.build import Builder
from models.onnx.constants import Constants
from models.onnx.graph import BOOL, MAX_NODES, Choices, Graph, Node, check_shape, read_graph
from models.onnx.known import check_operators
from models.onnx.lower import Lowering, Nodes, lowered
from models.onnx.operands import Handler, operators
from models.onnx.origin import Placed, nodes_between, placed
from overlapim_files import InputError, shorten

if TYPE_CHECKING:
    import onnx

HANDLERS: dict[str, Handler] = {
    **views.HANDLERS,
    **resizing.HANDLERS,
    **sliding.HANDLERS,
    **transposed.HANDLERS,
    **products.HANDLERS,
    **elementwise.HANDLERS,
    **rows.HANDLERS,
    **lookups.HANDLERS,
    **quantised.HANDLERS,
    **fused.HANDLERS,
    **tails.HANDLERS,
    **recurrent.HANDLERS,
    **contraction.HANDLERS,
    **volumes.HANDLERS,
}
"""What to do with each operator."""

TRUTHS = operators("And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Xor")
"""Operators that make truth values."""
VIEWS = (*views.HANDLERS, *lookups.HANDLERS)
LOWERED: dict[str, Lowering] = {
    **attention.LOWERED,
    **branches.LOWERED,
    **fused.LOWERED,
    **quantised.LOWERED,
    **rotary.LOWERED,
}
"""What to put in place of operators of several layers."""
MAX_STEPS = 4 * MAX_NODES
SECOND = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Imported:
    """A network, and how it came out of its file.

    `notes` says what could not be taken over as it stands. The rest is for those who run the operators:
    `placed` gives for each layer and input of the network the ONNX tensor that it is; `nodes` for each layer,
    as positions in `steps`, the nodes that make its tensor out of the placed tensors before it (poolings,
    views and activations on the way in, the operator itself last); `constants` the values of small tensors on
    which these nodes depend and that no longer have to be computed. Layers that are no tensor of the file are
    missing. `steps` has the nodes of the file by their places there, and behind them those that stand for
    calls of functions and for operators of several layers.
    """

    network: Network
    notes: tuple[Note, ...]
    placed: Mapping[str, Placed]
    nodes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, npt.NDArray[np.generic]]
    steps: Mapping[int, onnx.NodeProto]

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


def import_onnx(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    *,
    until: str | None = None,
    as_post: Collection[str] = (),
    weights_from: Collection[str] = (),
) -> Imported:
    """Read a network from an ONNX file; the data of large weights is never read.

    Parameters
    ----------
    dims : extents of the axes that the file leaves open, by name.
    until : the tensor with which the network ends; what follows it is left out.
    as_post : operators, `DOMAIN.OPERATOR`, that are counted as a post-operation of what they read.
    weights_from : inputs that are weights, so that a product with one of them is no product of activations.

    Raises
    ------
    InputError
        if the file cannot be read, leaves other axes open, or has an operator that is not known.
    """
    return import_chosen(path, Choices(dims or {}, until, frozenset(as_post), frozenset(weights_from)))


def import_chosen(path: str | Path, choices: Choices, model: onnx.ModelProto | None = None) -> Imported:
    """Do the same as `import_onnx`, with all choices as one value; `model` is the file, if it was read."""
    graph = read_graph(path, choices, model)
    try:
        handlers = HANDLERS | dict.fromkeys(choices.as_post, fused.passed_over)
        check_operators(graph, {*handlers, *LOWERED}, choices)
        return _Import(graph, handlers, choices).imported()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValidationError as error:
        text = str(error.errors(include_url=False)[0]["msg"])
        raise InputError(f"{path}: {shorten(text, 400)}") from None


class _Import:
    """Goes through the nodes of a graph."""

    def __init__(self, graph: Graph, handlers: Mapping[str, Handler], choices: Choices) -> None:
        self.graph, self.handlers, self.choices = graph, handlers, choices
        self.build, self.known = Builder(), Constants()
        self.uses, self.next, self.parts = graph.uses(), graph.next, 0
        self.nodes: list[Node] = []
        self.noted: list[Noted] = []
        self.sized: dict[str, Node] = {}
        self.truths, self.scales = {*graph.truths}, set[str]()
        self.tensors = {name: constant(w.shape, w.value) for name, w in graph.weights.items()}
        given = {name: shape for name, shape in graph.inputs.items() if name not in choices.weights_from}
        self.tensors |= {name: constant(graph.inputs[name]) for name in choices.weights_from}
        self.tensors |= {name: self.build.add_input(name, shape) for name, shape in given.items()}
        made = {x.name for x in self.build.inputs}
        self.places = placed({name: self.tensors[name] for name in given}, made)
        for name in given:
            self.build.count_readers(self.tensors[name], self.uses.get(name, 0))
        self.beside = second_factors(self.build, graph, given)

    def imported(self) -> Imported:
        """Return the network of all nodes."""
        for node in self.graph.nodes:
            self._take(node)
        if not self.build.layers:
            raise InputError("no layer computes anything from the inputs")
        network = Network(
            format=FORMAT,
            name=shorten(self.graph.name, 200),
            inputs=tuple(self.build.inputs),
            layers=self.build.layers,
        )
        values = {name: t.value for name, t in self.tensors.items() if t.constant and t.value is not None}
        known = {*values, *self.graph.inputs, *self.graph.weights}
        between = nodes_between(self.nodes, self.places, known)
        steps = {node.index: node.proto for node in self.nodes}
        notes = tuple(dict.fromkeys([*self.beside, *notes_of_layers(self.noted)]))
        return Imported(network, notes, self.places, between, values, steps)

    def _take(self, node: Node) -> None:
        """Handle a node, or those that stand for it."""
        if any(name in self.sized for name in node.inputs) or node.operator in tails.SELECTIONS:
            self._select(node)
            return
        self.build.begin(node.name, node.operator)
        if unmade := [name for name in node.inputs if name and name not in self.tensors]:
            raise self.build.wrong(f"reads '{shorten(unmade[0])}', which nothing makes before it")
        inputs = [self.tensors[name] if name else None for name in node.inputs]
        lower = None if node.operator in self.choices.as_post else LOWERED.get(node.operator)
        if lower is None:
            self._handle(node, inputs)
            return
        with _in_one_line(self.build):
            steps = lowered(lower, Nodes(node, inputs, self.build, self.truths), self.next)
        self.noted.append(Noted(node, self.build.notes, made=True))
        self.next += len(steps)
        if self.next > MAX_STEPS:
            raise self.build.wrong(f"what stands for operators is more than {MAX_STEPS} nodes")
        self._check_made(node, {name for step in steps for name in step.outputs})
        self._count_reads(node, steps)
        for step in steps:
            self._take(step)

    def _check_made(self, node: Node, made: Collection[str]) -> None:
        if unknown := [name for name in node.outputs if name and name not in made and self.uses.get(name)]:
            raise self.build.wrong(f"its output '{shorten(unknown[0])}' is not known, which others read")

    def _select(self, node: Node) -> None:
        """Note which node decides how large a tensor is; nothing can be made of that but outputs."""
        inputs = [self.tensors.get(name) for name in node.inputs]
        known = all(not name or (t and t.constant) for name, t in zip(node.inputs, inputs, strict=True))
        if node.operator in tails.SELECTIONS and known:
            self._handle(node, inputs)
            return
        maker = next((self.sized[name] for name in node.inputs if name in self.sized), node)
        if node.operator in tails.LAYERS:
            self.build.begin(node.name, node.operator)
            text = f"node '{shorten(maker.name)}' ({maker.operator}) decides as it runs how much is read"
            raise self.build.wrong(f"{text}; --until TENSOR ends the network before that")
        self.sized |= dict.fromkeys(node.outputs, maker)

    def _count_reads(self, node: Node, steps: Sequence[Node]) -> None:
        """Count who reads what once a node is replaced by others."""
        change = Counter(name for step in steps for name in step.inputs)
        change.subtract(node.inputs)
        for name, count in change.items():
            self.uses[name] = self.uses.get(name, 0) + count
            if name in self.tensors:
                self.build.count_readers(self.tensors[name], count)

    def _scaled(self, node: Node, inputs: Sequence[Tensor | None]) -> set[str]:
        """Return the layer that a scale which depends on all that it read completes, if the node is that."""
        if node.operator == quantised.DYNAMIC:
            self.scales |= {*node.outputs[1:]}
        elif any(name in self.scales for name in node.inputs):
            parts = [part for t in inputs if t is not None for part in t.parts]
            self.scales |= set() if parts else {*node.outputs}
            return {part.producer for part in parts if len(parts) == 1 and self.build.unread(part.producer)}
        return set()

    def _handle(self, node: Node, inputs: Sequence[Tensor | None]) -> None:
        outputs, completed = self._outputs(node, inputs), self._scaled(node, inputs)
        made = dict(zip(node.outputs, outputs, strict=False))
        self._check_made(node, made)
        for name, tensor in made.items():
            check_shape(f"tensor '{shorten(name)}'", tensor.shape)
            self.parts += len(tensor.parts)
            self.build.check_size(tensor, self.parts)
            uses = self.uses.get(name, 0)
            self.tensors[name] = tensor if uses == 1 else replace(tensor, folds=False)
            self.build.count_readers(tensor, uses)
        for read in filter(None, inputs):
            self.build.count_readers(read, -1)
        self.places |= placed(made, {*self.build.made_by_node, *completed})
        self.nodes.append(node)
        self.noted.append(Noted(node, self.build.notes, bool(self.build.made_by_node)))
        viewed = node.operator in VIEWS and self.truths & {*node.inputs[:1]}
        if node.operator in TRUTHS or node.get("to") == BOOL or viewed:
            self.truths |= {*node.outputs}

    def _outputs(self, node: Node, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """Return what a node makes; what is made of constants is one, and nothing is to be noted of it."""
        self.build.begin(node.name, node.operator)
        live = not all(t is None or t.constant for t in inputs)
        if not live and (found := self.known.unshaped(node, inputs)) is not None:
            return found
        if node.operator not in self.handlers:
            raise self.build.wrong("the operator is not known")
        with _in_one_line(self.build):
            if live:
                outputs = self.handlers[node.operator](node, inputs, self.build)
                return [constant(t.shape) if 0 in t.shape else t for t in outputs]
            with self.build.unnoted():
                outputs = self.handlers[node.operator](node, inputs, self.build)
        return self.known.made(node, inputs, outputs)


@contextlib.contextmanager
def _in_one_line(build: Builder) -> Iterator[None]:
    """Say in one line what is wrong with the current node, whatever it is."""
    try:
        yield
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


@dataclass(frozen=True)
class Noted:
    """A node with what was noted of it.

    `made` says whether it made a layer or let one add something, as the nodes that stand for an operator may.
    """

    node: Node
    notes: list[Note]
    made: bool


def notes_of_layers(noted: Sequence[Noted]) -> list[Note]:
    """Return the notes of nodes in their order, without what is widened where no layer reads it."""
    read: set[str] = set()
    kept: list[Note] = []
    for found in reversed(noted):
        if found.made or read & {*found.node.outputs}:
            read |= {*found.node.inputs}
            kept += reversed(found.notes)
        else:
            kept += (note for note in reversed(found.notes) if not note.widened)
    return kept[::-1]


def second_factors(build: Builder, graph: Graph, names: Iterable[str]) -> list[Note]:
    """Return notes of inputs that are nothing but second factors of products: they may well be weights."""
    readers: dict[str, list[tuple[Node, int]]] = {name: [] for name in names}
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name in readers:
                readers[name].append((node, place))
    notes: list[Note] = []
    for name, found in readers.items():
        if found and all(node.operator in SECOND and place == 1 for node, place in found):
            build.begin(found[0][0].name, found[0][0].operator)
            build.note(f"'{shorten(name)}' is an input, so an activation; --weights-from makes it a weight")
            notes += build.notes
    return notes
