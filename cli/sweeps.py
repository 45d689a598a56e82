"""What is made of the folder of a sweep: its table, its page, reports of its designs, and what is printed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cli.answers import answer
from cli.records.sweep import SweepAnswer, front_records, sweep_counts
from cli.show.console import printable, say
from cli.show.facts import Fact
from cli.show.progress import Progress, moving
from cli.show.sweep import show_counts, show_fronts
from cli.solutions import read_account
from overlapim_files import InputError, write_text
from solver.sweep.folder import SweepFolder
from solver.sweep.front import SweepFront, fronts
from solver.sweep.table import Row, sweep_rows, write_table

if TYPE_CHECKING:
    from cli.records.result_file import Found
    from solver.solution import Solution
    from solver.sweep.task import TaskRecord

PAGE, REPORTS, LIBRARY = "index.html", "reports", "plotly.min.js"

MOST_REPORTS = 200
"""Reports that are written, a few hundred kilobytes each: of the designs on fronts, then of the fastest."""

REASONS = 3


def show_sweep(folder: SweepFolder) -> SweepAnswer:
    """Bring the table and the page of a sweep up to date, and print its fronts.

    Raises
    ------
    InputError
        if the folder is not that of a sweep, or cannot be written to.
    """
    rows = sweep_rows(folder)
    found, counts = fronts(rows), sweep_counts(rows)
    table = write_table(folder, rows)
    page = (
        _page(folder, found, f"{counts.cases:,} cases, {counts.solved:,} of them solved") if found else None
    )
    result = SweepAnswer(
        str(folder.path), counts, front_records(found), str(table), None if page is None else str(page)
    )

    def shown() -> None:
        show_fronts(found)
        show_counts(counts, _reasons(rows))

    answer(result, shown)
    say(f"written: {', '.join(str(path) for path in (table, page) if path is not None)}")
    return result


def _reasons(rows: Sequence[Row]) -> list[Fact]:
    """Return the first reasons why there are no solutions, each once."""
    reasons = {row["reason"]: row for row in rows if row["outcome"] in ("refused", "failed")}
    shown = list(reasons.values())[:REASONS]
    facts = [(row["outcome"], f"{printable(row['name'], 100)}: {row['reason']}") for row in shown]
    more = len(reasons) - len(shown)
    return facts + ([("", f"and {more:,} more reasons, which the table has")] if more > 0 else [])


def _page(folder: SweepFolder, found: Sequence[SweepFront], note: str) -> Path | None:
    """Write the page with its reports, if the libraries for that are there."""
    if find_spec("plotly") is None or find_spec("jinja2") is None:
        say("no page, as plotly or jinja2 is missing: pip install 'fast-overlapim[report]'")
        return None
    from cli.show.html.sweep import render_sweep

    reports = _reports(folder, found)
    title = f"Sweep: {printable(folder.path.resolve().name)}"
    path = folder.path / PAGE
    write_text(path, render_sweep(title, note, found, lambda row: reports.get(row["key"], "")))
    return path


def _reports(folder: SweepFolder, found: Sequence[SweepFront]) -> dict[str, str]:
    """Write the reports that are not there yet and return the address of each, by the key of its case."""
    from cli.show.html.document import plotly_js

    place, keys = folder.path / REPORTS, _reported(found)
    place.mkdir(exist_ok=True)
    write_text(place / LIBRARY, plotly_js())
    records = folder.finished(keys)
    with moving(Progress(time.monotonic())) as progress:
        written = {}
        for i, key in enumerate(keys):
            progress.text = f"writes report {i + 1:,} of {len(keys):,}"
            if _report(folder, place / f"{key}.html", records[key]):
                written[key] = f"{REPORTS}/{key}.html"
    return written


def _reported(found: Sequence[SweepFront]) -> list[str]:
    """Return the designs that get a report: those on fronts, and as many others as may be."""
    first = [row["key"] for front in found for row in front.front]
    others = sorted((row for front in found for row in front.rows), key=lambda row: float(row["latency_ns"]))
    keys = dict.fromkeys([*first, *(row["key"] for row in others)])
    return list(keys)[: max(MOST_REPORTS, len(first))]


def _report(folder: SweepFolder, path: Path, record: TaskRecord) -> bool:
    """Write a report unless it is there, and return whether it is; without its solution there is none."""
    from cli.show.html.page import render

    solution = folder.solution(record.key)
    try:
        if path.exists() and path.stat().st_mtime >= solution.stat().st_mtime:
            return True
        read, account = read_account(solution)
    except (InputError, OSError):
        return False
    evaluate = shlex.join(["overlapim", "evaluate", f"{solution.parent.name}/{solution.name}"])
    commands = [("Recompute every number from the solution file, in the folder of the sweep:", evaluate)]
    write_text(path, render(account, read, _found(record, read), commands, LIBRARY))
    return True


def _found(record: TaskRecord, solution: Solution) -> Found | None:
    """Return what the search left behind, as reports take it."""
    from cli.records.result_file import Found
    from cli.records.solution import input_digests

    figures = record.figures
    if figures is None or not record.trace:
        return None
    return Found(
        latency=figures.latency,
        sequential=figures.sequential,
        wall_s=figures.solve_s,
        interrupted=False,
        trace=record.trace,
        inputs=input_digests(solution),
    )
