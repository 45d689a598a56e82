"""Which of our eight loop dims each dimension of a Timeloop problem is, told by where it stands.

Names decide only where projections leave a choice; docs/timeloop.md has the rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle

from models.layer import AXES, MAX_EXTENT, OUTPUT_DIMS, AxisName, Dim
from overlapim_files import fault

Expression = tuple[tuple[str, int], ...]
"""A sum over (dimension, coefficient)."""

AXIS_OF: dict[Dim, AxisName] = {
    "N": "n",
    "G": "ch",
    "C": "ch",
    "P": "h",
    "R": "h",
    "Q": "w",
    "S": "w",
}
"""The axis of the input on which a dim stands; K stands on none."""


SLIDE = "slide over the inputs"
"""What image dims beside a kernel do, as errors say it."""


@dataclass(frozen=True)
class DataSpaces:
    """What the data-spaces of a problem read and write, dimensions of bound 1 left out."""

    inputs: tuple[Expression, ...]
    weights: tuple[Expression, ...]
    outputs: tuple[Expression, ...]


@dataclass(frozen=True)
class Contraction:
    """A layer without a producer.

    Attributes
    ----------
    names : the dimension of the problem that each dim stands for.
    dims : loop bounds.
    forms : coefficients of the form of each axis of the input.
    weights : coefficients of the form of each axis of the weights that has more than one value.
    """

    names: dict[Dim, str]
    dims: dict[Dim, int]
    forms: dict[AxisName, dict[Dim, int]]
    weights: tuple[dict[Dim, int], ...] = ()

    @cached_property
    def extents(self) -> tuple[int, int, int, int]:
        """How many coordinates (n, ch, h, w) of the input are read, padding included."""
        n, ch, h, w = (
            1 + sum(c * (self.dims[dim] - 1) for dim, c in self.forms.get(axis, {}).items()) for axis in AXES
        )
        return n, ch, h, w

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Extents (n, ch, h, w) of the output."""
        n, g, k, p, q = (self.dims.get(dim, 1) for dim in OUTPUT_DIMS)
        return n, g * k, p, q


def contraction(
    bounds: Mapping[str, int], spaces: DataSpaces, given: Mapping[str, Dim] | None = None
) -> Contraction:
    """Return what a problem computes.

    Parameters
    ----------
    given : which dim a dimension is, where the rules are not to choose. Several dimensions on one dim are
        counted through together, the last one fastest.

    Raises
    ------
    PydanticCustomError
        if it is none of our layers.
    """
    given = {name: dim for name, dim in (given or {}).items() if name in bounds}
    bounds, spaces, given = _joined(bounds, spaces, given)
    roles = _roles(list(bounds), spaces, given)
    dims = {dim: bounds[name] for name, dim in roles.items()}
    _check_outputs(spaces.outputs, roles, dims)
    names = {dim: name for name, dim in roles.items()}
    weights = tuple({roles[name]: c for name, c in axis} for axis in spaces.weights if axis)
    found = Contraction(names, dims, _forms(spaces.inputs, roles, dims), weights)
    if max(found.extents) > MAX_EXTENT:
        text = f"an axis of the inputs has {max(found.extents)} coordinates; the limit is {MAX_EXTENT}"
        raise fault(text, "instance")
    return found


def joined_by_default(bounds: Mapping[str, int], spaces: DataSpaces) -> dict[str, Dim]:
    """Return which dims dimensions are if all of a sort that can be one dim are: groups, channels, sums.

    Sums beside an image stay what slides over it.
    """
    slots: dict[str, Dim] = {"group": "G", "channel": "K", "reduction": "C"}
    single = {x[0][0] for x in (*spaces.inputs, *spaces.weights, *spaces.outputs) if len(x) == 1}
    summed = {name for x in spaces.inputs if len(x) > 1 for name, _ in x}
    alone = [name for name in bounds if name in single - summed]
    found = {name: slots[kind] for name in alone if (kind := _kind(name, spaces)) in slots}
    images = [name for name in alone if _kind(name, spaces) == "image"]
    return found | {name: "N" for name in images if name.upper() in ("N", "B")}


