"""ZigZag's layers as a network: a list in YAML, each layer an equation and what its operands come from.

Its layers of additions become residuals of the layer before them, or sums that the next layer reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from models.layer import Dim, Extent, Name
from models.timeloop.chain import Chained, chained
from models.timeloop.contraction import Contraction, DataSpaces, Expression, contraction
from models.timeloop.edges import LayerName, Sources, edges_of
from models.timeloop.joining import adds_up
from overlapim_files import Document, FileModel, InputError, fault, shorten

_OPERAND = r"\s*([A-Za-z]\w*)((?:\[\w+\])+)\s*"
_EQUATION = re.compile(rf"{_OPERAND}\+?={_OPERAND}([*+]){_OPERAND}")
_RELATION = re.compile(r"\s*(\w+)\s*=(.+)")
_TERM = re.compile(r"\s*(?:(\d{1,9})\s*\*)?\s*([A-Za-z]\w*)\s*")
MOST_SYMBOLS = 64
MOST_TERMS = 1024
IMAGE_DIMS: dict[str, Dim] = {"oy": "P", "ox": "Q", "fy": "R", "fx": "S"}
"""ZigZag's names of rows and columns; those of a kernel stand alone where an image is one value."""


class ZigZagLayer(FileModel):
    """A layer of the list; precisions and sizes that follow from others are passed over."""

    id: int = Field(ge=0, lt=2**31)
    name: LayerName | None = None
    operator_type: LayerName
    equation: str = Field(max_length=1000)
    dimension_relations: tuple[str, ...] = Field(default=(), strict=False, max_length=MOST_SYMBOLS)
    loop_dims: tuple[Name, ...] = Field(strict=False, max_length=MOST_SYMBOLS)
    loop_sizes: tuple[Extent, ...] = Field(strict=False, max_length=MOST_SYMBOLS)
    operand_source: dict[str, int] = Field(default={})
    operand_precision: Any = None
    pr_loop_dims: Any = None
    pr_loop_sizes: Any = None
    padding: Any = None

    @property
    def label(self) -> str:
        """What the layer is called in the network."""
        return self.name or f"{self.operator_type.lower()}{self.id}"

    @cached_property
    def bounds(self) -> dict[str, int]:
        """The bound of each dimension, in the spelling of equations."""
        return {dim.lower(): size for dim, size in zip(self.loop_dims, self.loop_sizes, strict=True)}

    @cached_property
    def operands(self) -> dict[str, tuple[str, ...]]:
        """The operands of the equation with their axes, that which is written first."""
        found = re.fullmatch(_EQUATION, self.equation)
        if found is None:
            text = "is no equation such as O[b][k]+=I[b][c]*W[c][k]"
            raise fault(f"{shorten(repr(self.equation))} {text}", "equation")
        names = (found[1], found[3], found[6]), (found[2], found[4], found[7])
        return {name: tuple(re.findall(r"\w+", axes.lower())) for name, axes in zip(*names, strict=True)}

    @property
    def is_sum(self) -> bool:
        """Whether it adds its operands."""
        return "+" in self.equation.split("=")[1]

    @cached_property
    def relations(self) -> dict[str, Expression]:
        """Axes that are sums of dimensions."""
        return dict(self._relation(i, text) for i, text in enumerate(self.dimension_relations))

    def _relation(self, place: int, text: str) -> tuple[str, Expression]:
        found = _RELATION.fullmatch(text.lower())
        terms = [_TERM.fullmatch(term) for term in found[2].split("+")] if found else []
        if found is None or not all(terms):
            at = ("dimension_relations", place)
            raise fault(f"{shorten(repr(text))} is no relation such as ix=2*ox+1*fx", *at)
        return found[1], tuple((term[2], int(term[1] or 1)) for term in terms if term)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.loop_dims) != len(self.loop_sizes):
            text = f"{len(self.loop_sizes)} sizes for {len(self.loop_dims)} dims"
            raise fault(text, "loop_sizes")
        if len(self.operands) < 3:
            raise fault("an operand stands twice in it", "equation")
        named = {name for axes in self.operands.values() for axis in axes for name, _ in self._terms(axis)}
        if missing := sorted(named - self.bounds.keys()):
            raise fault(f"dimension {missing[0]} has no size", "loop_dims")
        if not self.is_sum:
            _ = self.contraction
        return self

    def _terms(self, axis: str) -> Expression:
        return self.relations.get(axis, ((axis, 1),))

    @cached_property
    def constant(self) -> str:
        """The operand that no other layer computes."""
        first, second = list(self.operands)[1:]
        own = [name for name in (first, second) if self.operand_source.get(name, self.id) == self.id]
        if not own:
            text = "both operands are results of other layers; products of two activations are not read"
            raise fault(text, "operand_source")
        return "W" if "W" in own else own[-1]

    @cached_property
    def contraction(self) -> Contraction:
        """What the layer computes, in our dims; a pooling's constants are weights of each group."""
        names = list(self.operands)
        moving = next(name for name in names[1:] if name != self.constant)
        spaces = [self._space(name) for name in (moving, self.constant, names[0])]
        grouped = "g" in self.bounds and "g" not in self.operands[self.constant]
        if grouped and self.bounds["g"] > 1:
            spaces[1] = (*spaces[1], (("g", 1),))
        bounds = {name: size for name, size in self.bounds.items() if size > 1}
        return contraction(bounds, DataSpaces(*spaces), IMAGE_DIMS)

    def _space(self, name: str) -> tuple[Expression, ...]:
        """Return the axes of an operand, dimensions of bound 1 left out."""
        axes = (self._terms(axis) for axis in self.operands[name])
        return tuple(tuple((x, c) for x, c in terms if self.bounds[x] > 1) for terms in axes)

    @property
    def producers(self) -> list[int]:
        """The layers that it reads."""
        return [source for source in self.operand_source.values() if source != self.id]


