"""The files of a run: its solution, and beside it how the search went and the command that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cli.records.as_json import to_json
from cli.records.solution import InputDigests, RunRecord, input_digests
from overlapim_files import InputError, dump, load, write_text
from solver.solution import Solution

SOLUTION = "solution.yaml"
RESULT = "result.json"

TraceStep = Annotated[tuple[float, int | float, int | float | None], Field(strict=False)]


class Found(BaseModel):
    """What a report takes from a result file; `trace` is (seconds, value, bound)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    latency: int
    sequential: Annotated[int | float, Field(gt=0)]
    wall_s: float
    interrupted: bool
    trace: tuple[TraceStep, ...] = Field(min_length=1, max_length=100_000, strict=False)
    inputs: InputDigests
    command: str = ""


def found_beside(path: Path, solution: Solution) -> Found | None:
    """Return what is in the result file in the directory of a solution file; None if there is no such file.

    Raises
    ------
    InputError
        if the file cannot be read, or is of another solution.
    """
    file = path.with_name(RESULT)
    if not file.exists():
        return None
    found = load(file, Found)
    if (found.latency, found.inputs) != (solution.latency, input_digests(solution)):
        raise InputError(f"{file}: it is about another solution than {path.name}")
    return found


def write_run(directory: Path, solution: Solution, record: RunRecord) -> None:
    """Write `solution.yaml` and `result.json`. Raises InputError if that fails."""
    write_text(directory / SOLUTION, dump(solution))
    write_text(directory / RESULT, to_json(record) + "\n")