def _joined(
    bounds: Mapping[str, int], spaces: DataSpaces, given: Mapping[str, Dim]
) -> tuple[dict[str, int], DataSpaces, dict[str, Dim]]:
    """Return a problem in which the dimensions that are given one dim are one dimension."""
    together: dict[Dim, list[str]] = {}
    for name in bounds:
        if name in given:
            together.setdefault(given[name], []).append(name)
    joined, dims = dict(bounds), {}
    for dim, names in together.items():
        one = "*".join(names)
        dims[one] = dim
        if len(names) > 1:
            _check_joinable(names, spaces)
            joined[one] = math.prod(joined.pop(name) for name in names)
            each = (spaces.inputs, spaces.weights, spaces.outputs)
            spaces = DataSpaces(*(_renamed(axes, names, one) for axes in each))
        if joined[one] > MAX_EXTENT:
            raise fault(f"{one} has {joined[one]} values; the limit is {MAX_EXTENT}", "instance")
    return joined, spaces, dims


def _check_joinable(names: Sequence[str], spaces: DataSpaces) -> None:
    """Check that dimensions stand in the same data-spaces, each on an axis of its own."""
    if len({_kind(name, spaces) for name in names}) > 1:
        raise fault(f"{', '.join(names)} stand in different data-spaces, so they cannot be one dim", "dims")
    for expression in (*spaces.inputs, *spaces.weights, *spaces.outputs):
        plain = len(expression) == 1 and expression[0][1] == 1
        if not plain and any(name in names for name, _ in expression):
            text = f"an axis is {_shown(expression)}, so its dimensions cannot be one dim with others"
            raise fault(text, "dims")


def _renamed(axes: Sequence[Expression], names: Sequence[str], one: str) -> tuple[Expression, ...]:
    """Return axes with one dimension instead of several, in the place of the first of them."""
    first = next((axis for axis in axes if axis and axis[0][0] in names), None)
    kept = (((one, 1),) if axis is first else axis for axis in axes)
    return tuple(axis for axis in kept if not axis or axis[0][0] not in names)


def _roles(names: Sequence[str], spaces: DataSpaces, given: Mapping[str, Dim]) -> dict[str, Dim]:
    """Return the dim that each dimension is."""
    kinds: dict[str, list[str]] = {"group": [], "channel": [], "image": [], "reduction": []}
    for name in names:
        kinds[_kind(name, spaces)].append(name)
    partners = {
        name: [other for e in spaces.inputs for other, _ in e if any(n == name for n, _ in e)]
        for name in names
    }
    sliding = [x for x in kinds["image"] if any(y in kinds["reduction"] for y in partners[x])]
    roles: dict[str, Dim] = {}
    _assign(roles, kinds["group"], given, ("G",), "stand in all three data-spaces")
    _assign(roles, kinds["channel"], given, ("K",), "stand in weights and outputs only")
    preferred: dict[str, Dim] = {"P": "P", "Q": "Q"}
    _assign(roles, sliding, {**preferred, **given}, ("P", "Q"), SLIDE)
    still = [x for x in kinds["image"] if x not in sliding]
    preferred |= {"N": "N", "B": "N"}
    _assign(roles, still, {**preferred, **given}, ("P", "Q", "N"), "stand in inputs and outputs only")
    wanted: dict[str, Dim] = {"C": "C", "R": "R", "S": "S"}
    for name in kinds["reduction"]:
        with_rows = {roles.get(other) for other in partners[name]}
        wanted |= {name: "R"} if "P" in with_rows else {name: "S"} if "Q" in with_rows else {}
    _assign(roles, kinds["reduction"], {**wanted, **given}, ("C", "R", "S"), "are summed over")
    if wrong := next((name for name, dim in given.items() if roles[name] != dim), None):
        text = f"dimension {wrong} cannot be {given[wrong]}: where it stands, {roles[wrong]} can"
        raise fault(text, "dims", wrong)
    return roles


