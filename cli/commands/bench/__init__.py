"""`overlapim bench`: measurements of the program itself, one module for each command."""

from __future__ import annotations

import typer

from cli.answers import answering
from cli.commands.bench.anytime import anytime
from cli.commands.bench.exhaustive import exhaustive
from cli.commands.bench.network import network
from cli.commands.bench.overlap import overlap
from cli.commands.bench.page import page
from cli.commands.bench.runtime import runtime
from cli.commands.bench.speed import speed

app = typer.Typer(
    no_args_is_help=True,
    help="Measure the program: raw results as JSON, tables on the screen. With --out a benchmark that was "
    "stopped goes on where it was.",
)
for command in (anytime, exhaustive, network, overlap, runtime, speed):
    app.command()(answering(command))
app.command()(page)
