"""`overlapim bench page`: one page that shows all results that are kept, and says how they were made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.bench.anytime import ANYTIME
from cli.commands.bench.exhaustive import EXHAUSTIVE
from cli.commands.bench.large import LARGE
from cli.commands.bench.network import NETWORK
from cli.commands.bench.overlap import OVERLAP
from cli.commands.bench.publish import NO_PLOTS, Benchmark, draw
from cli.commands.bench.runtime import RUNTIME
from cli.commands.bench.speed import SPEED
from cli.commands.bench.streams import STREAMS
from cli.options import directory

if TYPE_CHECKING:
    from solver.bench.cases import Environment, Results

BENCHMARKS: tuple[Benchmark[Any], ...] = (
    NETWORK,
    ANYTIME,
    STREAMS,
    EXHAUSTIVE,
    RUNTIME,
    OVERLAP,
    SPEED,
    LARGE,
)
"""In the order of the page."""

INTRODUCTION = """\
# Benchmarks

This page is made from raw results by `overlapim bench page`; the commands that made those stand with each
section, and the JSON files hold every single run. Run them again for your own machine.
"""


def page_command(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", parser=directory, help="Where benchmarks have left their JSON files (--out)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="The page."),
    ] = Path("benchmarks.md"),
) -> None:
    """Make one Markdown page from the results of benchmarks; plots are written next to the results.

    Example:

      overlapim bench page docs/benchmarks -o docs/benchmarks.md
    """
    from cli.show.console import say
    from overlapim_files import InputError, write_text

    found = [(one, results / f"{one.name}.json") for one in BENCHMARKS]
    found = [(one, path) for one, path in found if path.is_file()]
    if not found:
        names = ", ".join(f"{one.name}.json" for one in BENCHMARKS)
        raise InputError(f"{results}: holds no results; run a benchmark with --out {results} ({names})")
    sections = [_section(one, path, out.parent) for one, path in found]
    write_text(out, "\n".join([INTRODUCTION, *sections]))
    say(f"written: {out}")


def _section(benchmark: Benchmark[Any], path: Path, page_directory: Path) -> str:
    """Return a section of the page; its plots are written next to the results."""
    from cli.show.console import say
    from overlapim_files import load_json

    results: Results[Any, Any] = load_json(path, type(benchmark.empty()))
    sheet = benchmark.sheet(results)
    if sheet.plots and not draw(sheet.plots, path.parent):
        say(NO_PLOTS)
    near = Path(os.path.relpath(path.parent, page_directory))
    pictures = [f"![{plot.about}]({(near / plot.name).as_posix()}.svg)" for plot in sheet.plots]
    runs = [_run(run, sum(case.run == i for case in results.cases)) for i, run in enumerate(results.runs)]
    parts = [f"## {benchmark.title}", benchmark.about.strip(), *runs, *pictures, sheet.markdown().strip()]
    return "\n\n".join(parts) + f"\n\nRaw results: [{path.name}]({(near / path.name).as_posix()})\n"


def _run(run: Environment, cases: int) -> str:
    """Say how, on what and with what some cases were measured."""
    versions = "".join(f", {name} {version}" for name, version in run.versions.items() if version)
    return f"    {run.command}\n\n{cases} cases on {run.cores} cores, {run.system}{versions}."
