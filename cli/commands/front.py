"""`overlapim front`: plans between which none is better in latency, interval and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.amounts import size
from cli.answers import answer, answering
from cli.extras import needed
from cli.interrupt import Interrupt, interruptible
from cli.networks import (
    AsPost,
    BatchSize,
    DimNames,
    EdgesFile,
    Extents,
    FileOptions,
    Strict,
    Until,
    WeightsFrom,
    given_network,
)
from cli.options import (
    ALL_CORES,
    DEFAULT_HARDWARE,
    HardwareName,
    MemoryLimit,
    NetworkName,
    OutDirectory,
    Seed,
    TimeLimit,
    WeightsOption,
    Workers,
)

if TYPE_CHECKING:
    from hw.hardware import Hardware, Weights
    from solver.front import Front, FrontAxis, FrontPoint
    from solver.stop import Stop

FIGURES = ("latency", "interval", "energy")


def _figures(given: object) -> str:
    """Return two or three figures, separated by commas, each once."""
    names = tuple(dict.fromkeys(str(given).split(",")))
    if not set(names) <= set(FIGURES) or len(names) < 2:
        raise typer.BadParameter(f"must be two or three of {', '.join(FIGURES)}, not {str(given)[:40]!r}")
    return ",".join(names)


Over = Annotated[
    str | None,
    typer.Option(
        "--over",
        parser=_figures,
        metavar="F,F[,F]",
        help="What counts: two or three of latency, interval and energy; all that the chip has figures for "
        "unless given.",
    ),
]


@dataclass(frozen=True)
class FrontLine:
    """One plan of a front; the energy is None on a chip without figures."""

    latency: int
    interval: int
    energy_pj: float | None
    seconds: float
    inferences_per_s: float
    file: str | None


@dataclass(frozen=True)
class FrontRecord:
    """A front: its plans, and what none is below."""

    network: str
    hardware: str
    over: tuple[str, ...]
    least: dict[str, float]
    solves: int
    points: tuple[FrontLine, ...]


@answering
def front_command(
    context: typer.Context,
    network: NetworkName,
    hw: HardwareName = DEFAULT_HARDWARE,
    weights: WeightsOption = None,
    dim: Extents = None,
    until: Until = None,
    as_post: AsPost = None,
    weights_from: WeightsFrom = None,
    dims: DimNames = None,
    edges: EdgesFile = None,
    strict: Strict = False,
    batch: BatchSize = 1,
    over: Over = None,
    time_limit: TimeLimit = 60.0,
    seed: Seed = 0,
    workers: Workers = None,
    memory: MemoryLimit = None,
    out: OutDirectory = None,
) -> None:
    """Find the plans between which none is better in all of latency, interval and energy.

    First each of these is minimised by itself, then what lies between two plans, the widest gap first, until
    the time is up or Ctrl-C is pressed. With --out every plan is written as a solution file, with a table
    (front.json) and a figure (front.svg).

    Examples:

      overlapim front resnet18 --weights static -t 120 -o front
      overlapim front toy --hw toy --over latency,interval -t 10
    """
    from hw.library import load_hardware
    from overlapim_files import InputError
    from solver.memory import Memory
    from solver.stop import Stop

    if out is not None:
        needed("plot", "matplotlib")
    with interruptible() as interrupt:
        chip = load_hardware(hw)
        chip = chip if weights is None else chip.with_weights(cast("Weights", weights))
        known = [x for x in FIGURES if x != "energy" or chip.energy is not None]
        axes = over.split(",") if over else known
        if "energy" in axes and chip.energy is None:
            raise InputError(f"--over: chip '{chip.name}' has no section 'energy'")
        options = FileOptions(dim, until, as_post, weights_from, dims, edges)
        load = partial(given_network, network, options, strict, batch)
        stop = Stop(
            seconds=max(time_limit - 0.5, 0.1),
            interrupt=interrupt,
            started=context.obj,
            memory=Memory() if memory is None else Memory(memory),
        )
        _explore(load(), chip, axes, time_limit, stop, seed, workers or ALL_CORES, out, interrupt)


def _explore(
    network: object,
    chip: Hardware,
    axes: Sequence[str],
    seconds: float,
    stop: Stop,
    seed: int,
    workers: int,
    out: Path | None,
    interrupt: Interrupt,
) -> None:
    from cli.output import output_directory
    from cli.show.console import say
    from cli.show.progress import Progress, moving
    from models.network import Network
    from solver.front import front

    assert isinstance(network, Network)
    with output_directory(out):
        with moving(Progress(stop.started, seconds)) as progress:

            def found(points: Sequence[FrontPoint]) -> None:
                progress.text = f"{len(points)} plans on the front"

            chosen = cast("tuple[FrontAxis, ...]", tuple(axes))
            result = front(network, chip, chosen, stop=stop, seed=seed, workers=workers, found=found)
        record = _record(network.name, chip, result, out)
        if out is not None:
            _write(out, result, record, chip)
    answer(record, lambda: _show(record, chip))
    if interrupt.is_set():
        say(f"interrupted by {interrupt.name}: this is the front up to then")
    elif stop.memory is not None and stop.memory.short():
        say(f"ended by --memory: {size(stop.memory.limit)} do not suffice; this is the front up to then")
    if out is not None:
        say(f"written: {out / 'front.json'}, {out / 'front.svg'} and {len(record.points)} solutions")


def _record(network: str, chip: Hardware, front: Front, out: Path | None) -> FrontRecord:
    lines = [
        FrontLine(
            point.solution.latency,
            point.plan.interval,
            point.solution.energy_pj,
            chip.nanoseconds(point.solution.latency) * 1e-9,
            1e9 / chip.nanoseconds(point.plan.interval),
            None if out is None else f"{number}.yaml",
        )
        for number, point in enumerate(front.points, 1)
    ]
    least = {str(axis): value for axis, value in front.least.items()}
    return FrontRecord(network, chip.name, front.over, least, front.solves, tuple(lines))


def _write(out: Path, front: Front, record: FrontRecord, chip: Hardware) -> None:
    from cli.records.as_json import to_json
    from cli.show.front_figure import front_figure
    from overlapim_files import dump, write_bytes, write_text

    for number, point in enumerate(front.points, 1):
        write_text(out / f"{number}.yaml", dump(point.solution))
    write_text(out / "front.json", to_json(record) + "\n")
    write_bytes(out / "front.svg", front_figure(front, chip, "svg"))


def _show(record: FrontRecord, chip: Hardware) -> None:
    from cli.show.console import console
    from cli.show.tables import duration, joules, table

    result = table(("plan", "latency", "", "interval", "inferences/s", "energy"))
    for number, line in enumerate(record.points, 1):
        energy = "-" if line.energy_pj is None else joules(line.energy_pj)
        rate = f"{line.inferences_per_s:,.4g}"
        time = duration(line.latency, chip)
        result.add_row(str(number), f"{line.latency:,}", time, f"{line.interval:,}", rate, energy)
    least = {
        name: joules(value) if name == "energy" else f"{value:,.0f} cycles"
        for name, value in record.least.items()
    }
    answers = console()
    answers.print(result)
    answers.print()
    answers.print(
        "no plan is below  " + ", ".join(f"{name} {text}" for name, text in least.items()), soft_wrap=True
    )
