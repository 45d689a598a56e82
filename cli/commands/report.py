"""`overlapim report`: a solution as a page to look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer, answering
from cli.extras import needed
from cli.options import SolutionFile, file
from cli.solutions import read_account

if TYPE_CHECKING:
    from cli.records.result_file import Found
    from cli.show.facts import Fact

PageFile = Annotated[
    Path,
    typer.Option("--out", "-o", parser=file(".html"), metavar="FILE.html", help="Write the page here."),
]


@answering
def report_command(solution: SolutionFile, out: PageFile) -> None:
    """Write a page that shows a solution: one file, to open in a browser, that needs no network.

    It shows latency, bound and speed-ups; layers and banks over time with their waits; the overlap of each
    edge; where cycles go; each layer's loop nest; and the search, if result.json is beside the solution. The
    solution is recomputed first.

    Example:

      overlapim report results/solution.yaml -o report.html
    """
    needed("report", "plotly", "jinja2")
    from cli.records.result_file import found_beside
    from cli.records.solution import WrittenPicture
    from cli.show.console import say
    from cli.show.html.page import render
    from overlapim_files import InputError, write_text

    read, account = read_account(solution)
    found = None
    try:
        found = found_beside(solution, read)
    except InputError as error:
        say(f"left out: {error}")
    write_text(out, render(account, read, found, _commands(solution, out, found)))
    answer(WrittenPicture(str(out), out.stat().st_size, account.latency), lambda: None)
    say(f"written: {out}")


def _commands(solution: Path, out: Path, found: Found | None) -> list[Fact]:
    evaluate = ["overlapim", "evaluate", str(solution)]
    page = ["overlapim", "report", str(solution), "-o", str(out)]
    commands = [
        ("Recompute every number from the solution file:", shlex.join(evaluate)),
        ("Write this page:", shlex.join(page)),
    ]
    if found is None or not found.command:
        return commands
    again = "Search again; a search that ends with the time may find another plan:"
    if " --deterministic" in found.command or " -D" in found.command:
        again = "Find the same solution again:"
    return [(again, found.command), *commands]
