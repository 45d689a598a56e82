"""`overlapim bench`: measurements of the program itself, one module for each command."""

from __future__ import annotations

import typer

from cli.answers import answering
from cli.commands.bench.anytime import anytime_command
from cli.commands.bench.exhaustive import exhaustive_command
from cli.commands.bench.large import large_command
from cli.commands.bench.network import network_command
from cli.commands.bench.overlap import overlap_command
from cli.commands.bench.page import page_command
from cli.commands.bench.runtime import runtime_command
from cli.commands.bench.speed import speed_command
from cli.commands.bench.streams import streams_command
from cli.commands.bench.validate import validate_command

app = typer.Typer(
    help="Measure the program: raw results as JSON, tables on the screen. With --out a benchmark that was "
    "stopped goes on where it was.",
)
app.command("anytime")(answering(anytime_command))
app.command("exhaustive")(answering(exhaustive_command))
app.command("large")(answering(large_command))
app.command("network")(answering(network_command))
app.command("overlap")(answering(overlap_command))
app.command("runtime")(answering(runtime_command))
app.command("speed")(answering(speed_command))
app.command("streams")(answering(streams_command))
app.command("validate")(answering(validate_command))
app.command("page")(page_command)
