"""The records of AccelForge's workloads: Einsums, the tensors that they access, and sizes."""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.layer import MAX_EXTENT, Name
from models.timeloop.contraction import (
    Expression,
)
from models.timeloop.edges import LayerName
from overlapim_files import FileModel, fault, shorten

_ACCESS = re.compile(r"([A-Za-z_]\w*)\s*\[([^\[\]]*)\]")
_OPERAND = rf"\s*{_ACCESS.pattern}\s*"
_EINSUM = re.compile(rf"{_OPERAND}=({_OPERAND}\*)*{_OPERAND}")
_TERM = re.compile(r"\s*(?:(\d{1,9})\s*\*)?\s*([a-z_]\w*)\s*(?:\*\s*(\d{1,9}))?\s*")
_RANGE = re.compile(r"\s*0\s*<=\s*([a-z_]\w*)\s*<\s*(\d{1,9})\s*")
MOST_RANKS = 64


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
