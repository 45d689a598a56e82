"""`overlapim bench runtime`: the whole search with the pairwise analysis in place of the closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.options import BUILT_IN_NETWORKS, ChipsOption, NetworksOption
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import DEFAULT_HARDWARE, OutDirectory, integer

if TYPE_CHECKING:
    from solver.bench.runtime import RuntimeResults

MOST = 10**12

_ABOUT = """\
How much longer the search takes if overlap is found as it was before the closed form, by comparing every
data space of a layer with every one of its producers. Both walk forward through the same network, choose for
each layer among the same few mappings, and must choose the same; each layer has banks of its own. `analysis`
is the ratio of the times for choosing, `search` counts the time for making the mappings on both sides. The
closed form begins with no table at hand. Layers with too many pairs of data spaces are left out on both
sides: the table says how many were timed.

The Fast-OverlaPIM paper (arXiv 2407.00604) reports 3.4x to 323.1x for its framework against the one before.
Both programs are others than these two, and the ratio grows with the number of candidates and data spaces.
"""


def _empty() -> RuntimeResults:
    from solver.bench.runtime import RuntimeResults

    return RuntimeResults()


def _sheet(results: RuntimeResults) -> Sheet:
    """Return the table of all walks."""
    rows = tuple(
        (
            case.what.on.network,
            case.what.on.hardware,
            f"{case.result.timed} of {case.result.layers}",
            f"{case.result.analyses:,}",
            f"{case.result.mapping_s:,.2f}",
            f"{case.result.closed_s:,.3f}",
            f"{case.result.pairwise_s:,.1f}",
            f"{case.result.analysis_ratio:,.0f}",
            f"{case.result.ratio:,.1f}",
            "yes" if case.result.equal else "NO",
        )
        for case in results.cases
    )
    headings = (
        "network",
        "chip",
        "layers timed",
        "operands",
        "mappings, s",
        "closed, s",
        "pairwise, s",
        "analysis",
        "search",
        "same choices",
    )
    limits = {f"{case.what.candidates} mappings for each layer" for case in results.cases}
    return Sheet(
        (Table("Pairwise time over closed-form time", headings, rows, names=2),), tuple(sorted(limits))
    )


RUNTIME = Benchmark("runtime", "Searching with either analysis of overlap", _empty, _sheet, _ABOUT)


def runtime_command(
    context: typer.Context,
    network: NetworksOption = BUILT_IN_NETWORKS,
    hw: ChipsOption = [DEFAULT_HARDWARE],  # noqa: B006
    candidates: Annotated[
        int,
        typer.Option("--candidates", parser=integer(1, 1000), metavar="N", help="Mappings for each layer."),
    ] = 3,
    most_pairs: Annotated[
        int,
        typer.Option(
            "--most-pairs",
            parser=integer(1, MOST),
            metavar="N",
            help="Pairs of data spaces of one candidate beyond which a layer is left out.",
        ),
    ] = 10**9,
    out: OutDirectory = None,
) -> None:
    """The same layerwise search with pairwise analysis and with the closed form: choices and run times.

    Writes runtime.json and runtime.md. With the defaults it takes some minutes for each network.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.runtime import runtime_cases

    cases = runtime_cases(
        [load_network(name) for name in network], [load_hardware(name) for name in hw], candidates, most_pairs
    )
    conduct(RUNTIME, list(cases), out, context)
