"""Random small ONNX graphs of every kind of operator, and what their layers read and need.

Every operator is evaluated as it is added, so its shape and whether it is valid are known from onnx itself.
At the end each tensor that nobody reads is multiplied with an input of its own shape: a layer that reads it
element by element, whatever it was made by.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from models.network import AXES, DIMS, Layer, Network, Operand
from models.onnx.load import Imported

OPSET = 18
MAX_SIZE = 96
Array = npt.NDArray[Any]
Reads = npt.NDArray[np.bool_]


@dataclass
class Graph:
    """A graph that grows; `values` has an example of each tensor."""

    rng: random.Random
    values: dict[str, Array] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def example(self, shape: tuple[int, ...]) -> Array:
        """Return numbers between 1/2 and 2, so that none of them is without effect."""
        count = math.prod(shape)
        return np.array([self.rng.uniform(0.5, 2) for _ in range(count)], np.float64).reshape(shape)

    def input(self, shape: tuple[int, ...]) -> str:
        """Add an input."""
        name = f"in{len(self.inputs)}"
        self.inputs.append(name)
        self.live.append(name)
        self.values[name] = self.example(shape)
        return name

    def weight(self, value: Array) -> str:
        """Add a constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(name)
        self.values[name] = value
        return name

    def numbers(self, *shape: int) -> str:
        """Add a constant of random numbers."""
        return self.weight(self.example(shape))

    def integers(self, *values: int) -> str:
        """Add a constant of integers."""
        return self.weight(np.array(values, np.int64))

    def add(self, operator: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node if it is valid and its outputs are small, and return their names."""
        names = [f"t{len(self.values)}_{i}" for i in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        node = helper.make_node(operator, inputs, names, name=f"{operator}{len(self.nodes)}", **given)
        model = _model([node], {x: self.values[x] for x in inputs if x}, names)
        try:
            made = ReferenceEvaluator(model).run(None, {x: self.values[x] for x in inputs if x})
        except Exception:  # whatever it raises, this node is none
            return []
        if not all(isinstance(x, np.ndarray) and 0 < x.size <= MAX_SIZE for x in made):
            return []
        if not all(np.isfinite(x).all() for x in made):
            return []
        self.nodes.append(node)
        self.values |= dict(zip(names, made, strict=True))
        self.read |= {*inputs}
        self.live += names
        return names

    def model(self) -> onnx.ModelProto:
        """Return the model; what nobody reads is its output."""
        outputs = [name for name in self.live if name not in self.read]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [_info(name, self.values[name]) for name in self.inputs if name in self.read],
            [_info(name, self.values[name]) for name in outputs if name not in self.inputs],
            [numpy_helper.from_array(self.values[name], name) for name in self.weights],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def _info(name: str, value: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


def _model(nodes: list[onnx.NodeProto], given: dict[str, Array], outputs: list[str]) -> onnx.ModelProto:
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "part", [_info(*x) for x in given.items()], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


# Operators

Adds = Callable[[Graph, str], list[str]]


def _conv(g: Graph, x: str) -> list[str]:
    shape, rng = g.values[x].shape, g.rng
    if len(shape) not in (3, 4):
        return []
    groups = rng.choice([n for n in range(1, shape[1] + 1) if shape[1] % n == 0])
    made = groups * rng.randint(1, 2)
    kernel = [rng.randint(1, 3) for _ in shape[2:]]
    auto = rng.choice([None, None, "SAME_UPPER", "SAME_LOWER", "VALID"])
    return g.add(
        "Conv",
        [x, g.numbers(made, shape[1] // groups, *kernel), *([g.numbers(made)] if rng.random() < 0.5 else [])],
        group=groups,
        strides=[rng.randint(1, 2) for _ in kernel],
        dilations=[rng.randint(1, 2) for _ in kernel] if auto is None else None,
        auto_pad=auto,
        pads=[rng.randint(0, 2) for _ in [*kernel, *kernel]] if auto is None else None,
    )


def _conv_transpose(g: Graph, x: str) -> list[str]:
    shape, rng = g.values[x].shape, g.rng
    if len(shape) != 4:
        return []
    kernel = [rng.randint(1, 4) for _ in shape[2:]]
    weight = g.numbers(shape[1], rng.randint(1, 2), *kernel)
    pads = [rng.randint(0, 1) for _ in [*kernel, *kernel]]
    strides = [rng.randint(1, 2) for _ in kernel]
    return g.add("ConvTranspose", [x, weight], strides=strides, pads=pads)


def _matmul(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if g.rng.random() < 0.6:
        return g.add("MatMul", [x, g.numbers(shape[-1], g.rng.randint(1, 4))] if shape else [])
    others = [y for y in g.live if len(g.values[y].shape) >= 2 and len(shape) >= 2]
    fit = [y for y in others if g.values[y].shape[-2] == shape[-1]]
    return g.add("MatMul", [x, g.rng.choice(fit)]) if fit else []


def _gemm(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if len(shape) != 2:
        return []
    turned = g.rng.randint(0, 1)
    made = g.rng.randint(1, 4)
    inner = shape[0] if turned else shape[1]
    return g.add("Gemm", [x, g.numbers(made, inner), g.numbers(made)], transA=turned, transB=1)


def _pool(g: Graph, x: str) -> list[str]:
    shape, rng = g.values[x].shape, g.rng
    if len(shape) not in (3, 4):
        return []
    if rng.random() < 0.2:
        return g.add("GlobalAveragePool", [x])
    kernel = [rng.randint(1, 3) for _ in shape[2:]]
    pads = [rng.randint(0, k - 1) for k in [*kernel, *kernel]]
    strides = [rng.randint(1, 2) for _ in kernel]
    return g.add("AveragePool", [x], kernel_shape=kernel, strides=strides, pads=pads)


def _unary(g: Graph, x: str) -> list[str]:
    return g.add(g.rng.choice(("Sin", "Sigmoid", "Identity", "Neg", "Softsign")), [x])


def _constant_operand(g: Graph, x: str) -> list[str]:
    shape = [n if g.rng.random() < 0.6 else 1 for n in g.values[x].shape]
    return g.add(g.rng.choice(("Add", "Mul", "Sub", "Div")), [x, g.numbers(*shape)])


def _two(g: Graph, x: str) -> list[str]:
    return g.add(g.rng.choice(("Add", "Mul")), [x, g.rng.choice(g.live)])


def _several(g: Graph, x: str) -> list[str]:
    same = [y for y in g.live if g.values[y].shape == g.values[x].shape]
    return g.add("Sum", [x, *g.rng.choices(same, k=g.rng.randint(1, 2))])


def _residual(g: Graph, x: str) -> list[str]:
    """Add something to what a layer makes, both perhaps after views."""
    made = g.rng.choice((_conv, _conv_transpose, _matmul, _gemm))(g, x)[:1]
    for _ in range(g.rng.randint(0, 2)) if made else ():
        made = g.rng.choice((_unary, _split_reshape, _reshape, _transpose, _pad))(g, made[0]) or made
    if not made:
        return []
    shape = g.values[made[0]].shape
    others = [y for y in g.live if y != made[0] and g.values[y].shape in (shape, shape[-1:])]
    if not others or g.rng.random() < 0.3:
        others = [g.input(shape)]
        others = g.rng.choice((_unary, _split_reshape, _softmax))(g, others[0]) or others
    pair = [*made, g.rng.choice(others)]
    g.rng.shuffle(pair)
    return g.add(g.rng.choice(("Add", "Sub", "Sum")), pair)


def _concat(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if not shape:
        return []
    axis = g.rng.randrange(len(shape))

    def fits(other: tuple[int, ...]) -> bool:
        return len(other) == len(shape) and all(
            a == b for i, (a, b) in enumerate(zip(shape, other, strict=True)) if i != axis
        )

    others = [y for y in g.live if fits(g.values[y].shape)]
    chosen = [x, *g.rng.choices(others, k=g.rng.randint(1, 2))]
    g.rng.shuffle(chosen)
    return g.add("Concat", chosen, axis=axis)


def _split(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    axis = g.rng.randrange(len(shape)) if shape else 0
    if not shape or shape[axis] < 2:
        return []
    first = g.rng.randint(1, shape[axis] - 1)
    return g.add("Split", [x, g.integers(first, shape[axis] - first)], outputs=2, axis=axis)


def _slice(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if not shape:
        return []
    axis = g.rng.randrange(len(shape))
    start, step = g.rng.randint(-shape[axis], shape[axis] - 1), g.rng.choice((1, 1, 2, 3, -1))
    end = g.rng.randint(-shape[axis], shape[axis])
    return g.add("Slice", [x, *(g.integers(i) for i in (start, end, axis, step))])


def _reshape(g: Graph, x: str) -> list[str]:
    size, shape = g.values[x].size, []
    while size > 1 and len(shape) < 4:
        shape.append(g.rng.choice([n for n in range(1, size + 1) if size % n == 0]))
        size //= shape[-1]
    return g.add("Reshape", [x, g.integers(*shape, size)])


def _split_reshape(g: Graph, x: str) -> list[str]:
    """Split one axis, swap the two halves and join them again, as a channel shuffle does."""
    shape = g.values[x].shape
    axis = g.rng.randrange(len(shape)) if shape else 0
    found = [n for n in range(2, shape[axis]) if shape[axis] % n == 0] if shape else []
    if not found or len(shape) > 4:
        return []
    inner = g.rng.choice(found)
    apart = g.add("Reshape", [x, g.integers(*shape[:axis], shape[axis] // inner, inner, *shape[axis + 1 :])])
    order = list(range(len(shape) + 1))
    order[axis], order[axis + 1] = order[axis + 1], order[axis]
    turned = g.add("Transpose", apart, perm=order)
    return g.add("Reshape", [*turned, g.integers(*shape)]) if g.rng.random() < 0.7 else turned


def _flatten(g: Graph, x: str) -> list[str]:
    return g.add("Flatten", [x], axis=g.rng.randint(0, len(g.values[x].shape)))


def _transpose(g: Graph, x: str) -> list[str]:
    order = list(range(len(g.values[x].shape)))
    g.rng.shuffle(order)
    return g.add("Transpose", [x], perm=order)


def _unsqueeze(g: Graph, x: str) -> list[str]:
    if 1 in g.values[x].shape and g.rng.random() < 0.5:
        return g.add("Squeeze", [x])
    return g.add("Unsqueeze", [x, g.integers(g.rng.randint(0, len(g.values[x].shape)))])


def _pad(g: Graph, x: str) -> list[str]:
    pads = [g.rng.choice((0, 0, 1, 2)) for _ in range(2 * len(g.values[x].shape))]
    return g.add(
        "Pad", [x, g.integers(*pads), g.numbers()], mode=g.rng.choice(("constant", "constant", "edge"))
    )


def _resize(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if len(shape) != 4:
        return []
    drawn = [g.rng.choice((1, 2, 3, 0.5, 1.5, 2.5)) for _ in range(2)]
    even = [x if size * x % 1 == 0 else 1 for x, size in zip(drawn, shape[2:], strict=True)]
    factors = np.array([1, 1, *even], np.float32)
    mode = g.rng.choice(
        (
            ("nearest", "asymmetric"),
            ("nearest", "half_pixel"),
            ("linear", "half_pixel"),
            ("linear", "align_corners"),
            ("linear", "asymmetric"),
            ("cubic", "half_pixel"),
        )
    )
    return g.add(
        "Resize",
        [x, "", g.weight(factors)],
        mode=mode[0],
        coordinate_transformation_mode=mode[1],
        nearest_mode="floor" if mode[1] == "asymmetric" else None,
    )


def _softmax(g: Graph, x: str) -> list[str]:
    axes = [i for i, size in enumerate(g.values[x].shape) if size > 1]
    return g.add("Softmax", [x], axis=g.rng.choice(axes)) if axes else []


def _normalised(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if not shape or shape[-1] < 2:
        return []
    if len(shape) < 3 or g.rng.random() < 0.5:
        return g.add("LayerNormalization", [x, g.numbers(shape[-1])], axis=-1)
    scale, shift = g.numbers(shape[1]), g.numbers(shape[1])
    if g.rng.random() < 0.5:
        return g.add("InstanceNormalization", [x, scale, shift])
    return g.add("BatchNormalization", [x, scale, shift, g.numbers(shape[1]), g.numbers(shape[1])])


def _mean(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    axis = g.integers(g.rng.randrange(len(shape))) if shape else ""
    return g.add("ReduceMean", [x, axis], keepdims=g.rng.randint(0, 1)) if axis else []


def _centred(g: Graph, x: str) -> list[str]:
    """Take the mean away and divide by the deviation, as layer norm does where it is written out."""
    if not g.values[x].shape or g.values[x].shape[-1] < 2:
        return []
    mean = g.add("ReduceMean", [x, g.integers(-1)])
    centred = g.add("Sub", [x, *mean]) if mean else []
    square = g.add("Mul", [*centred, *centred]) if centred else []
    variance = g.add("ReduceMean", [*square, g.integers(-1)]) if square else []
    moved = g.add("Add", [*variance, g.numbers(1)]) if variance else []
    return g.add("Div", [*centred, *moved]) if moved else []


def _lrn(g: Graph, x: str) -> list[str]:
    return g.add("LRN", [x], size=g.rng.choice((2, 3, 5)), alpha=0.5) if len(g.values[x].shape) == 4 else []


def _gather(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if not shape:
        return []
    axis = g.rng.randrange(len(shape))
    chosen = np.array([g.rng.randrange(shape[axis]) for _ in range(g.rng.randint(1, 2))], np.int64)
    return g.add("Gather", [x, g.weight(chosen if g.rng.random() < 0.7 else chosen[0])], axis=axis)


def _gather_nd(g: Graph, x: str) -> list[str]:
    """Choose elements by places that count evenly, or by any."""
    shape = g.values[x].shape
    if not shape:
        return []
    front = tuple(g.rng.randint(1, 3) for _ in range(g.rng.randint(1, 2)))
    along = [g.rng.choice(front) for _ in shape]
    if g.rng.random() < 0.7 and all(n <= size for n, size in zip(along, shape, strict=True)):
        axes = [front.index(n) for n in along]
        places = [np.indices(front)[axis] for axis in axes]
    else:
        places = [np.array(g.rng.choices(range(size), k=math.prod(front))).reshape(front) for size in shape]
    kept = g.rng.randint(1, len(shape))
    return g.add("GatherND", [x, g.weight(np.stack(places[:kept], axis=-1).astype(np.int64))])


def _gather_elements(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if not shape:
        return []
    axis = g.rng.randrange(len(shape))
    size, start = g.rng.randint(1, shape[axis]), g.rng.randrange(shape[axis])
    places = np.empty((*shape[:axis], size, *shape[axis + 1 :]), np.int64)
    places[...] = start
    if g.rng.random() < 0.5 and start + size <= shape[axis]:
        places += np.arange(size).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return g.add("GatherElements", [x, g.weight(places)], axis=axis)


def _einsum(g: Graph, x: str) -> list[str]:
    """Multiply with a constant or another tensor that shares a letter, in any order of letters."""
    shape = g.values[x].shape
    if not 1 <= len(shape) <= 3:
        return []
    letters = "abc"[: len(shape)]
    axis = g.rng.randrange(len(shape))
    others = [y for y in g.live if len(g.values[y].shape) == 2 and g.values[y].shape[0] == shape[axis]]
    other = g.rng.choice(others) if others and g.rng.random() < 0.5 else g.numbers(shape[axis], 2)
    kept = [*letters, "k"]
    for gone in letters:
        if g.rng.random() < (0.7 if gone == letters[axis] else 0.1):
            kept.remove(gone)
    g.rng.shuffle(kept)
    return g.add("Einsum", [x, other], equation=f"{letters},{letters[axis]}k->{''.join(kept)}")


def _volume(g: Graph, x: str) -> list[str]:
    """Convolve a small volume, which is an input or a view of what there is."""
    rng, size = g.rng, g.values[x].size
    shape = (1, 2, 3, 2, size // 12) if size % 12 == 0 and size > 12 else None
    x = g.add("Reshape", [x, g.integers(*shape)])[0] if shape else g.input((1, 2, 3, 3, 2))
    groups, kernel = rng.randint(1, 2), [rng.randint(1, 3) for _ in range(3)]
    pads, strides = [rng.randint(0, 1) for _ in range(6)], [rng.randint(1, 2) for _ in range(3)]
    return g.add("Conv", [x, g.numbers(2, 2 // groups, *kernel)], group=groups, pads=pads, strides=strides)


def _computed_conv(g: Graph, x: str) -> list[str]:
    """Convolve with weights that are another tensor."""
    shape = g.values[x].shape
    if len(shape) not in (3, 4):
        return []
    groups = g.rng.choice([n for n in range(1, shape[1] + 1) if shape[1] % n == 0])
    kernel = [g.rng.randint(1, min(2, size)) for size in shape[2:]]
    wanted = (groups * g.rng.randint(1, 2), shape[1] // groups, *kernel)
    fit = [y for y in g.live if g.values[y].size == math.prod(wanted)]
    weight = g.add("Reshape", [g.rng.choice(fit), g.integers(*wanted)])[0] if fit else g.input(wanted)
    pads = [g.rng.randint(0, 1) for _ in [*kernel, *kernel]]
    return g.add("Conv", [x, weight], group=groups, pads=pads)


def _repeated(g: Graph, x: str) -> list[str]:
    shape = g.values[x].shape
    if g.rng.random() < 0.5:
        return g.add("Tile", [x, g.integers(*(g.rng.choice((1, 1, 2)) for _ in shape))])
    return g.add("Expand", [x, g.integers(*(n if n > 1 else g.rng.randint(1, 3) for n in shape))])


def _rearranged(g: Graph, x: str) -> list[str]:
    operator = g.rng.choice(("DepthToSpace", "SpaceToDepth"))
    return g.add(operator, [x], blocksize=2) if len(g.values[x].shape) == 4 else []


OPERATORS: tuple[Adds, ...] = (
    *(_conv,) * 4,
    *(_conv_transpose,) * 2,
    *(_matmul,) * 3,
    *(_two,) * 3,
    *(_residual,) * 4,
    *(_concat,) * 2,
    *(_split_reshape,) * 2,
    *(_pool,) * 2,
    *(_slice,) * 2,
    *(_reshape,) * 2,
    *(_transpose,) * 2,
    *(_resize,) * 2,
    _gemm,
    _unary,
    _constant_operand,
    _several,
    _split,
    _flatten,
    _unsqueeze,
    _pad,
    _softmax,
    _normalised,
    _mean,
    _centred,
    _lrn,
    _gather,
    _repeated,
    _rearranged,
    *(_gather_nd,) * 2,
    _gather_elements,
    *(_einsum,) * 2,
    _volume,
    _computed_conv,
)
SHAPES = (
    (1, 4, 4, 4),
    (2, 2, 4, 4),
    (1, 6, 2, 3),
    (1, 2, 8),
    (2, 6),
    (3, 4),
    (1, 5, 4),
    (2, 3, 4),
    (1, 4, 5, 2),
)


def draw(rng: random.Random, nodes: int) -> onnx.ModelProto:
    """Draw a graph of about so many nodes."""
    g = Graph(rng)
    for _ in range(rng.randint(1, 2)):
        g.input(rng.choice(SHAPES))
    for _ in range(nodes):
        recent = rng.choice(g.live[-3:] if rng.random() < 0.8 else g.live)
        rng.choice(OPERATORS)(g, recent)
    for name in [x for x in g.live if x not in g.read and x not in g.inputs]:
        g.add("Mul", [name, g.input(g.values[name].shape)])
    return g.model()


# What layers read


def reads(network: Network, layer: Layer) -> dict[str, Reads]:
    """Return of each producer which elements each output of a layer reads; shape (outputs, elements)."""
    found: dict[str, Reads] = {}
    for operand in layer.operands:
        one = _reads(layer, operand, network.shapes[operand.producer])
        found[operand.producer] = found.get(operand.producer, np.zeros_like(one)) | one
    return found


def _reads(layer: Layer, operand: Operand, shape: tuple[int, ...]) -> Reads:
    """An operand uses no dim twice, so over reductions each axis can be united on its own."""
    n, g, k, p, q = (layer.bound(dim) for dim in DIMS[:5])
    result = np.ones((n, g, k, p, q, 1), bool)
    for axis, extent in zip(AXES, shape, strict=True):
        one = _axis_reads(layer, operand, axis, extent).any(axis=(5, 6, 7))
        result = (result[..., :, None] & one[..., None, :]).reshape(
            (*np.broadcast_shapes(result.shape[:5], one.shape[:5]), -1)
        )
    return np.broadcast_to(result, (n, g, k, p, q, result.shape[-1])).reshape(n * g * k * p * q, -1)


def _axis_reads(layer: Layer, operand: Operand, axis: Any, extent: int) -> Reads:
    """Return which coordinates of an axis each iteration reads; dims that it does not use have bound 1."""
    access = operand.axes[axis]
    value = np.full((1,) * len(DIMS), access.offset)
    for i, dim in enumerate(DIMS):
        along = np.arange(layer.bound(dim) if dim in access.terms else 1)
        value = value + access.terms.get(dim, 0) * along.reshape(
            [-1 if j == i else 1 for j in range(len(DIMS))]
        )
    low = high = value
    alive = (value >= 0) & (value < (access.extent or extent))
    for window in access.windows:
        size = window.extent or extent
        if window.all:
            low, high = low * 0, low * 0 + size - 1
        elif window.block:
            low, high = low // window.block * window.block, (high // window.block + 1) * window.block - 1
        elif window.divide:
            keep, whole = window.keep or 1, window.divide * (window.keep or 1)
            apart = low // keep != high // keep
            low = low // whole * keep + np.where(apart, 0, low % keep)
            high = high // whole * keep + np.where(apart, keep - 1, high % keep)
        elif window.every:
            assert window.first is not None
            low, high = -((window.first - low) // window.every), (high - window.first) // window.every
            alive = alive & (low <= high)
        else:
            assert window.scale and window.width and window.shift is not None
            low, high = (
                low * window.scale + window.shift,
                high * window.scale + window.shift + window.width - 1,
            )
        alive = alive & (low < size) & (high >= 0)
        low, high = np.maximum(low, 0), np.minimum(high, size - 1)
    places = np.arange(extent)
    return np.asarray((places >= low[..., None]) & (places <= high[..., None]) & alive[..., None])


# What the operators need


class LRN(OpRun):
    """Local response normalisation; onnx's own reference forgets most of the channels."""

    op_domain = ""

    def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
        channels = x.shape[1]
        around = [
            range(max(0, c - (size - 1) // 2), min(channels, c + size // 2 + 1)) for c in range(channels)
        ]
        squares = np.stack([(x[:, list(near)] ** 2).sum(axis=1) for near in around], axis=1)
        return (x / (bias + alpha / size * squares) ** beta,)


def _total(x: Array, axes: tuple[int, ...]) -> Array:
    """Add up axes, every element with another weight."""
    weights = 0.5 + np.modf(np.arange(1, x.size + 1) * 0.618)[0].reshape(x.shape)
    return np.asarray((x * weights).sum(axis=axes, keepdims=True), x.dtype)


class ReduceMean(OpRun):
    """A sum with weights that needs the same, and that is not cancelled where it is subtracted."""

    op_domain = ""

    def _run(self, x: Array, axes: Array, keepdims: int, noop_with_empty_axes: int) -> tuple[Array]:
        chosen = tuple(axes.tolist())
        return (_total(x, chosen) if keepdims else _total(x, chosen).squeeze(chosen),)


class Softmax(OpRun):
    """A sum that needs the same; the elements of a softmax add up to 1, whatever they depend on."""

    op_domain = ""

    def _run(self, x: Array, axis: int) -> tuple[Array]:
        return (x + _total(x, (axis,)),)


class LayerNormalization(OpRun):
    """A sum that needs the same; the elements of a normalised row add up to 0."""

    op_domain = ""

    def _run(self, x: Array, scale: Array, axis: int, epsilon: float, stash_type: int) -> tuple[Array]:
        return (scale * (x + _total(x, (axis,))),)


class InstanceNormalization(OpRun):
    """A sum that needs the same."""

    op_domain = ""

    def _run(self, x: Array, scale: Array, shift: Array, epsilon: float) -> tuple[Array]:
        return (x + _total(x, tuple(range(2, x.ndim))),)


class Sub(OpRun):
    """A difference that does not vanish where a part of one side is the other."""

    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        return (a - 1.7 * b,)


class Neg(OpRun):
    """A change that does not vanish where what is changed is added to it."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (-1.7 * x,)


class Sigmoid(OpRun):
    """A change that does not become 1 for large numbers."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (0.6 * x,)


STAND_INS = [LRN, Sub, Neg, Sigmoid, ReduceMean, Softmax, LayerNormalization, InstanceNormalization]


def needs(
    model: onnx.ModelProto, imported: Imported, layer: str, seed: int, kind: Any = np.float64
) -> dict[str, Reads]:
    """Return the same, found by changing one element after the other; `kind` is that of the inputs."""
    placed, rng = imported.placed, np.random.default_rng(seed)
    nodes = [imported.steps[i] for i in imported.nodes[layer]]
    made = {name for node in nodes for name in node.output}
    constants = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    asked = {name for node in nodes for name in node.input if name} - made
    constants = {**imported.constants, **constants}
    feeds = {name: constants[name] for name in asked & {*constants}}
    sources = {x.tensor: name for name, x in placed.items() if x.tensor in asked}
    assert asked == {*feeds, *sources}
    for tensor, name in sources.items():
        feeds[tensor] = rng.uniform(0.5, 2, placed[name].positions().shape).astype(kind)
    evaluator = ReferenceEvaluator(_model(nodes, feeds, [placed[layer].tensor]), new_ops=STAND_INS)
    before = evaluator.run(None, feeds)[0]
    place = placed[layer].positions().ravel()
    result = {}
    for tensor, name in sources.items():
        spots = placed[name].positions().ravel()
        table = np.zeros(
            (math.prod(imported.network.shapes[layer]), math.prod(imported.network.shapes[name])), bool
        )
        for i, spot in enumerate(spots.tolist()):
            value = feeds[tensor].copy()
            value.flat[i] += rng.uniform(0.2, 0.8)
            after = evaluator.run(None, {**feeds, tensor: value})[0]
            table[place, spot] = (before != after).ravel()
        result[name] = table
    return result
