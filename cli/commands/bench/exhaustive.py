"""`overlapim bench exhaustive`: how often methods find the optimum of small networks."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.options import Methods, listed
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import OutDirectory, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.exhaustive import ExhaustiveResults, SmallRun

MOST = 10**5

_ABOUT = """\
How often methods find the optimum of random networks of two to four tiny layers, with branches, sums and
windows, on tiny chips of both kinds of weights: so small that the best of all plans is known, because every
one was tried. `cpsat` is given such networks whole, so it proves its answers; what it would do on large ones
this does not show.
"""


def _empty() -> ExhaustiveResults:
    from solver.bench.exhaustive import ExhaustiveResults

    return ExhaustiveResults()


def _sheet(results: ExhaustiveResults) -> Sheet:
    """Return a row for each method."""
    rows = tuple((method, *_row(runs)) for method, runs in results.by_method().items())
    headings = ("method", "networks", "optimum found", "mean excess", "largest excess", "proved", "refused")
    limits = {f"{case.what.seconds:g} nominal seconds each" for case in results.cases}
    notes = (
        *sorted(limits),
        "Excess: by how much the latency lies above the optimum. Proved: the bound is the optimum.",
        "Refused: no plan was found although there is one.",
    )
    return Sheet((Table("Against the best of all plans", headings, rows, names=1),), notes)


def _row(runs: list[SmallRun]) -> tuple[str, ...]:
    excesses = [run.excess for run in runs if run.excess is not None]
    found = sum(excess == 0 for excess in excesses) / len(runs)
    proved = sum(run.bound == run.optimum for run in runs) / len(runs)
    return (
        f"{len(runs):,}",
        f"{found:.1%}",
        f"{mean(excesses):.1%}" if excesses else "-",
        f"{max(excesses):.1%}" if excesses else "-",
        f"{proved:.1%}",
        f"{len(runs) - len(excesses):,}",
    )


EXHAUSTIVE = Benchmark("exhaustive", "Against the best of all plans", _empty, _sheet, _ABOUT)


def exhaustive_command(
    context: typer.Context,
    networks: Annotated[
        int, typer.Option("--networks", "-n", parser=integer(1, MOST), metavar="N", help="How many networks.")
    ] = 100,
    methods: Methods = "sequential,random,layerwise,descent,cpsat",
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
    conduct(EXHAUSTIVE, list(exhaustive_cases(range(networks), known, time_limit)), out, context)
