"""`overlapim trace`: a solution as a file for Perfetto."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.answers import answer, answering
from cli.options import SolutionFile
from cli.solutions import read_account

TraceFile = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="The trace, such as trace.json.")
]


@dataclass(frozen=True)
class WrittenTrace:
    """A trace that was written.

    Attributes
    ----------
    threads : banks, or groups of banks that serve the same layers.
    merged : what was put together for the file to stay small enough.
    """

    file: str
    bytes: int
    threads: int
    latency: int
    bottleneck: int
    merged: tuple[str, ...]


@answering
def trace_command(solution: SolutionFile, out: TraceFile) -> None:
    """Write a solution as a trace for ui.perfetto.dev or chrome://tracing.

    Channels are processes, banks are threads. On each bank its layers are slices, with their blocks and waits
    in them; arrows lead from the block that finished data to the block that waited for it. One microsecond of
    the trace is one cycle. A file larger than 50 MB would be hard to open, so large runs are merged, and the
    command says how.

    Example:

      overlapim trace results/solution.yaml -o trace.json
    """
    from cli.show.console import say
    from overlapim_files import write_parts
    from solver.export.trace import trace as traced

    _, account = read_account(solution)
    found = traced(account)
    write_parts(out, found.lines())
    written = WrittenTrace(
        file=str(out),
        bytes=out.stat().st_size,
        threads=len(found.tracks),
        latency=account.latency,
        bottleneck=account.bottleneck,
        merged=found.merged,
    )
    answer(written, lambda: None)
    for note in found.merged:
        say(f"merged: {note}")
    say(f"written: {out}, {written.bytes / 1e6:,.1f} MB; open it at https://ui.perfetto.dev")
