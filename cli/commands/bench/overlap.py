"""`overlapim bench overlap`: the closed form against pairwise comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.commands.bench.options import NetworkOption
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import DEFAULT_HARDWARE, HardwareName, OutDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from solver.bench.overlap import MeasuredEdge, OverlapResults

_ABOUT = """\
How long it takes to find what one layer needs of another: with the closed form (docs/model.md), and by
comparing all data spaces of both, which is how it was done before. Both are given the same two mapped layers
and nothing else, on every edge of a network under the mappings of `sequential`; their answers are compared.
The closed form runs seven times, each time from nothing, and its median counts; the pairwise comparison runs
once. The last table cuts one edge into more and more data spaces, by taking columns away from the banks.

The pairwise comparison is this project's own, in numpy on packed bits, and answers for all blocks at once.
Another implementation would have another factor; that one grows with the number of data spaces and the other
does not, it shares.
"""


def _empty() -> OverlapResults:
    from solver.bench.overlap import OverlapResults

    return OverlapResults()


def _sheet(results: OverlapResults) -> Sheet:
    """Return a table for each network, and one for each edge that was cut."""
    from solver.bench.overlap import exponents, median_ratio

    tables, notes = [], []
    for on, edges in results.edges().items():
        tables.append(_table(str(on), edges))
        notes.append(f"{on}: median ratio {median_ratio(edges):,.1f}")
        growth = results.growth(on)
        if len(growth) > 1:
            tables.append(_table(f"{on}: one edge, more and more data spaces", growth))
            closed, pairwise = exponents(growth)
            grows = (
                f"time grows with (pairs of data spaces)^x, x = {closed:.2f} closed, {pairwise:.2f} pairwise"
            )
            notes.append(f"{on}: {grows}")
    notes.append(f"all equal: {'yes' if results.all_equal else 'NO'}")
    return Sheet(tuple(tables), tuple(notes))


def _table(title: str, edges: Sequence[MeasuredEdge]) -> Table:
    columns = ("producer", "consumer", "data spaces", "closed, us", "pairwise, us", "ratio", "equal")
    rows = []
    for what, result in ((case.what, case.result) for case in edges):
        spaces = f"{result.producer_spaces:,} x {result.consumer_spaces:,}"
        times = f"{1e6 * result.closed_s:,.0f}", f"{1e6 * result.pairwise_s:,.0f}"
        equal = "yes" if result.equal else "NO"
        rows.append((what.producer, what.consumer, spaces, *times, f"{result.ratio:,.0f}", equal))
    return Table(title, columns, tuple(rows), names=2)


OVERLAP = Benchmark("overlap", "Finding overlap: closed form and pairwise comparison", _empty, _sheet, _ABOUT)


def overlap_command(
    context: typer.Context,
    network: NetworkOption = "resnet18",
    hw: HardwareName = DEFAULT_HARDWARE,
    out: OutDirectory = None,
) -> None:
    """Closed form against pairwise comparison on every edge: same answers, ratio of times side by side.

    Both start from the same two mapped layers and nothing else. The second table cuts one edge into more and
    more data spaces and shows how both ways grow with them. Writes overlap.json and overlap.md.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.overlap import overlap_cases

    cases = list(overlap_cases(load_network(network), load_hardware(hw)))
    if not conduct(OVERLAP, cases, out, context).all_equal:
        raise typer.Exit(1)
