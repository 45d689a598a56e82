"""The inputs of a graph: extents for the axes that the file leaves open, by name, by place or computed."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.layer import MAX_EXTENT
from overlapim_files import InputError, nearest, shorten

if TYPE_CHECKING:
    import onnx

MAX_FORMULA = 200
MAX_COMPUTED = 2**40


@dataclass(frozen=True)
class Axis:
    """One axis of an input; `extent` is None and `names` say how it can be called if the file leaves it open.

    The first of the names is `INPUT.AXIS`, the other one, if there is one, that of the file.
    """

    extent: int | None
    names: tuple[str, ...]


def axes_of_input(value: onnx.ValueInfoProto) -> list[Axis]:
    """Return the axes of an input."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise InputError(f"input '{shorten(value.name)}' is no tensor with a known number of axes")
    axes = []
    for i, dim in enumerate(value.type.tensor_type.shape.dim):
        own = (f"{value.name}.{i}", *((dim.dim_param,) if dim.dim_param else ()))
        axes.append(Axis(dim.dim_value if dim.dim_value > 0 else None, own))
    return axes


def input_shapes(
    declared: Iterable[onnx.ValueInfoProto], read: Collection[str], dims: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input.

    Parameters
    ----------
    read : the inputs that need their extents; open axes of others are 1 long where nothing is said.
    dims : extents by `INPUT.AXIS`, which comes first, or by the name that the file has for an axis. A name
        that is a formula of others, such as `past + 1`, is computed from them.

    Raises
    ------
    InputError
        if extents are missing, or given for axes that there are not.
    """
    axes = {value.name: axes_of_input(value) for value in declared}
    opened = [axis for own in axes.values() for axis in own if axis.extent is None]
    _check_names(opened, dims)
    known = {name for axis in opened for name in axis.names[1:]} | {*dims}
    found = {name: tuple(_extent(axis, dims, known) for axis in own) for name, own in axes.items()}
    missing = [axes[name][i] for name in axes if name in read for i, x in enumerate(found[name]) if x is None]
    if missing:
        raise InputError(_ask(missing, axes, dims, known))
    shapes = {name: tuple(x or 1 for x in shape) for name, shape in found.items()}
    for name, shape in shapes.items():
        if max(shape, default=1) > MAX_EXTENT:
            raise InputError(f"input '{shorten(name)}' has an extent of more than {MAX_EXTENT}")
    return shapes


def _check_names(opened: Sequence[Axis], dims: Mapping[str, int]) -> None:
    names = [name for axis in opened for name in reversed(axis.names)]
    parts = [part for name in names for part in _formula_names(name)]
    for name in dims:
        if name not in names and name not in parts:
            hint = nearest(name, [*dict.fromkeys(names)]) if names else "; all axes have extents in the file"
            raise InputError(f"--dim {shorten(name)}: the file leaves no axis of this name open{hint}")


def _extent(axis: Axis, dims: Mapping[str, int], known: Collection[str]) -> int | None:
    """Return the extent of an axis, None if it is open and nothing is said of it."""
    if axis.extent is not None:
        return axis.extent
    given = next((dims[name] for name in axis.names if name in dims), None)
    if given is not None or not _is_formula(axis, known):
        return given
    names = _formula_names(axis.names[-1])
    return _computed(axis.names[-1], dims) if all(name in dims for name in names) else None


def _ask(
    missing: Sequence[Axis], axes: Mapping[str, list[Axis]], dims: Mapping[str, int], known: Collection[str]
) -> str:
    """Return the message that asks for extents, each name once."""
    asked: dict[str, None] = {}
    for axis in missing:
        parts = _formula_names(axis.names[-1]) if _is_formula(axis, known) else (axis.names[-1],)
        asked |= dict.fromkeys(name for name in parts if name not in dims)
    options = shorten(" ".join(f"--dim {name}=1" for name in asked), 400)
    text = f"the file leaves axes open; give each an extent, such as {options}"
    for name in asked:
        for own in axes.values():
            places = [axis.names[0] for axis in own if axis.extent is None and name in axis.names[1:]]
            if len(places) > 1:
                apart = shorten(" ".join(f"--dim {place}=1" for place in places), 200)
                return f"{text} ('{shorten(name)}' is several axes of an input; {apart} tell them apart)"
    return text


# Names that are formulas


def _is_formula(axis: Axis, known: Collection[str]) -> bool:
    """Return whether the name of an axis is a formula of other names that are known."""
    names = _formula_names(axis.names[-1]) if len(axis.names) > 1 else ()
    return bool(names) and all(name in known for name in names)


def _formula_names(text: str) -> tuple[str, ...]:
    """Return the names in a formula; none if the text is no formula, or nothing but a name."""
    tree = _parsed(text)
    if tree is None or isinstance(tree, ast.Name | ast.Attribute):
        return ()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return tuple(x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and id(x) not in called)


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body if len(text) <= MAX_FORMULA else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "floor": lambda x: x,
    "Max": max,
    "Min": min,
    "Mod": operator.mod,
    "FloorDiv": operator.floordiv,
    "CeilDiv": lambda a, b: -(-a // b),
}


def _computed(text: str, dims: Mapping[str, int]) -> int:
    """Return what a formula comes to."""
    try:
        value = _value(_parsed(text), dims)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        raise InputError(f"an axis is '{shorten(text)}' long, which cannot be computed") from None
    if not 1 <= value <= MAX_COMPUTED:
        raise InputError(f"an axis is '{shorten(text)}' long, which comes to {value}")
    return value


def _value(tree: ast.expr | None, dims: Mapping[str, int]) -> int:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int):
        return tree.value
    if isinstance(tree, ast.Name):
        return dims[tree.id]
    if isinstance(tree, ast.BinOp):
        return _bounded(_BINARY[type(tree.op)](_value(tree.left, dims), _value(tree.right, dims)))
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_value(tree.operand, dims)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
        return _bounded(_FUNCTIONS[tree.func.id](*(_value(x, dims) for x in tree.args)))
    raise ValueError(type(tree))


def _bounded(value: int) -> int:
    if abs(value) > MAX_COMPUTED**2:
        raise OverflowError(value)
    return math.trunc(value)
