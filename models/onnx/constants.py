"""Constants made of constants: their operators are run once, within limits of size and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from models.onnx.access import Tensor, constant
from models.onnx.graph import Node
from models.onnx.operands import operators
from models.onnx.values import Constant, PlaceTable

MAX_VALUES = 2**22
"""Elements of a constant whose values are known."""
MAX_ALL_VALUES = 2**26
MAX_SECONDS = 10.0

SLOW = {
    **dict.fromkeys(operators("MatMul Gemm Einsum MatMulInteger QLinearMatMul"), 2**14),
    **dict.fromkeys(operators("Resize Upsample"), 2**12),
    **dict.fromkeys(operators("Erf Gelu LRN"), 2**18),
}
"""How many elements some operators may read."""
MAX_SLOW = 2**16
"""How many elements are made one by one, in images of another size and in lookups that add up."""
SKIPPED = frozenset(
    operators(
        "Conv ConvTranspose ConvInteger QLinearConv MaxPool AveragePool LpPool GlobalMaxPool "
        "GlobalAveragePool GlobalLpPool LSTM GRU RNN Attention NonMaxSuppression If Loop Scan"
    )
)
"""Operators of which only the shape is known: nobody computes shapes or indices with them."""
UNSHAPED = frozenset(
    operators("NonZero Compress Unique EyeLike ReverseSequence HannWindow HammingWindow BlackmanWindow Det")
)
"""Operators without a handler that are run; what they make is not larger than what they are given."""


class Constants:
    """Runs operators on constants, until they have taken too much time or made too much."""

    def __init__(self) -> None:
        """Begin with all of the time and room."""
        self._elements, self._seconds = MAX_ALL_VALUES, MAX_SECONDS

    def made(self, node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs with the values that they have, if these can be had."""
        values = self._run(node, inputs) if self._allowed(node, inputs, outputs) else None
        if values is None:
            return [*outputs]
        pairs = zip(outputs, values, strict=False)
        return [constant(v.shape, v) if v.shape == t.shape else t for t, v in pairs]

    def unshaped(self, node: Node, inputs: Sequence[Tensor | None]) -> list[Tensor] | None:
        """Return what an operator without a handler makes; None if that is not known."""
        if node.operator not in UNSHAPED or not self._allowed(node, inputs, ()):
            return None
        whole = [
            t.value for t in inputs if t is not None and t.value is not None and t.value.dtype.kind in "iu"
        ]
        if max((int(value.max(initial=0)) for value in whole), default=0) > MAX_VALUES:
            return None  # perhaps how many there are to be
        values = self._run(node, inputs)
        return None if values is None else [constant(value.shape, value) for value in values]

    def _allowed(self, node: Node, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> bool:
        given = [t for t in inputs if t is not None]
        read, written = (sum(math.prod(t.shape) for t in side) for side in (given, outputs))
        room = min(self._elements, MAX_VALUES)
        known = all(t.value is not None for t in given) and node.operator not in SKIPPED
        if node.operator in ("Resize", "Upsample") or (node.operator in LOOKUPS and not _is_plain(node)):
            room = min(room, MAX_SLOW)
        return known and written <= room and read <= SLOW.get(node.operator, MAX_VALUES) and self._seconds > 0

    def _run(self, node: Node, inputs: Sequence[Tensor | None]) -> list[Constant] | None:
        values = [None if t is None else t.value for t in inputs]
        begin = time.process_time()
        try:
            with np.errstate(all="ignore"):
                found = _computed(node, values)
        except Exception:  # whatever the library raises; a value that matters is missed where it is needed
            return None
        finally:
            self._seconds -= time.process_time() - begin
        self._elements -= sum(value.size for value in found)
        return found


def _is_plain(node: Node) -> bool:
    """Return whether a lookup puts one element in each place."""
    return bool(node.get("reduction", "none") == "none")


def _computed(node: Node, values: Sequence[Constant | None]) -> list[Constant]:
    if node.operator in LOOKUPS and _is_plain(node):
        given = [value for value in values if value is not None]
        return [LOOKUPS[node.operator](node, *given)]
    feeds = {name: value for name, value in zip(node.inputs, values, strict=True) if value is not None}
    return [np.asarray(value) for value in node.evaluator().run(None, feeds)]


# Lookups, which the reference evaluator does element by element


def _gather_nd(node: Node, data: Constant, places: Constant) -> Constant:
    batch = int(node.get("batch_dims", 0))
    own = np.ogrid[tuple(slice(size) for size in places.shape[:batch])] if batch else ()
    inner = (1,) * (places.ndim - 1 - batch)
    return np.asarray(data[(*(x.reshape(*x.shape, *inner) for x in own), *np.moveaxis(places, -1, 0))])


def _scatter_nd(node: Node, data: Constant, places: Constant, updates: Constant) -> Constant:
    result = data.copy()
    result[tuple(np.moveaxis(places, -1, 0))] = updates
    return result


def _gather_elements(node: Node, data: Constant, places: PlaceTable) -> Constant:
    axis = int(node.get("axis", 0)) % data.ndim
    part = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(places.shape))
    return np.asarray(np.take_along_axis(data[part], places, axis))


def _scatter_elements(node: Node, data: Constant, places: PlaceTable, updates: Constant) -> Constant:
    axis = int(node.get("axis", 0)) % data.ndim
    result = data.copy()
    part = tuple(slice(None) if i == axis else slice(size) for i, size in enumerate(places.shape))
    np.put_along_axis(result[part], places, updates, axis)
    return result


LOOKUPS: dict[str, Callable[..., Constant]] = {
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "GatherElements": _gather_elements,
    "ScatterElements": _scatter_elements,
}
