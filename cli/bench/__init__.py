"""`overlapim bench`: measurements of the program itself, one module for each command."""

from __future__ import annotations

import typer

from cli.answers import answering
from cli.bench.anytime import anytime
from cli.bench.exhaustive import exhaustive
from cli.bench.network import network
from cli.bench.overlap import overlap
from cli.bench.page import page
from cli.bench.runtime import runtime
from cli.bench.speed import speed

app = typer.Typer(
    no_args_is_help=True,
    help="Measure the program: raw results as JSON, tables on the screen. With --out a benchmark that was "
    "stopped goes on where it was.",
)
for command in (anytime, exhaustive, network, overlap, runtime, speed):
    app.command()(answering(command))
app.command()(page)
