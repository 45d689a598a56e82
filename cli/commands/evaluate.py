"""`overlapim evaluate`: everything that a solution file states recomputed, and compared or filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer, answer_with_differences, answering
from cli.extras import needed
from cli.options import LayerTableFile, OutDirectory, SolutionFile

if TYPE_CHECKING:
    from solver.account.plan import Account
    from solver.solution import Solution

Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute",
        help="Take mappings and banks, and releases if there are any, from the file, and fill in the rest.",
    ),
]


@answering
def evaluate_command(
    solution: SolutionFile,
    recompute: Recompute = False,
    table: LayerTableFile = None,
    out: OutDirectory = None,
) -> None:
    """Recompute everything that a solution file states, and compare.

    Prints the table of the solution as recomputed. Exit code 2 if the file disagrees anywhere. With
    --recompute the file may be made by hand: of its layers only loops and banks are needed, and --out writes
    the complete solution.

    Examples:

      overlapim evaluate results/solution.yaml
      overlapim evaluate draft.yaml --recompute -o results
      overlapim evaluate results/solution.yaml --table layers.parquet
    """
    from cli.records.layer_table import write_layer_table
    from cli.records.solution import file_record
    from cli.show.console import say
    from cli.show.tables import show_solution

    if table is not None and table.suffix.lower() == ".parquet":
        needed("frame", "pyarrow")

    if out is not None and not recompute:
        raise typer.BadParameter("--out goes with --recompute: without it nothing is made that is not there")
    if recompute:
        (stated, shown), differences = _complete(solution, out), list[str]()
    else:
        stated, shown, differences = _compared(solution)
    if table is not None:
        write_layer_table(table, shown)
        say(f"written: {table}")
    record = file_record(stated, shown, differences)
    if recompute:
        answer(record, lambda: show_solution(shown, stated))
    else:
        answer_with_differences(solution, record, lambda: show_solution(shown, stated))


def _compared(path: Path) -> tuple[Solution, Account, list[str]]:
    from overlapim_files import InputError, load
    from solver.account.plan import account
    from solver.solution import Solution, recompute

    stated = load(path, Solution)
    try:
        found = recompute(stated)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return stated, account(found.problem, found.plan), found.differences


def _complete(path: Path, out: Path | None) -> tuple[Solution, Account]:
    from cli.output import output_directory
    from cli.show.console import say
    from overlapim_files import InputError, dump, load, write_text
    from solver.account.plan import account
    from solver.draft import Draft, completed

    draft = load(path, Draft)
    try:
        solution, found = completed(draft)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if out is not None:
        with output_directory(out):
            write_text(out / "solution.yaml", dump(solution))
        say(f"written: {out / 'solution.yaml'}")
    return solution, account(found.problem, found.plan)