class LayerList(FileModel):
    """All layers, in an order in which each reads earlier ones only."""

    list: tuple[ZigZagLayer, ...] = Field(strict=False, min_length=1, max_length=4096)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        labels: set[str] = set()
        seen: set[int] = set()
        for i, layer in enumerate(self.list):
            for source in layer.producers:
                if source not in seen:
                    raise fault(f"layer {source} does not stand before this one", "list", i, "operand_source")
            if layer.id in seen or layer.label in labels:
                raise fault(f"a layer before this one is {layer.id} or {layer.label!r}, too", "list", i)
            seen.add(layer.id)
            labels.add(layer.label)
        return self


@dataclass
class _Graph:
    """Edges on their way: the layers whose sum each layer of the file is."""

    uses: Mapping[int, int]
    made: dict[str, Contraction] = field(default_factory=dict)
    sums: dict[int, tuple[str, ...]] = field(default_factory=dict)
    reads: dict[str, Sources] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)


def network_of_layers(name: str, document: Document) -> Chained:
    """Return the network of a file of ZigZag's. Raises InputError."""
    layers = document.record(LayerList).list
    graph = _Graph(Counter(source for layer in layers for source in layer.producers))
    for layer in layers:
        if layer.is_sum:
            _add(graph, layer, document.name)
        else:
            _put(graph, layer)
    if not graph.made:
        raise InputError(f"{document.name}: there are additions only")
    edges = edges_of(document.name, graph.inputs, graph.reads)
    return chained(name, graph.made, document.name, edges)


def _put(graph: _Graph, layer: ZigZagLayer) -> None:
    """Take over a layer with weights."""
    sources = tuple(x for source in layer.producers for x in graph.sums[source])
    if not sources:
        sources = (f"{layer.label}.input",)
        graph.inputs += sources
    graph.reads[layer.label] = Sources(sum=sources)
    graph.made[layer.label] = layer.contraction
    graph.sums[layer.id] = (layer.label,)


def _add(graph: _Graph, layer: ZigZagLayer, source: str) -> None:
    """Take over an addition: as a residual of the later layer if nobody else reads that, else as a sum."""
    sides = [graph.sums[x] for x in layer.producers]
    if len(sides) != 2:
        raise InputError(f"{source}: layer {layer.id} adds what is no other layer's result")
    order = list(graph.made)
    other, main = sorted(sides, key=lambda side: order.index(side[-1]))
    graph.sums[layer.id] = tuple(dict.fromkeys((*other, *main)))
    if len(graph.sums[layer.id]) > MOST_TERMS:
        raise InputError(f"{source}: layer {layer.id} is a sum of more than {MOST_TERMS} layers")
    sole = all(graph.uses[x] == 1 for x in layer.producers if graph.sums[x] == main)
    if len(main) == 1 and main[0] not in other and sole and adds_up(graph.made[main[0]]):
        _attach(graph, main[0], other)
        graph.sums[layer.id] = main


def _attach(graph: _Graph, layer: str, others: Sequence[str]) -> None:
    """Add results of other layers to those of a layer."""
    sources = graph.reads[layer]
    graph.reads[layer] = sources.model_copy(update={"add": (*sources.add, *others)})
