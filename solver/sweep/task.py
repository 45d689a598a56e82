"""What one process does: solve one case, and say what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hw.hardware import Hardware
from models.network import Network
from overlapim_files import InputError, dump
from solver.account.plan import account
from solver.memory import Memory, clear_caches
from solver.run import Improvement
from solver.solve import Result, solve
from solver.stop import Ending, Stop
from solver.sweep.retarget import retargeted
from solver.sweep.spec import Question
from solver.timing.objective import Objective, Value
from solver.timing.problem import Problem
from solver.versions import versions

Outcome = Literal["solved", "refused", "failed"]
"""Whether there is a solution, the chip cannot hold the network, or something went wrong."""

TRACE = 200
"""Improvements that are kept; of more of them the last."""

TraceEntry = Annotated[tuple[float, Value, Value | None], Field(strict=False)]


class CaseFigures(BaseModel):
    """What a case came to.

    Attributes
    ----------
    latency, interval, makespan : in cycles; the last is that of all inferences.
    value, bound, sequential : of the objective: cycles, pJ or their product.
    latency_ns : the latency in nanoseconds, with refreshes.
    solve_s : wall time of the search.
    warm_start : the key of the case whose mappings the search began with, if any.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    latency: int
    latency_ns: float
    makespan: int
    value: Value
    bound: Value
    gap: float
    status: str
    ending: Ending
    sequential: Value
    interval: int
    inferences_per_s: float
    energy_pj: float | None
    standby_pj: float | None
    utilisation: float
    solve_s: float
    warm_start: str | None


class TaskRecord(BaseModel):
    """What came of a case; a file of its own.

    Attributes
    ----------
    reason : why there is no solution.
    trace : (seconds, value, bound) whenever one of them got better.
    solution_sha256 : of the text of the solution file.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    format: Literal["overlapim/sweep-task/1"] = "overlapim/sweep-task/1"
    key: str
    outcome: Outcome
    reason: str = ""
    figures: CaseFigures | None = None
    trace: Annotated[tuple[TraceEntry, ...], Field(strict=False)] = ()
    solution_sha256: str | None = None
    versions: dict[str, str | None] = {}


@dataclass(frozen=True)
class Neighbour:
    """A solution for the same network on another chip, as a file has it, and the key of its case."""

    key: str
    text: str


@dataclass(frozen=True)
class SweepTask:
    """All that a process needs to solve a case.

    Attributes
    ----------
    memory : bytes that it may take; half of what there is for the process unless given.
    """

    key: str
    network: Network
    hardware: Hardware
    question: Question
    seed: int
    neighbour: Neighbour | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Finished:
    """What came of a task, with the text of the solution file if there is one."""

    record: TaskRecord
    solution: str = ""


def solve_task(task: SweepTask) -> Finished:
    """Solve a case, in this process and thread."""
    if task.question.method == "cpsat":
        import solver.cpsat.method  # noqa: F401 - or the first search would spend its time on that
    clear_caches()
    try:
        return _solved(task)
    except InputError as error:
        return unsolved(task.key, "refused", str(error))
    except MemoryError:
        return unsolved(task.key, "failed", "the memory did not suffice")


def unsolved(key: str, outcome: Outcome, reason: str) -> Finished:
    """Return what came of a task if that is no solution."""
    return Finished(TaskRecord(key=key, outcome=outcome, reason=reason, versions=versions()))


def _solved(task: SweepTask) -> Finished:
    question = task.question
    objective = Objective(question.objective, question.inferences)
    problem = Problem(task.network, task.hardware, objective)
    start = None if task.neighbour is None else retargeted(task.neighbour.text, problem)
    stop = Stop.deterministic(question.seconds) if question.deterministic else Stop(seconds=question.seconds)
    stop = replace(stop, memory=Memory() if task.memory is None else Memory(task.memory))
    result = solve(
        task.network,
        task.hardware,
        method=question.method,
        objective=objective,
        stop=stop,
        seed=task.seed,
        warm_start=start,
    )
    text = dump(result.solution)
    return Finished(
        TaskRecord(
            key=task.key,
            outcome="solved",
            figures=_figures(problem, result, task.neighbour if start else None),
            trace=tuple(map(_entry, result.trace[-TRACE:])),
            solution_sha256=hashlib.sha256(text.encode()).hexdigest(),
            versions=versions(),
        ),
        text,
    )


def _entry(step: Improvement) -> tuple[float, Value, Value | None]:
    return round(step.seconds, 3), step.value, step.bound


def _figures(problem: Problem, result: Result, neighbour: Neighbour | None) -> CaseFigures:
    found = account(problem, result.plan)
    return CaseFigures(
        latency=result.latency,
        latency_ns=problem.hardware.nanoseconds(result.latency),
        makespan=found.makespan,
        value=result.value,
        bound=result.bound,
        gap=result.gap,
        status=result.status,
        ending=result.ending,
        sequential=result.sequential,
        interval=found.interval,
        inferences_per_s=found.inferences_per_second,
        energy_pj=found.energy.total if found.energy else None,
        standby_pj=found.energy.standby if found.energy else None,
        utilisation=found.utilisation,
        solve_s=round(result.seconds, 3),
        warm_start=neighbour.key if neighbour else None,
    )
