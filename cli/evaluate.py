"""`overlapim evaluate` and `overlapim simulate`: does a solution file say what is so?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.options import SolutionFile

if TYPE_CHECKING:
    from solver.reference import SimulatedLayer
    from solver.solution import Solution


def evaluate(solution: SolutionFile) -> None:
    """Recompute everything that a solution file states, and compare.

    Prints the table of the solution as recomputed. Exit code 2 if the file disagrees anywhere.

    Example:

      overlapim evaluate results/solution.yaml
    """
    from cli.tables import show_solution
    from overlapim_files import InputError, load
    from solver.account.plan import account
    from solver.solution import Solution, recompute

    stated = load(solution, Solution)
    try:
        found = recompute(stated)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    show_solution(account(found.problem, found.plan), stated)
    _conclude(solution, found.differences)


def simulate(solution: SolutionFile) -> None:
    """Execute a solution loop by loop, with the time of every output element, and compare.

    This shares no formula with the solver, and it is slow: minutes for a large network.

    Example:

      overlapim simulate results/solution.yaml
    """
    from cli.console import printable
    from cli.progress import Progress, moving
    from overlapim_files import InputError, load
    from solver.mapping import check
    from solver.reference import simulate as execute
    from solver.solution import Solution

    stated = load(solution, Solution)
    network, hardware, mappings = stated.network, stated.hardware, stated.mappings
    records = [stated.layers[layer.name] for layer in network.layers]
    progress = Progress(time.monotonic())
    progress.text = f"layer 1 of {len(records)}"
    done: list[int] = []

    def simulated(index: int, times: SimulatedLayer) -> None:
        done.append(index)
        name = printable(network.layers[index].name)
        progress.text = f"{len(done)} of {len(records)} layers, up to {name}, which ends at {times.end:,}"

    try:
        for layer, mapping in zip(network.layers, mappings, strict=True):
            check(layer, mapping, hardware)
        with moving(progress):
            releases, orders = [record.release for record in records], [record.order for record in records]
            layers = execute(network, hardware, mappings, releases, orders, simulated)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    _show_simulated(stated, layers)
    _conclude(solution, _differences(stated, layers))


def _show_simulated(solution: Solution, layers: list[SimulatedLayer]) -> None:
    from cli.console import console, printable
    from cli.tables import number, table

    rows = table(("layer", "blocks", "start", "end", "start in file", "end in file"), left=("layer",))
    for layer, times in zip(solution.network.layers, layers, strict=True):
        record = solution.layers[layer.name]
        numbers = (len(times.block_starts), times.start, times.end, record.start, record.end)
        rows.add_row(printable(layer.name), *map(number, numbers))
    console().print(rows)


def _differences(solution: Solution, layers: list[SimulatedLayer]) -> list[str]:
    differences = []
    for layer, times in zip(solution.network.layers, layers, strict=True):
        record = solution.layers[layer.name]
        for what, stated, found in (("start", record.start, times.start), ("end", record.end, times.end)):
            if stated != found:
                differences.append(f"layer '{layer.name}': {what} is {found}, the file says {stated}")
    latency = max(times.end for times in layers)
    if solution.latency != latency:
        differences.append(f"latency is {latency}, the file says {solution.latency}")
    return differences


def _conclude(file: Path, differences: list[str]) -> None:
    """Say that the file agrees, or in what it does not."""
    from cli.console import console, error

    if not differences:
        console().print("agrees")
        return
    for difference in differences:
        error(f"{file}: {difference}")
    raise typer.Exit(2)
