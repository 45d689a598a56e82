"""`overlapim bench network`: mapping with overlap against mapping without, column by column."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.options import BUILT_IN_NETWORKS, WEIGHTS, ChipsOption, OnlyWeights, Seeds, listed
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import ALL_CORES, MAX_SEED, OutDirectory, Workers, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.network import NetworkResults, Setting

LatenciesByColumn = dict[str, list[int]]

DEFAULT_CHIPS = ["hbm2-bitsimd", "reram-aritpim"]

_ABOUT = """\
How much faster a network runs if its mappings are chosen for overlap, against mappings chosen without. The
columns are defined in [search.md](search.md). With equal banks no layer may use more than an equal share of
all banks, in any column: the same architecture for all. With free banks only the chip is the limit. `whole
chip` is the strongest way without overlap: layers one after the other, each with all banks, and with weights
that share them.

The Fast-OverlaPIM paper (arXiv 2407.00604) reports 4.6x to 18.1x over the best mapping without overlap under
the same constraints. Its chips and its cost model are not these, so the figures say how large the effect is
here, not whether the paper's are right.
"""


def _empty() -> NetworkResults:
    from solver.bench.network import NetworkResults

    return NetworkResults()


def _sheet(results: NetworkResults) -> Sheet:
    """Return the table of speed-ups, and that of the ingredients."""
    refused = dict.fromkeys(
        f"refused: {case.what.on}, {case.what.setting} banks: {case.result.refused}"
        for case in results.cases
        if case.result.refused
    )
    seeds = {case.what.seed for case in results.cases}
    limits = {f"{case.what.seconds:g} s with {case.what.workers} workers" for case in results.cases}
    notes = (
        f"Medians of {len(seeds)} seeds; descent and cpsat have {', '.join(sorted(limits))} each.",
        "The walks and `random` run to their end, however long that takes.",
        "Every latency is that of a plan that was recomputed and checked.",
        *refused,
    )
    return Sheet((_speedups(results), _ingredients(results)), notes)


def _names(results: NetworkResults) -> list[tuple[tuple[str, ...], LatenciesByColumn]]:
    return [
        ((on.network, on.hardware, on.weights, setting), columns)
        for (on, setting), columns in results.latencies().items()
    ]


def _speedups(results: NetworkResults) -> Table:
    from solver.bench.network import COLUMNS, ORIGINAL

    rows = tuple(
        (*names, f"{columns[ORIGINAL][0] / 1e6:,.3f}", *(_speedup(columns, column) for column in COLUMNS[1:]))
        for names, columns in _names(results)
    )
    headings = ("network", "chip", "weights", "banks", f"{ORIGINAL}, M cycles", *COLUMNS[1:])
    return Table("Speed-up over best original", headings, rows, names=4)


def _speedup(columns: LatenciesByColumn, column: str) -> str:
    from solver.bench.network import ORIGINAL

    if column not in columns:
        return "-"
    return f"{columns[ORIGINAL][0] / median(columns[column]):,.2f}"


def _ingredients(results: NetworkResults) -> Table:
    from solver.bench.network import INGREDIENTS, ORIGINAL

    rows = tuple(
        (*names, *(_speedup(columns, step.column) for step in INGREDIENTS[1:]))
        for names, columns in _names(results)
    )
    headings = ("network", "chip", "weights", "banks", *(step.name for step in INGREDIENTS[1:]))
    return Table(f"Speed-up over {ORIGINAL}, one thing after another", headings, rows, names=4)


NETWORK = Benchmark("network", "What overlap-driven mapping brings", _empty, _sheet, _ABOUT)


def network_command(
    context: typer.Context,
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK]..", help="Built-in networks or files. [default: three]"),
    ] = None,
    hw: ChipsOption = DEFAULT_CHIPS,
    weights: OnlyWeights = None,
    banks: Annotated[
        str | None,
        typer.Option("--banks", parser=one_of("equal", "free"), help="Only this setting; both unless given."),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", "-t", parser=parse_seconds, metavar="SECONDS", help="Of each search."),
    ] = 10.0,
    seeds: Seeds = "0,1,2",
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Mapping without overlap against mapping for overlap, transformation, random, descent and cpsat.

    With equal banks for every layer in all columns and with free ones, and both kinds of weights. Writes
    network.json and network.md. With the defaults it takes half an hour and can be stopped at any time.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.network import SETTINGS, network_cases

    chips = [load_hardware(name) for name in hw]
    kinds = [kind for kind in WEIGHTS if weights in (None, kind)]
    settings: list[Setting] = [setting for setting in SETTINGS if banks in (None, setting)]
    cases = network_cases(
        networks=[load_network(name) for name in networks or BUILT_IN_NETWORKS],
        chips=[chip.with_weights(kind) for chip in chips for kind in kinds],
        settings=settings,
        seeds=listed("--seeds", seeds, integer(0, MAX_SEED)),
        seconds=time_limit,
        workers=workers or ALL_CORES,
    )
    conduct(NETWORK, list(cases), out, context)
