"""`overlapim solve`: find mappings, starts and banks for a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cli.interrupt import Interrupt, interruptible
from cli.options import ALL_CORES, HardwareName, NetworkName, OutDirectory, Seed, TimeLimit, Workers, one_of

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Network
    from solver.solve import Improvement

DEFAULT_HARDWARE = "hbm2-bitsimd"
DEFAULT_SECONDS = 10.0
MARGIN = 0.5
"""Seconds of the time limit that are kept for the last check, the table and the files."""


class SolveCommand(TyperCommand):
    """Names the methods in its help; they are looked up only then, because that imports the solver."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from solver.solve import DEFAULT_METHOD, METHODS

        option: Any = next(parameter for parameter in self.params if parameter.name == "method")
        option.help = f"{option.help} One of {', '.join(METHODS)}; {DEFAULT_METHOD} unless given."
        super().format_help(ctx, formatter)


Method = Annotated[str | None, typer.Option("--method", "-m", metavar="METHOD", help="How to search.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        parser=one_of("static", "shared"),
        metavar="static|shared",
        help="Whether a bank serves one layer only or several; as the chip's file says unless given.",
    ),
]


def solve(
    context: typer.Context,
    network: NetworkName,
    hw: HardwareName = DEFAULT_HARDWARE,
    weights: WeightsOption = None,
    method: Method = None,
    time_limit: TimeLimit = DEFAULT_SECONDS,
    seed: Seed = 0,
    workers: Workers = ALL_CORES,
    out: OutDirectory = None,
) -> None:
    """Map a network onto a chip so that its layers overlap and it ends as early as possible.

    The table shows for each layer its banks; the share of their lanes' time, from start to end, that goes
    into multiply-accumulates; when it starts and ends; how long it held its banks and waited for data; and
    for which layer it waited longest. All times are in cycles.

    Ctrl-C ends the search with the best answer so far; a second Ctrl-C gives up. Nothing is written without
    --out.

    Examples:

      overlapim solve resnet18
      overlapim solve resnet18 --hw reram-aritpim -t 60 -o results
      overlapim solve net.yaml --hw chip.yaml --method layerwise --weights static
    """
    with interruptible() as interrupt:
        inputs = _inputs(network, hw, weights, method)
        _solve(context.obj, *inputs, time_limit, seed, workers, out, interrupt)


def _inputs(network: str, hw: str, weights: str | None, method: str | None) -> tuple[Network, Hardware, str]:
    from hw.library import load_hardware
    from models.library import load_network
    from overlapim_files import InputError, nearest
    from solver.solve import DEFAULT_METHOD, METHODS

    if method is not None and method not in METHODS:
        raise InputError(f"--method: there is no method '{method}'{nearest(method, list(METHODS))}")
    hardware = load_hardware(hw)
    if weights is not None:
        hardware = hardware.with_weights("static" if weights == "static" else "shared")
    return load_network(network), hardware, method or DEFAULT_METHOD


def _solve(
    started: float,
    network: Network,
    hardware: Hardware,
    method: str,
    seconds: float,
    seed: int,
    workers: int,
    out: Path | None,
    interrupt: Interrupt,
) -> None:
    from cli.console import say
    from cli.output import output_directory
    from cli.progress import Progress, moving
    from cli.report import report
    from cli.result import write
    from cli.tables import show
    from solver.problem import Problem
    from solver.solve import solve
    from solver.stop import Stop

    stop = Stop(seconds=max(seconds - MARGIN, 0.0), interrupt=interrupt, started=started)
    progress = Progress(started, seconds)

    def improved(improvement: Improvement) -> None:
        progress.found(improvement.seconds, improvement.latency)

    with output_directory(out):
        with moving(progress):
            progress.text = f"{method} maps {network.name} onto {hardware.name}"
            result = solve(network, hardware, method, stop, seed, workers, improved)
        found = report(Problem(network, hardware), result.plan)
        if out is not None:
            write(out, result, found, time.monotonic() - started, interrupt.is_set())
    show(found, result.solution, result.sequential)
    if interrupt.is_set():
        say(f"interrupted by {interrupt.name}: this is the best answer up to then")
    if out is not None:
        say(f"written: {out / 'solution.yaml'}, {out / 'result.json'}")
