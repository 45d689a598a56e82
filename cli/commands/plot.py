"""`overlapim plot`: a solution as a figure for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.answers import answer, answering
from cli.extras import needed
from cli.options import SolutionFile, file
from cli.solutions import read_account

FigureFile = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        parser=file(".svg", ".png", ".pdf"),
        metavar="FILE.svg|png|pdf",
        help="Write the figure here; its ending says as what.",
    ),
]


@answering
def plot_command(solution: SolutionFile, out: FigureFile) -> None:
    """Draw the layers of a solution over time: a row for each, what computes and what waits.

    The figure is as wide as a page with two columns and as high as it must be, up to a page. The solution is
    recomputed first.

    Example:

      overlapim plot results/solution.yaml -o gantt.pdf
    """
    needed("plot", "matplotlib")
    from cli.records.solution import WrittenPicture
    from cli.show.console import say
    from cli.show.gantt import gantt
    from overlapim_files import write_bytes

    _, account = read_account(solution)
    write_bytes(out, gantt(account, out.suffix[1:].lower()))
    answer(WrittenPicture(str(out), out.stat().st_size, account.latency), lambda: None)
    say(f"written: {out}")
