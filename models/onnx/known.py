"""Which operators of a graph can be handled; what is not, is named before anything is made of it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator

from models.onnx import tails
from models.onnx.branches import UNKNOWN
from models.onnx.constants import UNSHAPED
from models.onnx.graph import Choices, Graph, Node
from models.onnx.operands import operators
from overlapim_files import InputError, nearest, shorten

REFUSED = operators("Loop Scan SequenceMap")
SHAPES = operators("Shape Size")


def check_operators(graph: Graph, known: Collection[str], choices: Choices) -> None:
    """Check that every operator is one of those that are known.

    Raises
    ------
    InputError
        if one is not; names the first node and all operators that are not known.
    """
    there = dict.fromkeys(node.operator for node in graph.nodes)
    for name in choices.as_post:
        if name not in there:
            text = f"--as-post {shorten(name)}: there is no such operator in the file"
            raise InputError(f"{text}{nearest(name, list(there))}")
    unknown = [x for x in _asked(graph, choices) if x.operator not in known]
    if not unknown:
        return
    first, names = unknown[0], dict.fromkeys(node.operator for node in unknown)
    text = _reason(first.operator, known)
    if others := [name for name in names if name != first.operator]:
        text += f" (nor are {shorten(', '.join(others), 200)})"
    raise InputError(f"node '{shorten(first.name)}' ({shorten(first.operator)}): {text}")


def _reason(operator: str, known: Iterable[str]) -> str:
    if operator in REFUSED:
        return UNKNOWN
    text = "the operator is not known"
    domain, _, name = operator.rpartition(".")
    own = {x.rpartition(".")[2]: x for x in known if x.rpartition(".")[0] == domain}
    if close := difflib.get_close_matches(name, own, n=1, cutoff=0.8):
        text += f"; did you mean {own[close[0]]}?"
    if domain:
        text += f"; --as-post {shorten(operator)} passes over it, if it works element by element"
    return text


def _asked(graph: Graph, choices: Choices) -> Iterator[Node]:
    """Return the nodes that must be known: not those of constants, nor those behind a selection."""
    live = {*graph.inputs} - choices.weights_from
    sized: set[str] = set()
    for node in graph.nodes:
        if sized & {*node.inputs} or node.operator in tails.SELECTIONS:
            sized |= {*node.outputs} if live & {*node.inputs} or sized & {*node.inputs} else set()
        elif live & {*node.inputs}:
            yield node
            live |= set() if node.operator in SHAPES else {*node.outputs}
        elif node.operator in REFUSED or (not node.inputs and node.operator not in UNSHAPED):
            yield node
