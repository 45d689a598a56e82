"""Where the layers of an imported network stand in the file: tensors, the places of their elements, nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.onnx.access import Tensor
from models.onnx.graph import Node

Steps = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Placed:
    """An ONNX tensor that is a layer's output or a network input, and where its elements stand there.

    Each axis of the tensor is a number with digits, given as `(extent, stride)`, the outermost first; an
    element's place in the flattened `(n, ch, h, w)` is the sum of digit times stride over all axes.
    """

    tensor: str
    axes: tuple[Steps, ...]

    def positions(self) -> npt.NDArray[np.int64]:
        """Return where each element of the ONNX tensor, in its shape, stands in the flattened output."""
        places = np.zeros((), np.int64)
        for axis in self.axes:
            along = np.zeros(1, np.int64)
            for extent, stride in axis:
                along = np.add.outer(along, np.arange(extent, dtype=np.int64) * stride).ravel()
            places = np.add.outer(places, along)
        return places


def placed(tensors: Mapping[str, Tensor], makers: Collection[str]) -> dict[str, Placed]:
    """Return, by their makers, those ONNX tensors that are exactly what a layer or an input is."""
    result = {}
    for name, tensor in tensors.items():
        parts = tensor.parts
        if not name or len(parts) != 1 or parts[0].producer not in makers:
            continue
        if not any(form.windows or form.offset for form in parts[0].forms):
            result[parts[0].producer] = Placed(name, _axes(tensor))
    return result


def _axes(tensor: Tensor) -> tuple[Steps, ...]:
    strides: dict[object, int] = {}
    inner = 1
    for form in reversed(tensor.parts[0].forms):
        strides |= {digit: coefficient * inner for digit, coefficient in form.terms}
        inner *= form.extent
    return tuple(tuple((d.extent, strides.get(d, 0)) for d in digits) for digits in tensor.axes)


def nodes_between(
    nodes: Sequence[Node], places: Mapping[str, Placed], known: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Return for each layer the nodes that make its tensor out of other placed tensors and known ones.

    They are given by their positions in the file, in an order in which they can be computed.
    """
    maker = {name: i for i, node in enumerate(nodes) for name in node.outputs if name}
    ends = {*known, *(place.tensor for place in places.values())}
    result = {}
    for layer, place in places.items():
        if place.tensor not in maker:
            continue
        left, found = [maker[place.tensor]], {maker[place.tensor]}
        while left:
            reads = [name for name in nodes[left.pop()].inputs if name and name not in ends]
            left += (new := {maker[name] for name in reads} - found)
            found |= new
        result[layer] = tuple(nodes[i].index for i in sorted(found))
    return result
