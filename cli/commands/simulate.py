"""`overlapim simulate`: a solution file executed loop by loop, and compared with what it states."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.answers import answer_with_differences, answering
from cli.options import ExecutedInferences, SolutionFile

if TYPE_CHECKING:
    from solver.execute.succession import Succession
    from solver.reference import SimulatedLayer
    from solver.solution import Solution


@dataclass(frozen=True)
class SimulatedLine:
    """One layer as it was executed."""

    name: str
    blocks: int
    start: int
    end: int


@dataclass(frozen=True)
class Simulated:
    """An execution, and every way in which the file disagrees with it."""

    latency: int
    layers: tuple[SimulatedLine, ...]
    succession: Succession
    differences: tuple[str, ...]


@answering
def simulate_command(solution: SolutionFile, inferences: ExecutedInferences = None) -> None:
    """Execute a solution loop by loop, with the time of every output element, and compare.

    This shares no formula with the solver, and it is slow: minutes for a large network. With --inferences the
    banks are followed through several of them, each the interval of the file after the one before.

    Example:

      overlapim simulate results/solution.yaml
    """
    from cli.show.console import printable
    from cli.show.progress import Progress, moving
    from overlapim_files import InputError, load
    from solver.execute.succession import follow_each_other, stated_interval
    from solver.reference import simulate as execute
    from solver.solution import Solution
    from solver.timing.validity import check_mapping

    stated = load(solution, Solution)
    network, hardware, mappings = stated.network, stated.hardware, stated.mappings
    records = [stated.layers[layer.name] for layer in network.layers]
    count = stated.inferences if inferences is None else inferences
    progress = Progress(time.monotonic())
    progress.text = f"layer 1 of {len(records)}"
    done: list[int] = []

    def simulated(index: int, times: SimulatedLayer) -> None:
        done.append(index)
        name = printable(network.layers[index].name)
        progress.text = f"{len(done)} of {len(records)} layers, up to {name}, which ends at {times.end:,}"

    try:
        interval = stated_interval(stated, count)
        for layer, mapping in zip(network.layers, mappings, strict=True):
            check_mapping(layer, mapping, hardware)
        with moving(progress):
            releases, orders = [record.release for record in records], [record.order for record in records]
            layers = execute(network, hardware, mappings, releases, orders, simulated)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    row = follow_each_other(stated, [(times.start, times.end) for times in layers], interval, count)
    found = _simulated(stated, layers, row)
    answer_with_differences(solution, found, lambda: _show_simulated(stated, layers, row))


def _show_simulated(solution: Solution, layers: list[SimulatedLayer], row: Succession) -> None:
    from cli.show.console import console, printable
    from cli.show.tables import in_a_row, number, table

    rows = table(("layer", "blocks", "start", "end", "start in file", "end in file"), left=("layer",))
    for layer, times in zip(solution.network.layers, layers, strict=True):
        record = solution.layers[layer.name]
        numbers = (len(times.block_starts), times.start, times.end, record.start, record.end)
        rows.add_row(printable(layer.name), *map(number, numbers))
    console().print(rows)
    in_a_row(row)


def _simulated(solution: Solution, layers: list[SimulatedLayer], row: Succession) -> Simulated:
    lines = tuple(
        SimulatedLine(layer.name, len(times.block_starts), times.start, times.end)
        for layer, times in zip(solution.network.layers, layers, strict=True)
    )
    latency = max(times.end for times in layers)
    return Simulated(latency, lines, row, (*_differences(solution, layers), *row.differences))


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
