"""`overlapim bench exhaustive`: how often methods find the optimum of small networks."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.commands.bench.options import Methods, listed
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import MAX_INFERENCES, MEASURES, OutDirectory, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.exhaustive import ExhaustiveResults, SmallRun
    from solver.timing.objective import Measure, Objective

MOST = 10**5

_ABOUT = """\
How often methods find the optimum of random networks of two to four tiny layers, with branches, sums and
windows, on tiny chips of all kinds of weights: so small that the best of all plans is known, because every
one was tried. `cpsat` is given such networks whole, so it proves its answers; what it would do on large ones
this does not show. Plans for several inferences in a row are all tried for static weights only.
"""


def _empty() -> ExhaustiveResults:
    from solver.bench.exhaustive import ExhaustiveResults

    return ExhaustiveResults()


def _sheet(results: ExhaustiveResults) -> Sheet:
    """Return a row for each method, objective and kind of weights."""
    alike = results.alike()
    keys = sorted(alike, key=lambda key: (key[0], key[1].measure, key[1].inferences, key[2]))
    rows = tuple((key[0], _named(key[1]), key[2], *_row(alike[key])) for key in keys)
    headings = ("method", "objective", "weights", "networks", "optimum found", "mean excess")
    counts = ("largest excess", "proved", "given up", "refused", "wrong")
    limits = {f"{case.what.seconds:g} nominal seconds each" for case in results.cases}
    notes = (
        *sorted(limits),
        "Excess: by how much the value lies above the optimum. Proved: the bound is the value.",
        "Given up: not all plans were tried, so that there may be a better one than the best of those.",
        "Refused: no plan was found although there is one.",
        "Wrong: a bound above a plan, or a plan better than all.",
    )
    table = Table("Against the best of all plans", (*headings, *counts), rows, names=3)
    return Sheet((table,), notes)


def _named(objective: Objective) -> str:
    """Return an objective as `--objectives` gives it."""
    many = f":{objective.inferences}" if objective.inferences > 1 else ""
    return objective.measure + many


def _row(runs: list[SmallRun]) -> tuple[str, ...]:
    excesses = [run.excess for run in runs if run.excess is not None]
    found = sum(excess <= 0 for excess in excesses) / len(runs)
    return (
        f"{len(runs):,}",
        f"{found:.1%}",
        f"{mean(excesses):.1%}" if excesses else "-",
        f"{max(excesses):.1%}" if excesses else "-",
        f"{sum(run.proved for run in runs) / len(runs):.1%}",
        f"{sum(not run.tried for run in runs):,}",
        f"{len(runs) - len(excesses):,}",
        f"{sum(run.wrong for run in runs):,}",
    )


EXHAUSTIVE = Benchmark("exhaustive", "Against the best of all plans", _empty, _sheet, _ABOUT)


def exhaustive_command(
    context: typer.Context,
    networks: Annotated[
        int, typer.Option("--networks", "-n", parser=integer(1, MOST), metavar="N", help="How many networks.")
    ] = 100,
    methods: Methods = "sequential,random,layerwise,descent,cpsat",
    objectives: Annotated[
        str,
        typer.Option(
            "--objectives",
            metavar="O,O,..",
            help="What is minimised: makespan, energy or edp, of N inferences with :N behind it.",
        ),
    ] = "makespan",
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit", "-t", parser=parse_seconds, metavar="SECONDS", help="Nominal seconds of each run."
        ),
    ] = 3.0,
    out: OutDirectory = None,
) -> None:
    """How often each method finds the optimum of random small networks, and how far it is from it otherwise.

    Writes exhaustive.json and exhaustive.md. With the defaults it takes some minutes.
    """
    from solver.bench.exhaustive import exhaustive_cases
    from solver.methods import METHODS

    known = listed("--methods", methods, one_of(*METHODS))
    aims = [_objective(own) for own in listed("--objectives", objectives, _parsed)]
    conduct(EXHAUSTIVE, list(exhaustive_cases(range(networks), aims, known, time_limit)), out, context)


def _parsed(given: object) -> str:
    """Return an objective as text, if it is one."""
    measure, colon, count = str(given).partition(":")
    one_of(*MEASURES)(measure)
    return f"{measure}:{integer(1, MAX_INFERENCES)(count)}" if colon else measure


def _objective(text: str) -> Objective:
    from solver.timing.objective import Objective

    measure, _, count = text.partition(":")
    return Objective(cast("Measure", measure), int(count or 1))
