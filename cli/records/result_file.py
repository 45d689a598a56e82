"""The files of a run: its solution, and beside it how the search went and the command that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cli.records.as_json import to_json
from cli.records.solution import InputDigests, RunRecord, input_digests
from overlapim_files import InputError, dump, load, write_text
from solver.solution import Solution
from solver.solve import Result

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


def write_run(directory: Path, result: Result, record: RunRecord) -> list[Path]:
    """Write `solution.yaml`, `result.json`, and the next best solutions as `solution.2.yaml` and so on.

    Returns
    -------
    The files.

    Raises
    ------
    InputError
        if that fails.
    """
    names = [SOLUTION, *(f"solution.{i}.yaml" for i in range(2, 2 + len(result.runners_up)))]
    for name, solution in zip(names, (result.solution, *result.runners_up), strict=True):
        write_text(directory / name, dump(solution))
    write_text(directory / RESULT, to_json(record) + "\n")
    return [directory / name for name in (SOLUTION, RESULT, *names[1:])]
