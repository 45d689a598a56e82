"""Operators of several layers, replaced by nodes of one operator each, which are then read as any others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.onnx.access import Tensor
from models.onnx.build import Builder
from models.onnx.functions import Step
from models.onnx.graph import Node, read_node

if TYPE_CHECKING:
    import onnx

FLOAT = 1
"""The type of single-precision numbers."""
CASTS_ALIKE = 15
"""Version from which there is CastLike."""


class Nodes:
    """Nodes that stand for one, in the order in which they are computed."""

    def __init__(
        self, node: Node, inputs: Sequence[Tensor | None], build: Builder, truths: Collection[str]
    ) -> None:
        """Begin with none; `truths` are tensors of truth values."""
        self.node, self.build, self.truths = node, build, truths
        self.made: list[onnx.NodeProto] = []
        self.shapes = [None if t is None else t.shape for t in inputs]
        self.values = [None if t is None else t.value for t in inputs]
        self._number = itertools.count()
        self._base = next(name for name in node.outputs if name)

    def given(self, place: int) -> str:
        """Return the name of an input, '' if it is left out."""
        names = self.node.inputs
        return names[place] if place < len(names) else ""

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an input that must be there."""
        shape = self.shapes[place] if place < len(self.shapes) else None
        if shape is None:
            raise self.build.wrong(f"input {place + 1} is missing")
        return shape

    def add(self, operator: str, *inputs: str, name: str = "", output: str = "", **attributes: Any) -> str:
        """Add a node and return what it makes; `output` names that, `name` the node."""
        from onnx import helper

        place = f"{self._base}/{operator}.{next(self._number)}"
        output = output or place
        self.made.append(helper.make_node(operator, inputs, [output], name or place, **attributes))
        return output

    def several(self, operator: str, count: int, *inputs: str) -> list[str]:
        """Add a node that makes several tensors and return them."""
        from onnx import helper

        place = f"{self._base}/{operator}.{next(self._number)}"
        made = [f"{place}/{i}" for i in range(count)]
        self.made.append(helper.make_node(operator, inputs, made, place))
        return made

    def constant(self, value: npt.ArrayLike, kind: type[np.generic] | None = None) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.asarray(value, kind))
        return self.add("Constant", value=tensor)

    def number(self, value: float, like: str) -> str:
        """Add a number of the kind that a tensor has, as far as the version of the operators can say that."""
        number = self.constant(value, np.float32)
        return self.add("CastLike", number, like) if self.node.version >= CASTS_ALIKE else number

    def reshape(self, x: str, *shape: int) -> str:
        """Add a node that brings a tensor to a shape."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def split(self, x: str, axis: int, *sizes: int) -> list[str]:
        """Add slices of a tensor, one after the other on an axis."""
        ends = np.cumsum([0, *sizes])
        places = [self.constant([end], np.int64) for end in ends]
        along = self.constant([axis], np.int64)
        return [self.add("Slice", x, a, b, along) for a, b in itertools.pairwise(places)]


Lowering = Callable[[Nodes], None]


def lowered(lower: Lowering, nodes: Nodes, index: int) -> list[Node]:
    """Return the nodes that stand for one, numbered from `index` on."""
    lower(nodes)
    version = nodes.node.version
    return [read_node(index + i, Step(x, version)) for i, x in enumerate(nodes.made)]
