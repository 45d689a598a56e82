"""What stands in for elements that a block has not read, and which results depend on them.

A number that is missing can be not-a-number, which every result that needs it then is too; but integers and
flags have no such value, and some operators lose it. Where that can happen the nodes of a layer are run
twice, with two different values for all that is missing, both of them valid: a result that is not the same
both times needs something that is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

LOSING = frozenset(("GridSample", "Hardmax", "ReduceMin", "Shrink", "ThresholdedRelu"))
"""Operators whose result in onnxruntime can be a number though an element that it needs is none."""
SHAPES = frozenset(("Shape", "Size"))
"""Operators that depend on no element of what they read."""


def another(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return, for every element of a tensor, another value that is valid in it.

    That is one of those that the tensor has, half of all its values away; so an index stays in its table.
    """
    different, which = np.unique(values, return_inverse=True)
    if len(different) > 1:
        further = (which + len(different) // 2) % len(different)
        return np.asarray(different[further], values.dtype).reshape(values.shape)
    nearer = np.where(values > 1, values - 1, np.where(values < 0, values + 1, 1 - values))
    return np.asarray(nearer, values.dtype)


def loses_missing(
    proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], read: Collection[str], integers: bool
) -> bool:
    """Return whether not-a-number in what is read may get lost on the way through nodes.

    Parameters
    ----------
    proto : a model that has all these nodes, from which the kinds of their results follow.
    integers : whether something that is read has no such value in the first place.
    """
    if integers:
        return True
    kinds = _kinds(proto)
    depends = set(read)
    for node in nodes:
        if node.op_type in SHAPES or not depends & {*node.input}:
            continue
        depends |= {*node.output}
        if node.op_type in LOSING or any(kinds.get(name, "f") in "iub" for name in node.output):
            return True
    return False


def _kinds(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the letter of NumPy for the kind of each tensor that is known."""
    from onnx import helper, shape_inference

    try:
        graph = shape_inference.infer_shapes(proto).graph
    except Exception:  # whatever the library raises: it has to infer nothing
        graph = proto.graph
    known = [x for x in [*graph.value_info, *graph.output] if x.type.tensor_type.elem_type]
    return {
        x.name: np.dtype(helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type)).kind for x in known
    }
