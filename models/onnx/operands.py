"""What handlers of operators need to read the inputs and attributes of a node, whatever its version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from models.onnx.access import Tensor
from models.onnx.build import Builder
from models.onnx.graph import Node

Inputs = Sequence[Tensor | None]
Handler = Callable[[Node, Inputs, Builder], tuple[Tensor, ...]]
"""Takes a node and its inputs, None where one is left out, and returns its outputs."""


def operators(names: str) -> tuple[str, ...]:
    """Return the operators that a text lists."""
    return tuple(names.split())


def first(inputs: Inputs, build: Builder, place: int = 0) -> Tensor:
    """Return an input that must be there."""
    if place < len(inputs) and (tensor := inputs[place]) is not None:
        return tensor
    raise build.wrong(f"input {place + 1} is missing")


def optional(inputs: Inputs, place: int) -> Tensor | None:
    """Return an input, or None if it is left out."""
    return inputs[place] if place < len(inputs) else None


def integers(
    node: Node, inputs: Inputs, build: Builder, place: int, name: str, default: Sequence[int] | None = None
) -> list[int] | None:
    """Return a list of integers that newer versions take from an input and older ones from an attribute."""
    tensor = optional(inputs, place)
    if tensor is None:
        given: Any = node.get(name, default)
        return None if given is None else [int(x) for x in (given if isinstance(given, list) else [*given])]
    if tensor.value is None:
        raise build.wrong(f"its '{name}' is not known before it runs")
    return [int(x) for x in tensor.value.ravel().tolist()]


def axis_of(build: Builder, axis: int, rank: int) -> int:
    """Return an axis counted from the front."""
    if not -rank <= axis < rank:
        raise build.wrong(f"axis {axis} of a tensor of {rank} axes")
    return axis % rank


def axes_in_order(build: Builder, axes: Iterable[int], rank: int) -> list[int]:
    """Return axes counted from the front, in their order."""
    return [axis_of(build, axis, rank) for axis in axes]


def axes_of(build: Builder, axes: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the front, each once, in order."""
    return sorted({axis_of(build, axis, rank) for axis in axes})


def spatial(node: Node, build: Builder, name: str, count: int, default: int) -> list[int]:
    """Return an attribute with a number for each image axis."""
    values = [int(x) for x in node.get(name) or [default] * count]
    if len(values) != count or min(values, default=1) < (1 if default else -(2**20)):
        raise build.wrong(f"'{name}' is {values}; {count} numbers are needed, of at least {default}")
    return values
