"""`overlapim bench anytime`: latency, bound and gap of methods over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.bench.options import (
    BUILT_IN_CHIPS,
    BUILT_IN_NETWORKS,
    Chips,
    Limits,
    Methods,
    Networks,
    OnlyWeights,
    Seeds,
    listed,
)
from cli.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import ALL_CORES, MAX_SEED, OutDirectory, Workers, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from hw.hardware import Weights
    from solver.bench.anytime import AnytimeResults, MeasuredRun

WEIGHTS: tuple[Weights, ...] = ("static", "shared")

ABOUT = """\
What methods have after some time: the best latency, the best proved bound, and the gap between the two.
"""


def _empty() -> AnytimeResults:
    from solver.bench.anytime import AnytimeResults

    return AnytimeResults()


def sheet(results: AnytimeResults) -> Sheet:
    """Return the table of all runs."""
    return Sheet((_table(results),), _notes(results))


def _table(results: AnytimeResults) -> Table:
    limits = sorted({limit for case in results.cases for limit in case.what.limits})
    columns = ["network", "chip", "weights", "method", "seed"]
    columns += [f"{limit:g} s {what}" for limit in limits for what in ("latency", "bound", "gap")]
    columns += ["candidates", "their gap", "MiB"]
    rows = tuple(_row(case, limits) for case in results.cases if case.result.refused is None)
    return Table("Latency and bound in M cycles", tuple(columns), rows, names=4)


def _row(case: MeasuredRun, limits: list[float]) -> tuple[str, ...]:
    what, result = case.what, case.result
    names = what.on.network, what.on.hardware, what.on.weights, what.method, str(what.seed)
    # The last step may end a little after the limit, and what it found is the answer all the same.
    given = [result.at(limit) if limit < what.seconds else result.answer for limit in limits]
    cells: list[str] = []
    for limit, reading in zip(limits, given, strict=True):
        known = (_millions(reading.latency), _millions(reading.bound), _percent(reading.gap))
        cells += known if limit <= what.seconds else ("-", "-", "-")
    number = "-" if result.candidates is None else f"{result.candidates:,}"
    return *names, *cells, number, _percent(result.pool_gap), f"{result.peak_mib:,}"


def _millions(cycles: int | None) -> str:
    return "-" if cycles is None else f"{cycles / 1e6:,.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _notes(results: AnytimeResults) -> tuple[str, ...]:
    notes = [
        "Each run takes the longest limit; what it had at shorter ones is read from its trace.",
        "MiB: the most that the process, or one it started, had had by the end of the run.",
    ]
    refused = dict.fromkeys(
        f"refused: {case.what.on}: {case.result.refused}" for case in results.cases if case.result.refused
    )
    return (*notes, *refused)


BENCHMARK = Benchmark("anytime", _empty, sheet, ABOUT)


def anytime(
    context: typer.Context,
    network: Networks = BUILT_IN_NETWORKS,
    hw: Chips = BUILT_IN_CHIPS,
    limits: Limits = "10,60",
    methods: Methods = "cpsat,descent,layerwise,random",
    seeds: Seeds = "0,1,2",
    weights: OnlyWeights = None,
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Latency, bound and gap of methods over time, with several seeds and both kinds of weights.

    Each run takes the longest limit at most; what it had at shorter ones is read from its trace. Writes
    anytime.json, anytime.md and plots. With the defaults it takes three hours and can be stopped at any time.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.anytime import anytime_cases
    from solver.solve import METHODS

    chips = [load_hardware(name) for name in hw]
    kinds = [kind for kind in WEIGHTS if weights in (None, kind)]
    cases = anytime_cases(
        networks=[load_network(name) for name in network],
        chips=[chip.with_weights(kind) for chip in chips for kind in kinds],
        methods=listed("--methods", methods, one_of(*METHODS)),
        seeds=listed("--seeds", seeds, integer(0, MAX_SEED)),
        workers=workers or ALL_CORES,
        limits=listed("--limits", limits, parse_seconds),
    )
    conduct(BENCHMARK, list(cases), out, context)
