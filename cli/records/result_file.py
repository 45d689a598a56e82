"""What a search left behind beside its solution: how it went, and the command that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from overlapim_files import InputError, digest, load
from solver.solution import Solution

Step = Annotated[tuple[float, int, int | None], Field(strict=False)]


class Inputs(BaseModel):
    """What the network and the chip were, as `digest` has it."""

    network: str
    hardware: str


class Found(BaseModel):
    """What a report takes from a result file; `trace` is (seconds, latency, bound)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    latency: int
    sequential: Annotated[int, Field(ge=1)]
    wall_s: float
    interrupted: bool
    trace: tuple[Step, ...] = Field(min_length=1, max_length=100_000, strict=False)
    inputs: Inputs
    command: str = ""


def found_beside(path: Path, solution: Solution) -> Found | None:
    """Return what is in the result file in the directory of a solution file; None if there is no such file.

    Raises
    ------
    InputError
        if the file cannot be read, or is of another solution.
    """
    file = path.with_name("result.json")
    if not file.exists():
        return None
    found = load(file, Found)
    inputs = Inputs(network=digest(solution.network), hardware=digest(solution.hardware))
    if (found.latency, found.inputs) != (solution.latency, inputs):
        raise InputError(f"{file}: it is about another solution than {path.name}")
    return found
