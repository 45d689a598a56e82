"""`overlapim bench`: measurements of the program itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ALL_CORES, HardwareName, OutDirectory, Seed, Workers
from cli.options import seconds as parse_seconds
from cli.solve import DEFAULT_HARDWARE

if TYPE_CHECKING:
    from rich.table import Table

    from solver.bench.anytime import AnytimeRow
    from solver.bench.overlap import OverlapRow

app = typer.Typer(
    no_args_is_help=True, help="Measure the program: raw results as JSON, tables on the screen."
)

Network = Annotated[str, typer.Option("--network", "-n", help="Built-in network or network file.")]

Networks = Annotated[
    list[str], typer.Option("--network", "-n", help="Built-in network or network file; again for more.")
]
Chips = Annotated[
    list[str],
    typer.Option("--hw", "-w", help="A built-in chip or a file; again for more.", show_default=True),
]
Limits = Annotated[str, typer.Option("--limits", "-t", metavar="S,S,..", help="Time limits in seconds.")]
BUILT_IN_NETWORKS = ["resnet18", "resnet50", "vgg16"]
BUILT_IN_CHIPS = ["hbm2-bitsimd", "hbm2-bitsimd-8stack", "reram-aritpim"]


@app.command()
def overlap(
    network: Network = "resnet18", hw: HardwareName = DEFAULT_HARDWARE, out: OutDirectory = None
) -> None:
    """Closed form against pairwise comparison on every edge: same answers, ratio of times side by side.

    Both start from the same two mapped layers and nothing else. The second table cuts one edge into more and
    more data spaces and shows how both ways grow with them. Writes overlap.json and overlap.md.
    """
    from rich.console import Console

    from cli.output import output_directory
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.overlap import bench_overlap

    loaded, chip = load_network(network), load_hardware(hw)
    progress = Console(stderr=True)

    def show(row: OverlapRow) -> None:
        progress.print(f"{row.producer} -> {row.consumer}: {row.ratio:,.0f} x", markup=False, highlight=False)

    with output_directory(out):
        report = bench_overlap(loaded, chip, show)
    tables = [
        _overlap_table(f"{report.network} on {report.hardware}", report.rows),
        _overlap_table("One edge, more and more data spaces", report.growth),
    ]
    closed, pairwise = report.exponents()
    notes = [
        f"median ratio {report.median_ratio:,.1f}; all equal: {'yes' if report.all_equal else 'NO'}",
        f"time grows with (pairs of data spaces)^x, x = {closed:.2f} closed, {pairwise:.2f} pairwise",
    ]
    _publish(out, "overlap", report.as_json(), tables, notes)
    if not report.all_equal:
        raise typer.Exit(1)


def _overlap_table(title: str, rows: tuple[OverlapRow, ...]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for heading in ("producer", "consumer"):
        table.add_column(heading)
    for heading in ("data spaces", "closed, us", "pairwise, us", "ratio", "equal"):
        table.add_column(heading, justify="right")
    for row in rows:
        spaces = f"{row.producer_spaces:,} x {row.consumer_spaces:,}"
        times = f"{1e6 * row.closed_s:,.0f}", f"{1e6 * row.pairwise_s:,.0f}"
        equal = "yes" if row.equal else "NO"
        names = escape(row.producer), escape(row.consumer)
        table.add_row(*names, spaces, *times, f"{row.ratio:,.0f}", equal)
    return table


@app.command()
def speed(
    network: Network = "resnet18", hw: HardwareName = DEFAULT_HARDWARE, out: OutDirectory = None
) -> None:
    """Time profiles, evaluations and candidates in this process, and whole commands from outside.

    The commands are `--help` and `solve resnet50` up to its first answer. Writes speed.json and speed.md.
    """
    from dataclasses import asdict

    from rich.table import Table

    from cli.commands_timed import first_solution, help_seconds
    from cli.output import output_directory
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.speed import bench_speed

    loaded, chip = load_network(network), load_hardware(hw)
    with output_directory(out):
        report = asdict(bench_speed(loaded, chip))
        report["help_s"] = help_seconds()
        report["first_solution_s"], report["peak_mib"] = first_solution("resnet50", hw)
    table = Table(title="Medians on one machine", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in report.items():
        table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else str(value))
    _publish(out, "speed", report, [table], [])


@app.command()
def anytime(
    network: Networks = BUILT_IN_NETWORKS,
    hw: Chips = BUILT_IN_CHIPS,
    limits: Limits = "10,60",
    seed: Seed = 0,
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Latency, bound and gap of cpsat and descent after some time, with both kinds of weights.

    Each method runs once for the longest limit; what it had at shorter ones is read from its trace. Writes
    anytime.json and anytime.md, anew after every run. Two minutes for each network, chip and kind of weights.
    """
    from cli.output import output_directory
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.anytime import bench_anytime

    chips = [load_hardware(name) for name in hw]
    pairs = [(load_network(name), chip) for name in network for chip in chips]
    seconds, cores = _limits(limits), workers or ALL_CORES
    rows: list[AnytimeRow] = []
    with output_directory(out):
        for loaded, chip in pairs:
            for weights in ("static", "shared"):
                given = chip.with_weights("static" if weights == "static" else "shared")
                for row in bench_anytime(loaded, given, seconds, seed, cores):
                    rows.append(row)
                    report: dict[str, object] = {
                        "workers": cores,
                        "rows": [row.as_json() for row in rows],
                    }
                    _publish(out, "anytime", report, [_anytime_table(rows, seconds)], [])


def _limits(text: str) -> list[float]:
    """Return the time limits of a list with commas."""
    from overlapim_files import InputError

    try:
        return sorted({parse_seconds(part) for part in text.split(",")})
    except typer.BadParameter as error:
        raise InputError(f"--limits: each {error.message}") from None


def _anytime_table(rows: list[AnytimeRow], limits: list[float]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Latency and bound in M cycles", title_justify="left")
    for heading in ("network", "chip", "weights", "method"):
        table.add_column(heading)
    for limit in limits:
        for what in ("latency", "bound", "gap"):
            table.add_column(f"{limit:g} s {what}", justify="right")
    for heading in ("candidates", "their gap", "MiB"):
        table.add_column(heading, justify="right")
    for row in rows:
        names = escape(row.network), escape(row.hardware), row.weights, row.method
        if row.refused is not None:
            table.add_row(*names, "refused")
            continue
        cells = [
            cell for x in row.readings for cell in (_millions(x.latency), _millions(x.bound), _percent(x.gap))
        ]
        number = "-" if row.candidates is None else f"{row.candidates:,}"
        table.add_row(*names, *cells, number, _percent(row.pool_gap), f"{row.peak_mib:,}")
    return table


def _millions(cycles: int | None) -> str:
    return "-" if cycles is None else f"{cycles / 1e6:,.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _publish(
    folder: Path | None, name: str, report: dict[str, object], tables: list[Table], notes: list[str]
) -> None:
    """Print the tables and notes; with a folder, keep the raw results and the same tables as Markdown."""
    from io import StringIO

    from rich.box import MARKDOWN, SIMPLE_HEAD
    from rich.console import Console

    from overlapim_files import write_text

    if folder is not None:
        page = StringIO()
        console = Console(file=page, width=200)
        for table in tables:
            table.box = MARKDOWN
            console.print(table)
        console.print(*notes, sep="\n", highlight=False)
        write_text(folder / f"{name}.json", json.dumps(report, indent=2) + "\n")
        write_text(folder / f"{name}.md", page.getvalue())
    for table in tables:
        table.box = SIMPLE_HEAD
        Console().print(table)
    Console().print(*notes, sep="\n", highlight=False)