def _kind(name: str, spaces: DataSpaces) -> str:
    """Return what a dimension is by the data-spaces that it stands in."""

    def stands(expressions: Sequence[Expression]) -> bool:
        return any(name == other for expression in expressions for other, _ in expression)

    inside = stands(spaces.inputs), stands(spaces.weights), stands(spaces.outputs)
    kind = {
        (True, True, True): "group",
        (False, True, True): "channel",
        (True, False, True): "image",
        (True, True, False): "reduction",
        (True, False, False): "reduction",
    }.get(inside)
    if kind is None:
        where = "weights" if inside[1] else "outputs" if inside[2] else "no data-space"
        text = f"dimension {name} stands in {where} only, which no layer of ours does"
        raise fault(text, "shape", "data_spaces")
    return kind


def _assign(
    roles: dict[str, Dim], names: Sequence[str], wanted: Mapping[str, Dim], slots: Sequence[Dim], what: str
) -> None:
    """Give each dimension its wanted slot if that is free, and then the others the free ones in order."""
    free = [slot for slot in slots if slot not in roles.values()]
    given = [name for name in names if name not in roles]
    if len(given) > len(free):
        text = f"dimensions {', '.join(given)} {what}; there can be {len(free)} such"
        if what != SLIDE:
            text += f"; several can be one dim: --dims {_proposal(given, wanted, free)}"
        raise fault(text, "shape", "data_spaces")
    for name in given:
        if wanted.get(name) in free:
            roles[name] = wanted[name]
            free.remove(wanted[name])
    for name in given:
        if name not in roles:
            roles[name] = free.pop(0)


def _proposal(names: Sequence[str], wanted: Mapping[str, Dim], free: Sequence[Dim]) -> str:
    """Return the dims that dimensions could be given: the wanted ones, and the others in turn."""
    claimed = {wanted[name] for name in names if name in wanted}
    others = cycle([slot for slot in free if slot not in claimed] or free)
    return ",".join(f"{name}={wanted[name] if name in wanted else next(others)}" for name in names)


def _forms(
    inputs: Sequence[Expression], roles: Mapping[str, Dim], dims: Mapping[Dim, int]
) -> dict[AxisName, dict[Dim, int]]:
    """Return the form of each axis of the input."""
    forms: dict[AxisName, dict[Dim, int]] = {}
    for expression in inputs:
        terms = {roles[name]: coefficient for name, coefficient in expression}
        axes = {AXIS_OF[dim] for dim in terms}
        if not terms:
            continue
        grouped = {"G", "Q"} < set(terms)  # heads that share a group of keys lie beside each other
        axis: AxisName = "ch" if grouped else axes.pop()
        if (axes and not grouped) or len(terms) < len(expression):
            text = f"{_shown(expression)} mixes dimensions that belong on different axes, or has one twice"
            raise fault(text, "shape", "data_spaces")
        if axis in forms:
            terms = _beside(forms[axis], terms, dims, expression)
        forms[axis] = terms
    return {axis: forms[axis] for axis in AXES if axis in forms}


def _beside(
    one: dict[Dim, int], other: dict[Dim, int], dims: Mapping[Dim, int], expression: Expression
) -> dict[Dim, int]:
    """Return the form of groups and channels that have an axis each."""
    if {*one, *other} != {"G", "C"} or {*one.values(), *other.values()} != {1}:
        text = f"{_shown(expression)} is one axis too many for the inputs"
        raise fault(text, "shape", "data_spaces")
    return {"G": dims["C"], "C": 1}


def _check_outputs(outputs: Sequence[Expression], roles: Mapping[str, Dim], dims: Mapping[Dim, int]) -> None:
    """Check that each output dim is a coordinate by itself, but that groups may stand before channels."""
    for expression in outputs:
        terms = {roles[name]: coefficient for name, coefficient in expression}
        grouped = terms == {"G": dims.get("K", 1), "K": 1}
        if not grouped and (len(expression) > 1 or any(c != 1 for c in terms.values())):
            text = f"outputs at {_shown(expression)}; each must be at one dimension alone"
            raise fault(text, "shape", "data_spaces")
    named = [name for expression in outputs for name, _ in expression]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise fault(f"dimension {twice} stands twice in the outputs", "shape", "data_spaces")


def _shown(expression: Expression) -> str:
    return " + ".join(f"{c}*{name}" if c != 1 else name for name, c in expression)
