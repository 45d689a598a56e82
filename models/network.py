"""A neural network as the solver sees it: a graph of tensor contractions."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from models.checks import check_layers, check_names, check_reads, cycle_fault
from models.layer import (
    AXES,
    AXIS_DIMS,
    DIMS,
    MAX_EXTENT,
    MAX_FORM_POINTS,
    MAX_MACS,
    OUTPUT_DIMS,
    REDUCTION_DIMS,
    Axes,
    AxisAccess,
    AxisName,
    Dim,
    Extent,
    Flatten,
    Layer,
    LayerBits,
    Name,
    NetworkInput,
    Operand,
    Shift,
    Terms,
    Window,
)
from overlapim_files import FileModel

__all__ = [
    "AXES",
    "AXIS_DIMS",
    "DIMS",
    "FORMAT",
    "MAX_EXTENT",
    "MAX_FORM_POINTS",
    "MAX_LAYERS",
    "MAX_MACS",
    "OUTPUT_DIMS",
    "REDUCTION_DIMS",
    "Axes",
    "AxisAccess",
    "AxisName",
    "Dim",
    "Extent",
    "Flatten",
    "Layer",
    "LayerBits",
    "Name",
    "Network",
    "NetworkInput",
    "Operand",
    "Shift",
    "Terms",
    "Window",
]

FORMAT: Final = "overlapim/network/1"
MAX_LAYERS = 4096


class Network(FileModel):
    """A directed acyclic graph of layers; `layers` may stand in any order in a file.

    `tokens` says how many tokens of a language model one run of it reads or writes, if it is one.
    """

    format: Literal["overlapim/network/1"]
    name: Name
    tokens: Annotated[int, Field(ge=1, le=2**40)] | None = None
    inputs: tuple[NetworkInput, ...] = Field(max_length=1024, strict=False)
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MAX_LAYERS, strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_layers(self.layers)
        check_names(self.inputs, self.layers)
        if len(self.topological) < len(self.layers):
            raise cycle_fault(self.layers, self.producers, self.topological)
        check_reads(self.layers, self.shapes)
        return self

    def with_bits(self, bits: Sequence[LayerBits | None]) -> Network:
        """Return the network with bits for each layer; a layer that is given none keeps its own."""
        pairs = zip(self.layers, bits, strict=True)
        layers = (layer if own is None else layer.model_copy(update={"bits": own}) for layer, own in pairs)
        return self.model_copy(update={"layers": tuple(layers)})

    @cached_property
    def index(self) -> dict[str, int]:
        """Position in `layers` of each layer by name."""
        return {layer.name: i for i, layer in enumerate(self.layers)}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int, int, int]]:
        """Extents (n, ch, h, w) of every input and every layer's output."""
        return {x.name: x.shape for x in self.inputs} | {x.name: x.shape for x in self.layers}

    @cached_property
    def producers(self) -> tuple[tuple[int, ...], ...]:
        """For each layer the layers that it reads, each once."""
        return tuple(
            tuple(dict.fromkeys(self.index[x.producer] for x in layer.operands if x.producer in self.index))
            for layer in self.layers
        )

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each layer the layers that read it."""
        readers: list[list[int]] = [[] for _ in self.layers]
        for consumer, producers in enumerate(self.producers):
            for producer in producers:
                readers[producer].append(consumer)
        return tuple(map(tuple, readers))

    @cached_property
    def topological(self) -> tuple[int, ...]:
        """Layer positions, producers first, otherwise in the order of the file."""
        missing = [len(producers) for producers in self.producers]
        ready = [i for i, count in enumerate(missing) if count == 0]
        order = []
        while ready:
            order.append(heapq.heappop(ready))
            for consumer in self.consumers[order[-1]]:
                missing[consumer] -= 1
                if missing[consumer] == 0:
                    heapq.heappush(ready, consumer)
        return tuple(order)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weight elements of the whole network, without those of caches."""
        return sum(layer.weights for layer in self.layers if not layer.cache)

    @property
    def cached(self) -> int:
        """Keys and values that lie in the banks as weights do, in elements."""
        return sum(layer.weights for layer in self.layers if layer.cache)
