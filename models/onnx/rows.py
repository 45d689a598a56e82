"""Operators in which an element depends on a whole axis: softmax, normalisation, reductions."""

from __future__ import annotations

from dataclasses import replace

from models.onnx.access import Digit, Tensor, constant, cut, each_form, slide
from models.onnx.align import with_axis
from models.onnx.build import Builder
from models.onnx.graph import Node
from models.onnx.operands import Handler, Inputs, axes_of, axis_of, first, integers, operators
from models.onnx.spans import over, reduced

SOFTMAX = 3
"""Operations on an element: exponential, addition to the total, division."""
NORMALISE = 4
"""Additions to mean and variance, subtraction with division, scale with shift."""
AFFINE_AXIS = 13
"""Version from which softmax works on one axis; before, on all from that axis on."""


def _over_axes(build: Builder, x: Tensor, axes: list[int], operations: int) -> tuple[Tensor, ...]:
    build.count(x, operations)
    return (over(build, x, tuple(d for axis in axes for d in x.axes[axis])),)


def softmax(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor of which each element reads its whole row."""
    x = first(inputs, build)
    rank = len(x.axes)
    one = node.version >= AFFINE_AXIS
    axis = axis_of(build, int(node.get("axis", -1 if one else 1)), rank)
    return _over_axes(build, x, [axis] if one else list(range(axis, rank)), SOFTMAX)


def layer_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor normalised over its last axes."""
    x = first(inputs, build)
    axis = axis_of(build, int(node.get("axis", -1)), len(x.axes))
    return _over_axes(build, x, list(range(axis, len(x.axes))), NORMALISE)


def instance_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor normalised over its image axes."""
    x = first(inputs, build)
    return _over_axes(build, x, list(range(2, len(x.axes))), NORMALISE)


def group_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor normalised over the image axes and groups of channels."""
    x = first(inputs, build)
    groups = int(node.get("num_groups", 1))
    if len(x.axes) < 2 or groups < 1 or x.shape[1] % groups:
        raise build.wrong(f"the channels do not divide into {groups} groups")
    inner = x.shape[1] // groups
    x, ok = cut(x, 1, inner)
    x = x if ok else cut(build.single(x, 1), 1, inner)[0]
    build.count(x, NORMALISE)
    own: list[Digit] = []
    for digit in reversed(x.axes[1]):
        if inner > 1:
            own.append(digit)
            inner //= digit.extent
    return (over(build, x, (*own, *(d for axis in x.axes[2:] for d in axis))),)


def mean_variance(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor normalised over the axes in an attribute."""
    x = first(inputs, build)
    axes = axes_of(build, node.get("axes", [0, 2, 3]), len(x.axes))
    return _over_axes(build, x, axes, NORMALISE)


def lp_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor divided by its norm, or summed up, along an axis."""
    x = first(inputs, build)
    return _over_axes(build, x, [axis_of(build, int(node.get("axis", -1)), len(x.axes))], 2)


def cumulative(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return running sums along an axis; an element reads the whole axis, though only a part is needed."""
    x = first(inputs, build)
    axes = integers(node, inputs, build, 1, "axis") or [0]
    build.widen("reads all of its axis, not only what lies before")
    return _over_axes(build, x, axes_of(build, axes, len(x.axes)), 1)


def local_response(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor normalised over neighbouring channels."""
    x, size = first(inputs, build), int(node.get("size", 1))
    if len(x.axes) < 2 or size < 1:
        raise build.wrong("channels and a size are needed")
    build.count(x, 2)
    x = build.single(x, 1)
    for digit in x.axes[1]:
        new = Digit(digit.extent)
        change = each_form(x, lambda form: slide(form, digit, (new,), 1, -((size - 1) // 2), size))  # noqa: B023
        x = with_axis(build.exact(change, "more channels are read than its own"), 1, (new,))
    return (replace(x, folds=False),)


def batch_norm(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor scaled and shifted by constants."""
    x = first(inputs, build)
    if all(t is None or t.constant for t in inputs):
        return (constant(x.shape), *(constant(x.shape[1:2]),) * (len(node.outputs) - 1))
    if any(t is not None and not t.constant for t in inputs[1:]) or node.get("training_mode", 0):
        raise build.wrong("its statistics are computed; they must be constants")
    build.count(x, 0 if x.folds else 1)
    return (replace(x, folds=True, value=None),)


def reduction(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a tensor with axes reduced to one element, as global pooling does; it costs nothing."""
    x = first(inputs, build)
    rank = len(x.axes)
    by_axis = node.operator in ("ArgMax", "ArgMin")
    axes = [int(node.get("axis", 0))] if by_axis else integers(node, inputs, build, 1, "axes")
    if not axes:
        if node.get("noop_with_empty_axes", 0):
            return (x,)
        axes = list(range(rank))
    places = axes_of(build, axes, rank)
    for axis in places:
        x = reduced(build, x, axis)
    if not node.get("keepdims", 1):
        x = replace(x, axes=tuple(a for i, a in enumerate(x.axes) if i not in places))
    return (replace(x, folds=False, value=None),)


REDUCTIONS = operators(
    "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare ArgMax ArgMin"
)
HANDLERS: dict[str, Handler] = {
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "Hardmax": softmax,
    "LayerNormalization": layer_norm,
    "RMSNormalization": layer_norm,
    "SimplifiedLayerNormalization": layer_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "MeanVarianceNormalization": mean_variance,
    "LpNormalization": lp_norm,
    "CumSum": cumulative,
    "LRN": local_response,
    "BatchNormalization": batch_norm,
    **dict.fromkeys(REDUCTIONS, reduction),
}
