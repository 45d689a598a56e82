"""What stands behind the last layers: the best of some scores, and selections of a size that is not known."""

from __future__ import annotations

from dataclasses import replace

from models.onnx.access import Tensor, fresh
from models.onnx.align import with_axis
from models.onnx.build import Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, axis_of, first, integers, operators
from models.onnx.spans import reduced

SELECTIONS = frozenset(
    operators(
        "NonMaxSuppression NonZero Unique Compress RoiAlign MaxRoiPool Multinomial SplitToSequence "
        "SequenceConstruct SequenceEmpty ai.onnx.ml.ZipMap ai.onnx.ml.ArrayFeatureExtractor "
        "TRT.EfficientNMS_TRT com.microsoft.NhwcMaxRoiPool"
    )
)
"""Operators that take no layer, and whose results may only become outputs."""
LAYERS = frozenset(
    operators(
        "Conv ConvTranspose Gemm MatMul Einsum QLinearConv QLinearMatMul ConvInteger MatMulInteger LSTM GRU "
        "RNN Attention com.microsoft.FusedConv com.microsoft.FusedMatMul com.microsoft.FusedGemm "
        "com.microsoft.MultiHeadAttention com.microsoft.Attention"
    )
)
"""Operators that become layers, which need to know what they read."""


def top_k(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the best elements of an axis and their places; each depends on the whole axis."""
    x = first(inputs, build)
    given = [node.get("k", 0)] if len(inputs) < 2 else integers(node, inputs, build, 1, "k") or [0]
    count, axis = int(given[0]), axis_of(build, int(node.get("axis", -1)), len(x.axes))
    if not 0 < count <= x.shape[axis]:
        raise build.wrong(f"{count} elements of an axis of {x.shape[axis]}")
    build.count(x, 1)
    best = replace(with_axis(reduced(build, x, axis), axis, fresh(count)), folds=False)
    return best, best


HANDLERS: dict[str, Handler] = {"TopK": top_k}
