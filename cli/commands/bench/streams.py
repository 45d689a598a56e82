"""`overlapim bench streams`: throughput and energy of streams, beside the whole chip one layer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.options import ChipsOption, NetworksOption, listed
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import MAX_INFERENCES, OutDirectory, integer
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.streams import StreamResults, StreamRun

NETWORKS = ["resnet18", "resnet50", "vgg16", "bert-base", "gpt2"]
CHIPS = ["hbm2-bitsimd-8stack", "reram-aritpim"]

_ABOUT = """\
Inferences that follow each other, two ways beside each other. *Apart*: with static weights every layer has
banks of its own and works on one inference after the other; `cpsat` looks for the least time of all `N` of
them. *In turn*: with shared weights every layer has the whole chip while it runs, in its own fastest mapping;
the layers of one inference come one after the other (`sequential`), then those of the next.

Per second is `N` over the time until the last one ends. Energy is that of one inference, with its share of
the standby of the whole chip.
"""


def _empty() -> StreamResults:
    from solver.bench.streams import StreamResults

    return StreamResults()


def _sheet(results: StreamResults) -> Sheet:
    """Return a row for each network, chip, way and number of inferences."""
    rows = []
    for names, ways in results.side_by_side().items():
        in_turn = ways.get("in turn", {}).get(1)
        if in_turn is not None:
            rows.append((*names, "in turn", "any", *_cells(in_turn, 1, None)))
        for count, run in sorted(ways.get("apart", {}).items()):
            rows.append((*names, "apart", f"{count:,}", *_cells(run, count, in_turn)))
    figures = ("latency", "interval", "gap", "per second", "to in turn", "energy", "to in turn")
    limits = sorted({case.what.seconds for case in results.cases if case.what.way == "apart"})
    refused = dict.fromkeys(
        f"refused: {case.what.on}: {case.result.refused}" for case in results.cases if case.result.refused
    )
    notes = (
        "Latencies and intervals in M cycles. Gap: by what share the bound on the time of all lies below it.",
        *(f"Apart: {limit:g} nominal seconds each, seed 0, one process." for limit in limits),
        *refused,
    )
    title = "Streams, and the whole chip one layer at a time"
    columns = ("network", "chip", "way", "N", *figures)
    return Sheet((Table(title, columns, tuple(rows), names=3),), notes)


def _cells(run: StreamRun, count: int, in_turn: StreamRun | None) -> tuple[str, ...]:
    """Return the figures of a run, and how many times those of the other way they are."""
    from cli.show.tables import joules, per_second

    gap = 1 - run.bound / (run.latency + (count - 1) * run.interval)
    pace, energy = "-", "-"
    if in_turn is not None:
        pace = f"{count * in_turn.makespan_ns / run.makespan_ns:.2f}x"
        if run.energy_pj is not None and in_turn.energy_pj:
            energy = f"{run.energy_pj / in_turn.energy_pj:.2f}x"
    return (
        f"{run.latency / 1e6:.4g}",
        f"{run.interval / 1e6:.4g}",
        f"{gap:.0%}",
        per_second(count * 1e9 / run.makespan_ns),
        pace,
        "-" if run.energy_pj is None else joules(run.energy_pj),
        energy,
    )


STREAMS = Benchmark("streams", "Streams, and the whole chip one layer at a time", _empty, _sheet, _ABOUT)


def streams_command(
    context: typer.Context,
    network: NetworksOption = NETWORKS,
    hw: ChipsOption = CHIPS,
    inferences: Annotated[
        str, typer.Option("--inferences", "-N", metavar="N,N,..", help="How many follow each other.")
    ] = "1,8,1000",
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit",
            "-t",
            parser=parse_seconds,
            metavar="SECONDS",
            help="Nominal seconds of each search.",
        ),
    ] = 30.0,
    out: OutDirectory = None,
) -> None:
    """Throughput and energy of streams on banks of their own, beside the whole chip one layer at a time.

    Writes streams.json and streams.md. With the defaults it takes half an hour.
    """
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.streams import stream_cases

    counts = listed("--inferences", inferences, integer(1, MAX_INFERENCES))
    networks, chips = [load_network(name) for name in network], [load_hardware(name) for name in hw]
    conduct(STREAMS, list(stream_cases(networks, chips, counts, time_limit)), out, context)
