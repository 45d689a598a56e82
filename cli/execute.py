"""`overlapim execute`: numbers run through the schedule of a solution."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cli.answers import answering
from cli.evaluate import conclude
from cli.options import Seed, SolutionFile

if TYPE_CHECKING:
    from solver.execute.check import Check


@answering
def execute(solution: SolutionFile, seed: Seed = 0) -> None:
    """Run numbers through a solution, block by block in the order of its times, and compare.

    Every tensor starts out as not-a-number, and a result is there when the clock says so, not before. A block
    that reads what is not finished yet is an error that names layer, element and time. What comes out is
    compared with the network computed layer by layer. Exit code 2 if anything differs.

    Example:

      overlapim execute results/solution.yaml
    """
    from cli.progress import Progress, moving
    from overlapim_files import InputError, load
    from solver.execute.check import check
    from solver.solution import Solution

    stated = load(solution, Solution)
    progress = Progress(time.monotonic())

    def doing(text: str) -> None:
        progress.text = text

    try:
        with moving(progress):
            found = check(stated, seed, doing)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    conclude(solution, found, lambda: _show(found))


def _show(found: Check) -> None:
    from cli.console import console, printable
    from cli.tables import number, table

    columns = ("layer", "blocks", "just in time", "start", "end", "elements", "largest difference")
    rows = table(columns, left=("layer",))
    for layer in found.layers:
        numbers = (layer.blocks, layer.tight, layer.start, layer.end, layer.elements)
        rows.add_row(printable(layer.name), *map(number, numbers), f"{layer.difference:g}")
    console().print(rows)
