"""What a benchmark leaves behind: raw results as JSON, tables on the screen and as Markdown, plots."""

from __future__ import annotations

import io
import os
import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import typer

from cli.answers import SHARED, answer
from cli.interrupt import INTERRUPTED, interruptible
from cli.show.console import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from solver.bench.cases import Case, Environment, Outcome, What

NO_PLOTS = "no plots, as matplotlib is missing: pip install 'fast-overlapim[plot]'"


@dataclass(frozen=True)
class Table:
    """A table of text; the first `names` columns are names, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int

    def markdown(self) -> str:
        """Return it as Markdown."""
        rule = ["---" if i < self.names else "---:" for i in range(len(self.columns))]
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, tuple(rule), *map(_escaped, self.rows))]
        return "\n".join([f"**{self.title}**", "", *lines])


def _escaped(row: Sequence[str]) -> list[str]:
    return [cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row]


@dataclass(frozen=True)
class Plot:
    """A plot, drawn when it is needed because that imports matplotlib; `name` is that of its files."""

    name: str
    about: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Sheet:
    """What a benchmark shows: tables, notes that say how to read them, and plots."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()

    def markdown(self) -> str:
        """Return tables and notes as Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([*(table.markdown() for table in self.tables), *filter(None, [notes])]) + "\n"


SheetResults = TypeVar("SheetResults", bound=Any)


@dataclass(frozen=True)
class Benchmark(Generic[SheetResults]):
    """A kind of benchmark: how its files are called, what they hold and how that is shown.

    Attributes
    ----------
    name : of the command, and of the files `NAME.json` and `NAME.md`.
    empty : makes results of no case; a function, because their module is imported only when it runs.
    sheet : what results show.
    title : of the section in the page of all benchmarks.
    about : what is measured, and what that does and does not show: for that section.
    """

    name: str
    title: str
    empty: Callable[[], SheetResults]
    sheet: Callable[[SheetResults], Sheet]
    about: str


def conduct(
    benchmark: Benchmark[SheetResults],
    cases: Sequence[Case[What, Outcome]],
    out: Path | None,
    context: typer.Context,
) -> SheetResults:
    """Measure the cases that `out` does not hold yet, publish all that it holds, and return it.

    Raises
    ------
    InputError
        if the directory cannot be written to, or its results are not those of this benchmark.
    typer.Exit
        if interrupted; what has been measured is kept.
    """
    from cli.output import output_directory
    from solver.bench.cases import Kept, run_cases

    with output_directory(out), interruptible() as interrupt:
        path = None if out is None else out / f"{benchmark.name}.json"
        kept = Kept(benchmark.empty(), environment(context), path)
        left = [case for case in cases if case.what not in kept]
        progress = _Progress(len(cases), len(left))
        for case in run_cases(left, kept, interrupt, progress.begins):
            progress.ended(case.result)
        results = cast("SheetResults", kept.results)  # of the class of `empty`, which mypy does not know
        sheet = benchmark.sheet(results)
        answer(results, lambda: _show(sheet))
        publish(benchmark.name, sheet, out)
    if interrupt.is_set():
        again = "" if out is None else "; the same command goes on from here"
        say(f"interrupted by {interrupt.name}{again}")
        raise typer.Exit(INTERRUPTED)
    return results


class _Progress:
    """A line on standard error for each case: what it is when it begins, what came out when it ends."""

    def __init__(self, cases: int, left: int) -> None:
        self._cases, self._done = cases, cases - left
        if self._done:
            say(f"{self._done} of {cases} cases are there already")

    def begins(self, what: object) -> None:
        self._done += 1
        say(f"{self._done}/{self._cases}  {what} .. ", end="")

    def ended(self, result: object) -> None:
        say(str(result))


def environment(context: typer.Context) -> Environment:
    """Return by what the cases of this command are measured."""
    from solver.bench.cases import Environment
    from solver.versions import versions

    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name not in ("out", *SHARED) and value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            name = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
            words += [word for item in values for word in (*name, str(item))]
    return Environment(
        command=shlex.join(words),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        versions=versions(),
    )


def publish(name: str, sheet: Sheet, out: Path | None) -> None:
    """With a folder, write tables and notes as Markdown there, and the plots."""
    from overlapim_files import write_text

    if out is None:
        return
    write_text(out / f"{name}.md", sheet.markdown())
    if sheet.plots and not draw(sheet.plots, out):
        say(NO_PLOTS)


def _show(sheet: Sheet) -> None:
    from cli.show.console import console, printable
    from cli.show.tables import table

    answers = console()
    for one in sheet.tables:
        shown = table(one.columns, left=one.columns[: one.names])
        for row in one.rows:
            shown.add_row(*map(printable, row))
        answers.print(one.title, shown, sep="\n")
        answers.print()
    for note in sheet.notes:
        answers.print(note, soft_wrap=True)


def draw(plots: Sequence[Plot], out: Path) -> bool:
    """Write plots as SVG and PNG; False, and nothing is written, if matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib

    from overlapim_files import write_bytes

    # Without these two the same results would give another file each time.
    with matplotlib.rc_context({"svg.hashsalt": "overlapim"}):
        for plot in plots:
            figure = plot.draw()
            for kind, metadata in (("svg", {"Date": None}), ("png", {})):
                drawn = io.BytesIO()
                figure.savefig(drawn, format=kind, metadata=metadata, dpi=120)
                write_bytes(out / f"{plot.name}.{kind}", drawn.getvalue())
    return True
