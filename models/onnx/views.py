"""Operators that compute nothing: what they return is read through to where it was computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.layer import MAX_EXTENT
from models.onnx.access import Tensor, coalesced, constant, fresh, pruned, reshaped, without
from models.onnx.align import aligned, joined, piece, positioned, with_axis
from models.onnx.build import Builder
from models.onnx.elementwise import broadcast
from models.onnx.graph import MAX_ELEMENTS, Node
from models.onnx.lookups import windows_taken
from models.onnx.merge import nesting
from models.onnx.operands import Handler, Inputs, axes_of, axis_of, first, integers
from models.onnx.values import Weight


def identity(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor as it is."""
    x = first(inputs, build)
    return (replace(x, value=None),) * len(node.outputs)


# Shapes


def reshape(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor with another shape; 0 copies an extent and -1 is what remains."""
    x = first(inputs, build)
    wanted = integers(node, inputs, build, 1, "shape") or []
    if not node.get("allowzero", 0):
        wanted = [x.shape[i] if size == 0 and i < len(x.axes) else size for i, size in enumerate(wanted)]
    known = math.prod(size for size in wanted if size != -1)
    total = math.prod(x.shape)
    if total == 0:
        return (constant([0 if size == -1 else size for size in wanted]),)
    if -1 in wanted and known > 0:
        wanted[wanted.index(-1)] = total // known
    return (_shaped(build, x, wanted),)


def _shaped(build: Builder, x: Tensor, shape: Sequence[int]) -> Tensor:
    if min(shape, default=1) < 1 or math.prod(shape) != math.prod(x.shape):
        raise build.wrong(f"the shape {list(x.shape)} cannot become {list(shape)}")
    result, exact = reshaped(x, shape)
    if not exact and (alike := nesting(x, shape)) is not None:
        result, exact = reshaped(alike, shape)
    return build.exact((result, exact), "the axes do not nest, so those that change are read as a whole")


def flatten(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a matrix: the axes before one make its rows, the others its columns."""
    x = first(inputs, build)
    axis = int(node.get("axis", 1))
    at = axis if axis == len(x.axes) else axis_of(build, axis, len(x.axes))
    return (_shaped(build, x, (math.prod(x.shape[:at]), math.prod(x.shape[at:]))),)


def transpose(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor with its axes in another order."""
    x = first(inputs, build)
    order = [int(i) for i in node.get("perm") or reversed(range(len(x.axes)))]
    if sorted(order) != list(range(len(x.axes))):
        raise build.wrong(f"{order} is no order of {len(x.axes)} axes")
    return (replace(x, axes=tuple(x.axes[i] for i in order), value=None),)


def squeeze(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor without axes of extent 1."""
    x = first(inputs, build)
    axes = integers(node, inputs, build, 1, "axes")
    ones = [i for i, size in enumerate(x.shape) if size == 1]
    gone = ones if axes is None else axes_of(build, axes, len(x.axes))
    if not {*gone} <= {*ones}:
        raise build.wrong("an axis has more than one element")
    return (replace(x, axes=tuple(a for i, a in enumerate(x.axes) if i not in gone), value=None),)


def unsqueeze(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor with new axes of extent 1."""
    x = first(inputs, build)
    axes = integers(node, inputs, build, 1, "axes") or []
    rank = len(x.axes) + len(axes)
    new = axes_of(build, axes, rank)
    old = iter(x.axes)
    return (replace(x, axes=tuple(() if i in new else next(old) for i in range(rank)), value=None),)


def expand(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor broadcast to a shape."""
    x = first(inputs, build)
    wanted = integers(node, inputs, build, 1, "shape") or []
    if min(wanted, default=1) < 1 or math.prod(wanted) > MAX_ELEMENTS:
        raise build.wrong(f"the shape {wanted} is none")
    shape = broadcast(build, [x, constant(wanted)])
    return (aligned(build, [x], shape)[0],)


# Pieces and neighbours


def cut_out(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a slice; one that runs backwards reads the whole axis."""
    x = first(inputs, build)
    starts = integers(node, inputs, build, 1, "starts") or []
    ends = integers(node, inputs, build, 2, "ends") or []
    axes = integers(node, inputs, build, 3, "axes") or list(range(len(starts)))
    steps = integers(node, inputs, build, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise build.wrong("starts, ends, axes and steps do not fit together")
    for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
        place = axis_of(build, axis, len(x.axes))
        chosen = range(x.shape[place])[slice(*bounds)]
        x = taken(build, x, place, chosen)
    return (replace(x, value=None),)


def taken(build: Builder, x: Tensor, axis: int, chosen: Sequence[int]) -> Tensor:
    """Return the tensor with some elements of an axis, in their order."""
    if not chosen:
        return constant((*x.shape[:axis], 0, *x.shape[axis + 1 :]))
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    even = range(chosen[0], chosen[0] + step * len(chosen), step or 1)
    if step > 0 and (chosen == even or list(chosen) == list(even)):
        return piece(build, x, axis, chosen[0], step, len(chosen))
    ends = sorted((chosen[0], chosen[-1])) if isinstance(chosen, range) else sorted(chosen)
    low, high = ends[0], ends[-1]
    x = piece(build, x, axis, low, 1, high - low + 1)
    build.widen("elements in an irregular order: all from the first to the last are read for each")
    return with_axis(without(x, x.axes[axis]), axis, fresh(len(chosen)))


def split_up(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return consecutive pieces of an axis."""
    x = first(inputs, build)
    axis = axis_of(build, int(node.get("axis", 0)), len(x.axes))
    count = len(node.outputs)
    each = -(-x.shape[axis] // count)
    even = [each] * (count - 1) + [x.shape[axis] - each * (count - 1)]
    sizes = integers(node, inputs, build, 1, "split") or even
    if sum(sizes) != x.shape[axis] or min(sizes) < 0 or len(sizes) != count:
        raise build.wrong(f"an axis of {x.shape[axis]} does not divide into {sizes}")
    pieces, start = [], 0
    for size in sizes:
        pieces.append(taken(build, x, axis, range(start, start + size)))
        start += size
    return tuple(pieces)


def concat(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return tensors one after the other on an axis; a constant among them reads nothing."""
    given = [t for t in inputs if t is not None]
    rank = len(first(inputs, build).axes)
    axis = axis_of(build, int(node.get("axis", 0)), rank)
    shapes = {(t.shape[:axis], t.shape[axis + 1 :]) if len(t.axes) == rank else None for t in given}
    if len(shapes) != 1:
        raise build.wrong("the tensors differ in other axes than the one on which they are joined")
    if all(t.constant for t in given):
        shape = list(given[0].shape)
        shape[axis] = sum(t.shape[axis] for t in given)
        return (constant(shape),)
    given = [t for t in given if t.shape[axis]]
    return (given[0] if len(given) == 1 else joined(build, given, axis),)


def pad(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor with constants around it; other paddings read the whole axis."""
    x = first(inputs, build)
    pads = integers(node, inputs, build, 1, "pads") or []
    axes = integers(node, inputs, build, 3, "axes") or list(range(len(x.axes)))
    places = [axis_of(build, axis, len(x.axes)) for axis in axes]
    if len(pads) != 2 * len(places):
        raise build.wrong(f"{2 * len(places)} numbers of padding are needed")
    for i, axis in enumerate(places):
        before, after = pads[i], pads[len(places) + i]
        if min(before, after) < 0:
            size = x.shape[axis] - max(-before, 0) - max(-after, 0)
            x = taken(build, x, axis, range(max(-before, 0), max(-before, 0) + size))
        if max(before, after) > 0:
            x = _padded(build, x, axis, max(before, 0), max(after, 0), node.get("mode", "constant"))
    return (replace(x, value=None, folds=False),)


def _padded(build: Builder, x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    size = before + x.shape[axis] + after
    if size > MAX_EXTENT:
        raise build.wrong(f"an axis becomes {size} long; at most {MAX_EXTENT}")
    x = build.single(x, axis)
    new = fresh(size)
    if mode == "constant":
        return with_axis(positioned(build, x, x.axes[axis], new, before), axis, new)
    build.widen(f"padding of the kind {mode} reads the whole axis")
    return with_axis(without(x, x.axes[axis]), axis, new)


def gather(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return elements of an axis; looked up in a constant table, they depend on the indices only."""
    x, indices = first(inputs, build), first(inputs, build, 1)
    axis = axis_of(build, int(node.get("axis", 0)), len(x.axes))
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if indices.value is not None and (not x.constant):
        size = x.shape[axis]
        chosen = [axis_of(build, int(i), size) for i in indices.value.ravel().tolist()]
        places = np.asarray(chosen, np.int64).reshape(indices.shape)
        if (windows := windows_taken(build, x, axis, places)) is not None:
            return (windows,)
        x = taken(build, x, axis, chosen)
        return (_shaped(build, x, shape),)
    table = with_axis(without(x, x.axes[axis]), axis, ())
    table = replace(table, axes=(*x.axes[:axis], *((),) * len(indices.axes), *x.axes[axis + 1 :]), value=None)
    pointers = replace(indices, axes=(*indices.axes, *((),) * (len(x.axes) - axis - 1)), value=None)
    live = [t for t in (table, pointers) if not t.constant]
    if not live:
        return (constant(shape),)
    if not x.constant:
        build.widen("the indices are computed: the whole axis is read")
    parts = aligned(build, live, shape)
    terms = tuple(term for t in parts for term in t.terms)
    return (pruned(replace(parts[0], terms=terms, folds=False)),)


def tile(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the tensor repeated along its axes."""
    x = first(inputs, build)
    repeats = integers(node, inputs, build, 1, "repeats") or []
    if len(repeats) != len(x.axes) or min(repeats, default=1) < 1 or math.prod(repeats) > MAX_ELEMENTS:
        raise build.wrong(f"{repeats} does not say how often to repeat {len(x.axes)} axes")
    axes = tuple((*fresh(n), *digits) for n, digits in zip(repeats, x.axes, strict=True))
    return (coalesced(replace(x, axes=axes, value=None)),)


# Images


def depth_to_space(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an image whose pixels were channels."""
    x, b = first(inputs, build), int(node.get("blocksize", 1))
    if len(x.axes) != 4 or b < 1 or x.shape[1] % b**2:
        raise build.wrong("the channels do not divide into blocks")
    n, c, h, w = x.shape
    if node.get("mode", "DCR") == "DCR":
        shape, order = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        shape, order = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3)
    return (_rearranged(build, x, shape, order, (n, c // b**2, h * b, w * b)),)


def space_to_depth(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return an image whose channels were pixels."""
    x, b = first(inputs, build), int(node.get("blocksize", 1))
    if len(x.axes) != 4 or b < 1 or x.shape[2] % b or x.shape[3] % b:
        raise build.wrong("the image does not divide into blocks")
    n, c, h, w = x.shape
    depth_first = node.get("mode", "DCR") == "DCR"
    shape, order = (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4)
    return (_rearranged(build, x, shape, order, (n, c * b**2, h // b, w // b)),)


def _rearranged(
    build: Builder, x: Tensor, shape: Sequence[int], order: Sequence[int], result: Sequence[int]
) -> Tensor:
    x = _shaped(build, x, shape)
    return _shaped(build, replace(x, axes=tuple(x.axes[i] for i in order)), result)


# Constants


def constant_node(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the constant in an attribute."""
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        given = node.get(name)
        if isinstance(given, Weight):
            return (constant(given.shape, given.value),)
        if given is not None:
            value = np.asarray(given)
            return (constant(value.shape, value),)
    raise build.wrong("it has no value that is known")


def shape_of(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return the extents of a tensor, or how many elements it has."""
    shape = first(inputs, build).shape
    if node.operator == "Size":
        return (constant((), np.asarray(math.prod(shape), np.int64)),)
    value = np.asarray(shape[slice(node.get("start", 0), node.get("end"))], np.int64)
    return (constant(value.shape, value),)


def filled(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return a constant of a shape that is given."""
    shape = integers(node, inputs, build, 0, "shape") or []
    if min(shape, default=1) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise build.wrong(f"the shape {shape[:8]} is too large")
    return (constant(shape),)


def counting(node: Node, inputs: Inputs, build: Builder) -> tuple[Tensor, ...]:
    """Return numbers at equal distances."""
    values = [t.value for t in inputs if t is not None]
    if len(values) != 3 or any(v is None for v in values):
        raise build.wrong("its length is not known before it runs")
    start, limit, step = (float(np.asarray(v).ravel()[0]) for v in values)
    count = max(math.ceil((limit - start) / step), 0) if step else -1
    if not 0 <= count <= MAX_EXTENT:
        raise build.wrong(f"{count} numbers are none or too many")
    return (constant((count,)),)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("Identity", "Dropout", "Cast", "CastLike"), identity),
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Slice": cut_out,
    "Split": split_up,
    "Concat": concat,
    "Pad": pad,
    "Gather": gather,
    "Tile": tile,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Constant": constant_node,
    "Shape": shape_of,
    "Size": shape_of,
    "ConstantOfShape": filled,
    "Range": counting,
}
