"""`overlapim transform`: give the layers of a solution better orders of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer, answering
from cli.interrupt import interruptible
from cli.options import DEFAULT_SECONDS, OutDirectory, SolutionFile, seconds

if TYPE_CHECKING:
    from cli.records.solution import FileRecord
    from cli.show.facts import Fact
    from solver.schedule.plan import Plan
    from solver.timing.problem import Problem

TransformTimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        "-t",
        parser=seconds,
        metavar="SECONDS",
        help="Wall time of the whole command, after which the best orders so far are taken.",
    ),
]


@dataclass(frozen=True)
class Transformed:
    """What the transformation came to: the latency before, layers with another order, and what is so now."""

    before: int
    reordered: tuple[str, ...]
    solution: FileRecord


@answering
def transform_command(
    context: typer.Context,
    solution: SolutionFile,
    time_limit: TransformTimeLimit = DEFAULT_SECONDS,
    out: OutDirectory = None,
) -> None:
    """Let layers take their blocks as what they read becomes ready, where the network ends earlier for it.

    Mappings and banks stay as they are in the file, which is recomputed first; the result is never worse.
    Most networks need less than a second; Ctrl-C and the time limit end it with the best so far. With --out,
    DIR/solution.yaml is written.

    Example:

      overlapim transform results/solution.yaml -o better
    """
    from cli.output import output_directory
    from cli.records.solution import file_record
    from cli.show.console import console, say
    from cli.show.facts import fact_lines
    from cli.show.tables import show_solution
    from overlapim_files import dump, write_text
    from solver.account.plan import account
    from solver.maxplus.latest import postpone
    from solver.schedule.transform import improve, movable
    from solver.solution import from_plan, read_verified, verify
    from solver.stop import Stop
    from solver.timing.problem import Problem

    with interruptible() as interrupt, output_directory(out):
        given, plan = read_verified(solution)
        problem = Problem(given.network, given.hardware)
        stop = Stop(seconds=time_limit, interrupt=interrupt, started=context.obj)
        better = improve(problem, plan, stop)
        if better is not plan:
            better = postpone(problem, better)
            given = from_plan(problem, better, "transform", given.seed)
            verify(given)
        if out is not None:
            write_text(out / "solution.yaml", dump(given))
    shown = account(problem, better)
    record = Transformed(plan.latency, tuple(_reordered(problem, plan, better)), file_record(given, shown))

    def show() -> None:
        show_solution(shown, given)
        changes = _changes(record, sum(map(movable, plan.profiles)))
        console().print(fact_lines(changes))

    answer(record, show)
    if out is not None:
        say(f"written: {out / 'solution.yaml'}")


def _reordered(problem: Problem, before: Plan, after: Plan) -> Iterator[str]:
    """Yield the layers that have another order."""
    for layer, old, new in zip(problem.layers, before.timeline.layers, after.timeline.layers, strict=True):
        if old.order is not new.order:
            yield layer.name


def _changes(record: Transformed, able: int) -> Iterator[Fact]:
    """Say how much earlier the network ends and which layers have another order, of those that may."""
    from cli.show.console import printable
    from cli.show.tables import number

    less = (record.before - record.solution.latency) / record.before
    yield "before", f"{number(record.before)} cycles; now it is {less:.1%} less" if less else "the same"
    none = f"no layer, of {able} in which other orders are allowed"
    if less and not record.reordered:
        none += "; only releases had held it up"
    yield "reordered", ", ".join(map(printable, record.reordered)) or none
