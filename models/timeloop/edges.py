"""Which layer reads which, where shapes cannot tell: a file of edges, or what another tool's file says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from models.layer import Name
from overlapim_files import FileModel, InputError, fault

Names = tuple[Name, ...]
LayerName = Annotated[str, Field(min_length=1, max_length=150)]
"""A name of a layer in another program's file, to which something may be added for its input."""

EDGES_FORMAT: Final = "overlapim/edges/1"


class Sources(FileModel):
    """What a layer reads: the sum or the concatenation of outputs, or one; and what is added to its results.

    With `times` it has no weights but multiplies what it reads with one more output.

    In a file the name of one output, or a list of those that are added up, may stand for it.
    """

    sum: Names = Field(default=(), strict=False, max_length=1024)
    concat: Names = Field(default=(), strict=False, max_length=1024)
    times: Name | None = None
    add: Names = Field(default=(), strict=False, max_length=1024)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"sum": [data]}
        return {"sum": data} if isinstance(data, list) else data

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.sum and self.concat:
            raise fault("a layer reads a sum or a concatenation; give one of them", "concat")
        for key in ("sum", "concat", "add"):
            names: Names = getattr(self, key)
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise fault(f"'{twice}' stands in it twice", key)
        return self

    @property
    def names(self) -> Names:
        """All outputs that are read."""
        return (*self.sum, *self.concat, *((self.times,) if self.times else ()), *self.add)


class Edges(FileModel):
    """What layers read; for those that are not listed shapes decide. `inputs` are tensors from outside."""

    format: Literal["overlapim/edges/1"]
    inputs: Names = Field(default=(), strict=False, max_length=1024)
    reads: dict[Name, Sources] = Field(default={}, max_length=4096)


def edges_of(source: str, inputs: Iterable[str], reads: Mapping[str, Sources]) -> Edges:
    """Return the edges that another program's file has. Raises InputError if there are too many."""
    try:
        return Edges(format=EDGES_FORMAT, inputs=tuple(inputs), reads=dict(reads))
    except ValidationError as error:
        raise InputError(f"{source}: {error.errors()[0]['msg']}") from None
