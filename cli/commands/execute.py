"""`overlapim execute`: numbers run through the schedule of a solution."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer_with_differences, answering
from cli.networks import AsPost, Extents, FileOptions, Until, WeightsFrom
from cli.options import ExecutedInferences, Seed, SolutionFile

if TYPE_CHECKING:
    from solver.execute.check import Check


OnnxFile = Annotated[
    Path | None,
    typer.Option("--onnx", metavar="MODEL", help="The ONNX file that was solved, to run its operators too."),
]


@answering
def execute_command(
    solution: SolutionFile,
    onnx: OnnxFile = None,
    dim: Extents = None,
    until: Until = None,
    as_post: AsPost = None,
    weights_from: WeightsFrom = None,
    seed: Seed = 0,
    inferences: ExecutedInferences = None,
) -> None:
    """Run numbers through a solution, block by block in the order of its times, and compare.

    Every tensor starts out as not-a-number, and a result is there when the clock says so, not before. A block
    that reads what is not finished yet is an error that names layer, element and time. What comes out is
    compared with the network computed layer by layer. Exit code 2 if anything differs.

    With --onnx the operators of the file that was solved run in the same way, and their results are compared
    with onnxruntime on the whole file.

    With --inferences several of them run, each with inputs of its own and the interval after the one before,
    and no bank may be held twice. If the file is about more than three, three are run unless it is given.

    Examples:

      overlapim execute results/solution.yaml

      overlapim execute results/solution.yaml --inferences 3
      overlapim execute results/solution.yaml --onnx net.onnx --dim batch=1
    """
    from cli.show.progress import Progress, moving
    from overlapim_files import InputError, load
    from solver.execute.check import check_execution
    from solver.execute.operators import load_model
    from solver.execute.succession import IN_A_ROW
    from solver.solution import Solution

    stated = load(solution, Solution)
    options = FileOptions(dim, until, as_post, weights_from)
    if onnx is None and (option := options.given("dim", "until", "as_post", "weights_from")):
        raise InputError(f"{option}: only for a file that is given with --onnx")
    model = None if onnx is None else load_model(onnx, options.choices(), stated.network)
    count = min(stated.inferences, IN_A_ROW) if inferences is None else inferences
    progress = Progress(time.monotonic())

    def doing(text: str) -> None:
        progress.text = text

    try:
        with moving(progress):
            found = check_execution(stated, seed, doing, model, count)
    except InputError as error:
        raise InputError(f"{solution}: {error}") from None
    answer_with_differences(solution, found, lambda: _show(found))


def _show(found: Check) -> None:
    from cli.show.console import console, printable
    from cli.show.tables import in_a_row, number, table

    columns = ["layer", "blocks", "just in time", "start", "end", "elements", "largest difference"]
    operators = [layer.operators for layer in found.layers if layer.operators is not None]
    rows = table([*columns, "operators"] if operators else columns, left=("layer",))
    for i, layer in enumerate(found.layers):
        numbers = (layer.blocks, layer.tight, layer.start, layer.end, layer.elements)
        off = [f"{layer.difference:g}", *(f"{x:.1e}" for x in operators[i : i + 1])]
        rows.add_row(printable(layer.name), *map(number, numbers), *off)
    console().print(rows)
    in_a_row(found.succession)
