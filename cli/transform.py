"""`overlapim transform`: give the layers of a solution better orders of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.interrupt import interruptible
from cli.options import OutDirectory, SolutionFile, seconds

if TYPE_CHECKING:
    from cli.tables import Fact
    from solver.problem import Problem
    from solver.schedule import Plan

DEFAULT_SECONDS = 10.0

TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit",
        "-t",
        parser=seconds,
        metavar="SECONDS",
        help="Wall time of the whole command, after which the best orders so far are taken.",
    ),
]


def transform(
    context: typer.Context,
    solution: SolutionFile,
    time_limit: TimeLimit = DEFAULT_SECONDS,
    out: OutDirectory = None,
) -> None:
    """Let layers take their blocks as what they read becomes ready, where the network ends earlier for it.

    Mappings and banks stay as they are in the file, which is recomputed first; the result is never worse.
    Most networks need less than a second; Ctrl-C and the time limit end it with the best so far. With --out,
    DIR/solution.yaml is written.

    Example:

      overlapim transform results/solution.yaml -o better
    """
    from cli.console import console, say
    from cli.output import output_directory
    from cli.tables import show_solution
    from overlapim_files import dump, write_text
    from solver.account.plan import account
    from solver.problem import Problem
    from solver.solution import from_plan, read_verified, verify
    from solver.stop import Stop
    from solver.transform import improve

    with interruptible() as interrupt, output_directory(out):
        given, plan = read_verified(solution)
        problem = Problem(given.network, given.hardware)
        stop = Stop(seconds=time_limit, interrupt=interrupt, started=context.obj)
        better = improve(problem, plan, stop)
        if better is not plan:
            given = from_plan(problem, better, "transform", given.seed, None, None)
            verify(given)
        if out is not None:
            write_text(out / "solution.yaml", dump(given))
    show_solution(account(problem, better), given)
    console().print("\n".join(f"{name:<12}{text}" for name, text in _changes(problem, plan, better)))
    if out is not None:
        say(f"written: {out / 'solution.yaml'}")


def _changes(problem: Problem, before: Plan, after: Plan) -> Iterator[Fact]:
    """Say how much earlier the network ends and which layers have another order for it."""
    from cli.console import printable
    from cli.tables import number
    from solver.transform import movable

    less = (before.latency - after.latency) / before.latency
    yield "before", f"{number(before.latency)} cycles; now it is {less:.1%} less" if less else "the same"
    layers = zip(problem.layers, before.timeline.layers, after.timeline.layers, strict=True)
    changed = [printable(layer.name) for layer, old, new in layers if old.order is not new.order]
    able = sum(map(movable, before.profiles))
    none = f"no layer, of {able} in which other orders are allowed"
    if less and not changed:
        none += "; layers start as soon as data and banks are there"
    yield "reordered", ", ".join(changed) or none
