"""`overlapim bench`: measurements of the program itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.options import ALL_CORES, MAX_SEED, HardwareName, OutDirectory, Workers, integer, one_of
from cli.options import seconds as parse_seconds
from cli.solve import DEFAULT_HARDWARE

if TYPE_CHECKING:
    from rich.table import Table

    from hw.hardware import Weights
    from solver.bench.anytime import AnytimeRow
    from solver.bench.overlap import OverlapRow

Item = TypeVar("Item", int, float, str)
WEIGHTS: tuple[Weights, ...] = ("static", "shared")

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
Methods = Annotated[str, typer.Option("--methods", metavar="M,M,..", help="Anytime methods.")]
Seeds = Annotated[str, typer.Option("--seeds", "-s", metavar="N,N,..", help="Seeds of random choices.")]
OnlyWeights = Annotated[
    str | None,
    typer.Option("--weights", parser=one_of("static", "shared"), help="Only this kind; both unless given."),
]
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
    methods: Methods = "cpsat,descent",
    seeds: Seeds = "0",
    weights: OnlyWeights = None,
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Latency, bound and gap of anytime methods after some time, with both kinds of weights.

    Each method runs once for the longest limit; what it had at shorter ones is read from its trace. Writes
    anytime.json and anytime.md, anew after every run. A run takes the longest limit: two methods on three
    networks and three chips with both kinds of weights take 36 minutes.
    """
    import platform
    from itertools import product

    from rich.console import Console

    from cli.interrupt import interruptible
    from cli.output import output_directory
    from hw.library import load_hardware
    from models.library import load_network
    from solver.bench.anytime import bench_anytime

    seconds, cores = _listed("--limits", limits, parse_seconds), workers or ALL_CORES
    numbers = _listed("--seeds", seeds, integer(0, MAX_SEED))
    names = _listed("--methods", methods, one_of("cpsat", "descent"))
    loaded, chips = [load_network(name) for name in network], [load_hardware(name) for name in hw]
    kinds: list[Weights] = [kind for kind in WEIGHTS if weights in (None, kind)]
    progress = Console(stderr=True)
    rows: list[AnytimeRow] = []
    report: dict[str, object] = {
        "machine": {"system": platform.platform(), "python": platform.python_version(), "cores": ALL_CORES},
        "workers": cores,
        "rows": [],
    }
    with output_directory(out), interruptible() as interrupt:
        for one, chip, kind, seed in product(loaded, chips, kinds, numbers):
            given = chip.with_weights(kind)
            for row in bench_anytime(one, given, names, seconds, seed, cores, interrupt):
                rows.append(row)
                report["rows"] = [row.as_json() for row in rows]
                progress.print(_said(row), markup=False, highlight=False)
                _keep(out, "anytime", report, [_anytime_table(rows, seconds)], _anytime_notes(rows, seconds))
            if interrupt.is_set():
                break
    _show([_anytime_table(rows, seconds)], _anytime_notes(rows, seconds))
    if interrupt.is_set():
        progress.print(f"interrupted by {interrupt.name}: the runs up to then", highlight=False)
        raise typer.Exit(130)


def _listed(option: str, text: str, parse: Callable[[object], Item]) -> list[Item]:
    """Return the different items of a list with commas, in order of size or alphabet."""
    from overlapim_files import InputError

    try:
        return sorted({parse(part) for part in text.split(",")})
    except typer.BadParameter as error:
        raise InputError(f"{option}: each {error.message}") from None


def _said(row: AnytimeRow) -> str:
    name = f"{row.network} on {row.hardware}, {row.weights}, {row.method}, seed {row.seed}"
    return f"{name}: {row.refused or f'{row.readings[-1].latency:,} cycles'}"


def _anytime_notes(rows: list[AnytimeRow], limits: list[float]) -> list[str]:
    notes = [
        f"Each method ran once, for {limits[-1]:g} s; what it had at shorter limits is read from its trace.",
        "`to descent`: latency at the longest limit over that of descent with the same seed.",
        "`MiB`: the most that the process, or one it started, has had since the benchmark began.",
    ]
    reasons = {
        f"{row.network} on {row.hardware}, {row.weights}: {row.refused}": None for row in rows if row.refused
    }
    return notes + [f"refused: {reason}" for reason in reasons]


def _to_descent(row: AnytimeRow, rows: list[AnytimeRow]) -> str:
    case = (row.network, row.hardware, row.weights, row.seed)
    for other in rows:
        same = (other.network, other.hardware, other.weights, other.seed) == case
        if same and other.method == "descent" and other.readings and other is not row:
            mine, theirs = row.readings[-1].latency, other.readings[-1].latency
            return f"{mine / theirs:.4f}" if mine and theirs else "-"
    return "-"


def _anytime_table(rows: list[AnytimeRow], limits: list[float]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Latency and bound in M cycles", title_justify="left")
    for heading in ("network", "chip", "weights", "method", "seed"):
        table.add_column(heading)
    for limit in limits:
        for what in ("latency", "bound", "gap"):
            table.add_column(f"{limit:g} s {what}", justify="right")
    for heading in ("candidates", "their gap", "to descent", "MiB"):
        table.add_column(heading, justify="right")
    for row in rows:
        names = escape(row.network), escape(row.hardware), row.weights, row.method, str(row.seed)
        if row.refused is not None:
            table.add_row(*names, "refused")
            continue
        cells = [
            cell for x in row.readings for cell in (_millions(x.latency), _millions(x.bound), _percent(x.gap))
        ]
        number = "-" if row.candidates is None else f"{row.candidates:,}"
        shares = _percent(row.pool_gap), _to_descent(row, rows)
        table.add_row(*names, *cells, number, *shares, f"{row.peak_mib:,}")
    return table


def _millions(cycles: int | None) -> str:
    return "-" if cycles is None else f"{cycles / 1e6:,.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def _publish(
    folder: Path | None, name: str, report: dict[str, object], tables: list[Table], notes: list[str]
) -> None:
    """Print the tables and notes; with a folder, keep the raw results and the same tables as Markdown."""
    _keep(folder, name, report, tables, notes)
    _show(tables, notes)


def _keep(
    folder: Path | None, name: str, report: dict[str, object], tables: list[Table], notes: list[str]
) -> None:
    from io import StringIO

    from rich.box import MARKDOWN
    from rich.console import Console

    from overlapim_files import write_text

    if folder is None:
        return
    page = StringIO()
    console = Console(file=page, width=250)
    for table in tables:
        table.box = MARKDOWN
        console.print(table)
    console.print(*notes, sep="\n", highlight=False, markup=False, soft_wrap=True)
    write_text(folder / f"{name}.json", json.dumps(report, indent=2) + "\n")
    write_text(folder / f"{name}.md", page.getvalue())


def _show(tables: list[Table], notes: list[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console

    for table in tables:
        table.box = SIMPLE_HEAD
        Console().print(table)
    Console().print(*notes, sep="\n", highlight=False, markup=False)
