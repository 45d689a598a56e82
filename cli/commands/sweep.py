"""`overlapim sweep`: many networks on many chips, and the fronts of the designs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answering
from cli.interrupt import INTERRUPTED, Interrupt, interruptible
from cli.options import MemoryLimit, OutDirectory, Workers, directory, seconds

if TYPE_CHECKING:
    from cli.records.sweep import SweepAnswer
    from solver.sweep.folder import SweepFolder

SpecFile = Annotated[
    Path | None,
    typer.Argument(metavar="SPEC", help="The file that says what to sweep over.", show_default=False),
]
Show = Annotated[
    Path | None,
    typer.Option(
        "--show", parser=directory, metavar="DIR", help="Show what is finished of the sweep in this folder."
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Use the processes of a running Dask cluster, such as tcp://10.0.0.1:8786, instead.",
    ),
]
WholeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        "-t",
        parser=seconds,
        metavar="SECONDS",
        help="Wall time of the whole sweep: no case begins that might not end in time.",
    ),
]


@answering
def sweep_command(
    context: typer.Context,
    spec: SpecFile = None,
    out: OutDirectory = None,
    show: Show = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    memory: MemoryLimit = None,
    time_limit: WholeLimit = None,
) -> None:
    """Solve many networks on many chips side by side, and show the best designs.

    The file SPEC names networks and chips; fields of a chip may be lists, ranges or expressions, conditions
    leave combinations out. docs/sweep.md explains it. Each case is kept in DIR as soon as it is solved. The
    same command goes on with what is left, whatever ended it, and solves only what is new if SPEC has
    changed.

    In DIR are results.parquet (.csv without pyarrow), a row for each case; solutions/, the best of each
    design; and index.html, a page to explore them with. Ctrl-C ends the sweep once the cases are solved that
    have begun.

    Examples:

      overlapim sweep sweep.yaml -o designs
      overlapim sweep sweep.yaml -o designs --scheduler tcp://login:8786 -t 36000
      overlapim sweep --show designs
    """
    from cli.sweeps import show_sweep
    from solver.sweep.folder import SweepFolder

    if show is not None:
        if spec is not None or out is not None:
            raise typer.BadParameter("--show takes no file and no --out")
        show_sweep(SweepFolder(show))
        return
    if spec is None or out is None:
        raise typer.BadParameter("a sweep needs the file SPEC and --out DIR; --show DIR shows one")
    if scheduler is not None and workers is not None:
        raise typer.BadParameter("--workers are of this machine, not of --scheduler")
    with interruptible() as interrupt:
        folder = _sweep(spec, out, workers, scheduler, memory, time_limit, interrupt, context.obj)
        found = show_sweep(folder)
    _end(found, interrupt)


def _sweep(
    spec: Path,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    memory: int | None,
    limit: float | None,
    interrupt: Interrupt,
    started: float,
) -> SweepFolder:
    from cli.output import output_directory
    from cli.show.progress import moving
    from cli.show.sweep import sweep_progress
    from solver.sweep.run import run_sweep

    with output_directory(out), moving(sweep_progress(started, limit)) as progress:
        left = None if limit is None else max(limit - (time.monotonic() - started), 0.0)
        return run_sweep(
            spec,
            out,
            workers=workers,
            scheduler=scheduler,
            memory=memory,
            seconds=left,
            interrupt=interrupt,
            observer=progress,
        )


def _end(found: SweepAnswer, interrupt: Interrupt) -> None:
    """Say that cases are left, if any are."""
    from cli.show.console import say

    left = found.counts.open + found.counts.failed
    if interrupt.is_set():
        say(f"interrupted by {interrupt.name}; the same command goes on from here")
        raise typer.Exit(INTERRUPTED)
    if left:
        say(f"{left:,} cases are left, which the same command tries")
