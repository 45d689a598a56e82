"""AccelForge's workloads as networks: Einsums that read each other's tensors by name.

An Einsum of two operands is a layer, with weights unless both are tensors of other Einsums; one that only
copies a tensor stands for it. Where no Einsum reads another one's tensor, shapes tell which layer reads
which.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.layer import AXES, MAX_EXTENT, Axes, AxisAccess, Dim, Name
from models.timeloop.chain import Chained, chained
from models.timeloop.contraction import (
    AXIS_OF,
    Contraction,
    DataSpaces,
    Expression,
    contraction,
    joined_by_default,
)
from models.timeloop.edges import LayerName, Sources, edges_of
from models.timeloop.load import ImportOptions
from overlapim_files import Document, FileModel, InputError, fault, shorten

_ACCESS = re.compile(r"([A-Za-z_]\w*)\s*\[([^\[\]]*)\]")
_OPERAND = rf"\s*{_ACCESS.pattern}\s*"
_EINSUM = re.compile(rf"{_OPERAND}=({_OPERAND}\*)*{_OPERAND}")
_TERM = re.compile(r"\s*(?:(\d{1,9})\s*\*)?\s*([a-z_]\w*)\s*(?:\*\s*(\d{1,9}))?\s*")
_RANGE = re.compile(r"\s*0\s*<=\s*([a-z_]\w*)\s*<\s*(\d{1,9})\s*")
MOST_RANKS = 64
OUT_AXIS: dict[Dim, str] = {"N": "n", "G": "ch", "K": "ch", "P": "h", "Q": "w"}


class TensorAccess(FileModel):
    """A tensor, and for each of its ranks the sum of rank variables that indexes it."""

    name: Name
    projection: dict[str, str] = Field(max_length=MOST_RANKS)
    output: bool = False
    persistent: Any = None
    backing_storage_size_scale: Any = None
    bits_per_value: Any = None

    @field_validator("projection", mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """Give each rank of a list the name of its variable, in capitals."""
        return {str(x).strip().upper(): x for x in data} if isinstance(data, list) else data

    @cached_property
    def ranks(self) -> tuple[tuple[str, Expression], ...]:
        """The ranks by name, and the expression that indexes each."""
        return tuple((rank, self._expression(text)) for rank, text in self.projection.items())

    def _expression(self, text: str) -> Expression:
        terms = [_TERM.fullmatch(term) for term in text.split("+")]
        if not all(terms):
            raise fault(f"{shorten(repr(text))} is no sum of rank variables such as 2*p + r", "projection")
        return tuple((x[2], int(x[1] or 1) * int(x[3] or 1)) for x in terms if x)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _ = self.ranks
        return self


def _accesses(text: str) -> list[dict[str, Any]]:
    """Return the accesses of an Einsum in one line, its output first."""
    if not _EINSUM.fullmatch(text):
        raise fault(f"{shorten(repr(text))} is no Einsum such as Z[m, n] = A[m, k] * B[k, n]", "einsum")
    return [
        {"name": name, "projection": _projection(ranks), "output": i == 0}
        for i, (name, ranks) in enumerate(_ACCESS.findall(text))
    ]


def _projection(text: str) -> dict[str, str]:
    """Return the ranks of an access; a rank without a name has that of its variable, in capitals."""
    parts = (part.partition(":") for part in text.split(","))
    return {
        rank.strip(): index for rank, index in ((x, y) if colon else (x.upper(), x) for x, colon, y in parts)
    }


class Einsum(FileModel):
    """One Einsum, in one line or by its accesses."""

    name: LayerName
    tensor_accesses: tuple[TensorAccess, ...] = Field(strict=False, min_length=2, max_length=MOST_RANKS)
    iteration_space_shape: tuple[str, ...] = Field(default=(), strict=False, max_length=MOST_RANKS)
    rank_sizes: dict[str, Any] = Field(default={}, max_length=MOST_RANKS)
    renames: Any = None
    is_copy_operation: bool = False
    n_instances: int = Field(default=1, ge=1, le=1)

    @model_validator(mode="before")
    @classmethod
    def _in_one_line(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"einsum": data}
        if not isinstance(data, dict) or not isinstance(data.get("einsum"), str):
            return data
        accesses = _accesses(data["einsum"])
        rest = {key: value for key, value in data.items() if key not in ("einsum", "tensor_accesses")}
        return {"name": accesses[0]["name"], **rest, "tensor_accesses": accesses}

    @model_validator(mode="after")
    def _one_output(self) -> Self:
        if sum(x.output for x in self.tensor_accesses) != 1:
            raise fault("one of the tensors must be the output", "tensor_accesses")
        return self

    @property
    def written(self) -> TensorAccess:
        """The tensor that it computes."""
        return next(x for x in self.tensor_accesses if x.output)

    @property
    def read(self) -> list[TensorAccess]:
        """The tensors that it reads."""
        return [x for x in self.tensor_accesses if not x.output]

    @property
    def is_copy(self) -> bool:
        """Whether it hands on what it reads, element by element."""
        if len(self.read) > 1:
            return False
        one, other = ([x for _, x in access.ranks] for access in (self.written, self.read[0]))
        return sorted(one) == sorted(other) and all(len(x) == 1 and x[0][1] == 1 for x in one)

    @property
    def weights(self) -> str | None:
        """The tensor of weights, where its renames say so."""
        roles = self.renames if isinstance(self.renames, dict) else {}
        names = [x.name for x in self.read]
        moving = [x for x in names if x != roles["input"]] if roles.get("input") in names else []
        return roles["weight"] if roles.get("weight") in names else moving[0] if moving else None


class Workload(FileModel):
    """All Einsums, and sizes that they share; sizes of values are passed over."""

    version: Any = None
    name: Any = None
    einsums: tuple[Einsum, ...] = Field(strict=False, min_length=1, max_length=4096)
    iteration_space_shape: dict[str, str] = Field(default={}, max_length=65536)
    shape: dict[str, str] = Field(default={}, max_length=65536)
    rank_sizes: dict[str, Any] = Field(default={}, max_length=65536)
    bits_per_value: Any = None
    persistent_tensors: Any = None
    n_instances: int = Field(default=1, ge=1, le=1)

    @cached_property
    def ranges(self) -> dict[str, int]:
        """The sizes of rank variables for all Einsums."""
        return dict(_range(text) for text in (*self.iteration_space_shape.values(), *self.shape.values()))

    @cached_property
    def computed(self) -> dict[str, Einsum]:
        """The Einsum that computes each tensor."""
        return {einsum.written.name: einsum for einsum in self.einsums}

    @model_validator(mode="after")
    def _sized(self) -> Self:
        _ = self.ranges
        for i, einsum in enumerate(self.einsums):
            try:
                bounds = self.bounds(einsum)
            except ValueError as error:
                raise fault(str(error), "einsums", i) from None
            if not all(1 <= bound <= MAX_EXTENT for bound in bounds.values()):
                raise fault(f"sizes must be from 1 to {MAX_EXTENT}", "einsums", i)
        if len(self.computed) < len(self.einsums) or len({x.name for x in self.einsums}) < len(self.einsums):
            raise fault("two Einsums have one name or compute one tensor", "einsums")
        return self

    def bounds(self, einsum: Einsum) -> dict[str, int]:
        """Return the bound of each rank variable of an Einsum, those of its output first."""
        ranges = {**self.ranges, **dict(_range(text) for text in einsum.iteration_space_shape)}
        sizes = {**self.rank_sizes, **einsum.rank_sizes}
        found: dict[str, int] = {}
        accesses: tuple[TensorAccess, ...] = (einsum.written, *einsum.read)
        alone = {x[0][0]: rank for access in accesses for rank, x in access.ranks if len(x) == 1}
        for name in (name for access in accesses for _, x in access.ranks for name, _ in x):
            size = ranges.get(name) or _size(sizes.get(alone.get(name, "")))
            if size is None:
                raise fault(f"rank variable {name} has no size; known: {shorten(', '.join(sizes), 100)}")
            found[name] = size
        return found


def _range(text: str) -> tuple[str, int]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise fault(f"{shorten(repr(text))} is no range such as 0 <= m < 128")
    return found[1], int(found[2])


def _size(value: Any) -> int | None:
    """Return a size, which may be a product of numbers in a text."""
    if type(value) is int:
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(\s*\*\s*\d{1,9}){0,8}\s*", value):
        return math.prod(map(int, value.split("*")))
    return None


class WorkloadFile(BaseModel):
    """A file with a workload; what else it holds, such as an architecture, is passed over."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    workload: Workload


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
    given.refuse_beside(("dim",), document.name, "layers that name no tensor of each other")
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
