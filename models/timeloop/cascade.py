"""AccelForge's workloads as networks.

An Einsum of two operands is a layer, with weights unless both are tensors of other Einsums; one that only
copies a tensor stands for it. Where no Einsum reads another one's tensor, shapes tell which layer reads
which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.layer import AXES, Axes, AxisAccess, Dim
from models.timeloop.accelforge import Einsum, TensorAccess, Workload, WorkloadFile
from models.timeloop.chain import Chained, chained
from models.timeloop.contraction import (
    AXIS_OF,
    Contraction,
    DataSpaces,
    Expression,
    contraction,
    joined_by_default,
)
from models.timeloop.edges import Sources, edges_of
from models.timeloop.load import ImportOptions
from overlapim_files import Document, InputError, shorten

OUT_AXIS: dict[Dim, str] = {"N": "n", "G": "ch", "K": "ch", "P": "h", "Q": "w"}
"""The axis of the output on which a dim stands."""


@dataclass
class _Cascade:
    """A network on its way.

    `stands` is the layer or input that each tensor so far is, `axes` the axis that each rank of it is on;
    `factors` says how each layer without weights reads its second operand.
    """

    workload: Workload
    source: str
    is_connected: bool
    made: dict[str, Contraction] = field(default_factory=dict)
    stands: dict[str, str] = field(default_factory=dict)
    axes: dict[str, list[str | None]] = field(default_factory=dict)
    reads: dict[str, Sources] = field(default_factory=dict)
    factors: dict[str, Axes] = field(default_factory=dict)
    inputs: dict[str, None] = field(default_factory=dict)


def network_of_workload(name: str, document: Document, given: ImportOptions) -> Chained:
    """Return the network of a workload.

    Raises
    ------
    InputError
        if an Einsum is neither a product of two tensors nor a copy.
    """
    workload = document.record(WorkloadFile).workload
    read = {access.name for einsum in workload.einsums for access in einsum.read}
    cascade = _Cascade(workload, document.name, not read.isdisjoint(workload.computed))
    for einsum in workload.einsums:
        _check_order(cascade, einsum)
        if einsum.is_copy:
            _copy(cascade, einsum)
        else:
            _layer(cascade, einsum)
    if not cascade.made:
        raise InputError(f"{document.name}: there are copies only")
    if not cascade.is_connected:
        return chained(name, cascade.made, str(given.edges or document.name), given.said_edges())
    given.refuse_beside(("dim",), document.name)
    edges = edges_of(document.name, cascade.inputs, cascade.reads)
    return chained(name, cascade.made, document.name, edges, cascade.factors)


def _refusal(cascade: _Cascade, einsum: Einsum, text: str) -> InputError:
    return InputError(f"{cascade.source}: Einsum {shorten(einsum.name)} {text}")


def _check_order(cascade: _Cascade, einsum: Einsum) -> None:
    for access in einsum.read:
        if access.name in cascade.workload.computed and access.name not in cascade.stands:
            raise _refusal(cascade, einsum, f"reads {shorten(access.name)} before it is computed")


def _copy(cascade: _Cascade, einsum: Einsum) -> None:
    """Let a tensor stand for the one that it is copied from."""
    access, written = einsum.read[0], einsum.written
    cascade.stands[written.name] = cascade.stands.get(access.name, access.name)
    known = cascade.axes.get(access.name)
    if known:
        axes = {index: axis for (_, index), axis in zip(access.ranks, known, strict=False)}
        cascade.axes[written.name] = [axes.get(index) for _, index in written.ranks]


def _layer(cascade: _Cascade, einsum: Einsum) -> None:
    moving, weights = _sides(cascade, einsum)
    bounds = cascade.workload.bounds(einsum)
    loops = {name: bound for name, bound in bounds.items() if bound > 1}
    spaces = DataSpaces(*(_axes(access, loops) for access in (moving, weights, einsum.written)))
    try:
        made = contraction(loops, spaces, joined_by_default(loops, spaces))
    except ValueError as error:
        raise _refusal(cascade, einsum, f"is no layer: {error}") from None
    roles = {name: dim for dim, names in made.names.items() for name in names.split("*")}
    _check_axes(cascade, einsum, moving, roles)
    producer = cascade.stands.get(moving.name, moving.name)
    factor = cascade.stands.get(weights.name)
    if weights.name in cascade.axes:
        cascade.factors[einsum.name] = _factor_axes(cascade, einsum, weights, made, roles)
    if cascade.is_connected:
        cascade.reads[einsum.name] = Sources(sum=(producer,), times=factor)
        if producer not in cascade.made:
            cascade.inputs[producer] = None
    cascade.made[einsum.name] = made
    written = einsum.written
    cascade.stands[written.name] = einsum.name
    cascade.axes[written.name] = [_axis(x, roles, OUT_AXIS) for _, x in written.ranks]


def _sides(cascade: _Cascade, einsum: Einsum) -> tuple[TensorAccess, TensorAccess]:
    """Return the tensor that moves through a layer and its weights."""
    if len(einsum.read) != 2:
        raise _refusal(cascade, einsum, "is neither a copy nor a product of two tensors")
    first, second = einsum.read
    inner = [x.name in cascade.stands for x in (first, second)]
    if any(inner):
        return (first, second) if inner[0] else (second, first)
    return (second, first) if einsum.weights == first.name else (first, second)


def _axes(access: TensorAccess, loops: Mapping[str, int]) -> tuple[Expression, ...]:
    return tuple(tuple(term for term in x if term[0] in loops) for _, x in access.ranks)


def _check_axes(cascade: _Cascade, einsum: Einsum, moving: TensorAccess, roles: Mapping[str, Dim]) -> None:
    """Check that a layer reads each rank of a tensor on the axis on which it was computed."""
    known = cascade.axes.get(moving.name, [])
    for (rank, x), axis in zip(moving.ranks, known, strict=False):
        reads = _axis(x, roles, AXIS_OF)
        if None not in (reads, axis) and reads != axis:
            text = f"reads rank {shorten(rank)} of {shorten(moving.name)} on axis {reads}; it is on {axis}"
            raise _refusal(cascade, einsum, text)


def _factor_axes(
    cascade: _Cascade, einsum: Einsum, access: TensorAccess, made: Contraction, roles: Mapping[str, Dim]
) -> Axes:
    """Return how a layer reads its second operand, each rank on the axis on which it was computed."""
    dims: dict[str, list[Dim]] = {axis: [] for axis in AXES}
    for (rank, index), axis in zip(access.ranks, cascade.axes[access.name], strict=False):
        found = [roles[name] for name, _ in index if name in roles]
        if len(index) > 1 or (found and axis is None):
            raise _refusal(cascade, einsum, f"reads rank {shorten(rank)} of {shorten(access.name)} in steps")
        if axis and found and found[0] not in dims[axis]:
            dims[axis] += found
    accesses = {axis: AxisAccess(terms=_terms(dims[axis], made)) for axis in AXES}
    return Axes(**accesses)


def _terms(dims: Sequence[Dim], made: Contraction) -> dict[Dim, int]:
    """Return the form in which the last of several dims is the fastest."""
    return {dim: math.prod(made.dims[x] for x in dims[i + 1 :]) for i, dim in enumerate(dims)}


def _axis(index: Expression, roles: Mapping[str, Dim], axes: Mapping[Dim, str]) -> str | None:
    """Return the axis of an index; None if only one value of it is read."""
    return next((axes.get(roles[name]) for name, _ in index if name in roles), None)
