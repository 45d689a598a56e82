"""`overlapim bench validate`: the built-in chips against simulators that others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import OutDirectory
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.validation import MeasuredWork, Simulator, ValidationResults

NAME = "validation"

_ABOUT = """\
How many cycles independent simulators count, and how many this program, for the same work. `own mapping` is
ours for the mapping that the simulator runs, a solution file beside this page; `best mapping` is ours for the
best one found from there. Ratios are ours over theirs. Refreshes are counted where the chip has them.

The figures of the simulators are ours, too, in that we ran them, in the revisions and configurations below;
nothing of the simulators is part of this program. The timing of a chip is from the same source as that of its
simulator, so this shows that the model counts what happens, and not that the numbers are those of silicon.

Decoding is held against figures that others published, of a system of the same chips as `gddr6-aim`. Single
products agree there and here, as the first table shows for the simulator that they used; most of the
difference is what happens between the products, as noted below.

No figure to hold decoding on `hbm-pim` against was found. What Samsung has shown, at Hot Chips 2023 and in
"The Breakthrough Memory Solutions for Improved Performance on LLM Inference" (IEEE Micro 2024), are ratios of
systems with GPUs, up to 1.9 times as fast with HBM-PIM as without. HPIM (arXiv 2509.12993) and SAL-PIM (arXiv
2401.17005) have HBM with other units, and PIMSimulator has kernels for single operations and none for
attention. Of AiM, what was found of SK hynix's talks (Hot Chips 2022 to 2024) names no time of a token for a
model that is built in here; PIM-GPT (arXiv 2310.09385) has a chip of its own beside the memory that does all
but the products.
"""


def _empty() -> ValidationResults:
    from solver.bench.validation import ValidationResults

    return ValidationResults()


def sheet(results: ValidationResults) -> Sheet:
    """Return the table of all works, and that of their parts."""
    from solver.bench.validation import figures

    cases = results.cases
    tables = (_works(cases), _decodings(cases), _parts(cases), _energies(cases))
    return Sheet(tables, tuple(note for simulator in figures() for note in _notes(simulator)))


def _works(cases: Sequence[MeasuredWork]) -> Table:
    rows = tuple(
        (
            case.what.simulator,
            case.what.chip,
            case.what.work,
            f"{case.what.simulated:,}",
            f"{case.result.own:,.0f}",
            f"{case.result.own / case.what.simulated:.3f}",
            f"{case.result.best:,.0f}",
            f"{case.result.best / case.what.simulated:.3f}",
        )
        for case in cases
        if case.result.own is not None
    )
    headings = ("simulator", "chip", "work", "cycles there", "own mapping", "ratio", "best mapping", "ratio")
    return Table("Cycles of the same work", headings, rows, names=3)


def _decodings(cases: Sequence[MeasuredWork]) -> Table:
    rows = tuple(
        (
            case.what.simulator,
            case.what.chip,
            case.what.work,
            f"{case.what.simulated:,}",
            f"{case.result.best:,.0f}",
            f"{case.result.best / case.what.simulated:.3f}",
            f"{case.result.post:,}",
        )
        for case in cases
        if case.result.post is not None
    )
    headings = ("system", "chip", "work", "cycles there", "best mapping", "ratio", "its post-operations")
    return Table("Decoding", headings, rows, names=3)


def _parts(cases: Sequence[MeasuredWork]) -> Table:
    rows = tuple(
        (
            case.what.simulator,
            case.what.work,
            part,
            f"{there:,.0f}",
            f"{getattr(case.result.parts, part):,.0f}",
        )
        for case in cases
        for part, there in case.what.parts
        if there is not None
    )
    headings = ("simulator", "work", "part", "cycles there", "own mapping")
    return Table("What they are spent on", headings, rows, names=3)


def _energies(cases: Sequence[MeasuredWork]) -> Table:
    rows = tuple(
        (
            case.what.simulator,
            case.what.work,
            part,
            f"{there:.1f}",
            f"{getattr(case.result.energy, part):.1f}",
            f"{getattr(case.result.energy, part) / there:.3f}",
        )
        for case in cases
        if case.what.energy is not None and case.result.energy is not None
        for part, there in case.what.energy
    )
    headings = ("simulator", "work", "part", "uJ there", "own mapping", "ratio")
    return Table("Energy", headings, rows, names=3)


def _notes(simulator: Simulator) -> list[str]:
    """Say how a simulator was run, which mapping it has, and what is left out."""
    said = [f"{simulator.name}: {simulator.revision}; {simulator.configuration}."]
    said += [f"{simulator.name}, own mapping: {simulator.mapping}"] if simulator.mapping else []
    return [*said, f"{simulator.name}, left out: {simulator.left_out}"]


BENCHMARK = Benchmark(NAME, "Against independent simulators", _empty, sheet, _ABOUT)


def validate_command(
    context: typer.Context,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", "-t", parser=parse_seconds, metavar="SECONDS", help="Of each search."),
    ] = 5.0,
    out: OutDirectory = None,
) -> None:
    """The built-in chips against independent simulators: cycles of the same work, and what they are spent on.

    Writes validation.json, validation.md and the simulators' own mappings as solution files. With the
    defaults it takes less than a minute.

    Example:

      overlapim bench validate --out docs
    """
    from solver.bench.validation import validation_cases

    results = conduct(BENCHMARK, list(validation_cases(time_limit)), out, context)
    if out is not None:
        _write(results, out)


def _write(results: ValidationResults, out: Path) -> None:
    """Write the page, and the solution files in a directory beside it."""
    from overlapim_files import dump, write_text
    from solver.bench.validation import solutions

    (out / NAME).mkdir(exist_ok=True)
    for file, solution in solutions():
        write_text(out / NAME / file, dump(solution))
    command = results.runs[-1].command
    text = [f"# {BENCHMARK.title}", _ABOUT.strip(), f"    {command}", sheet(results).markdown().strip()]
    own = f"Own mappings: [{NAME}/]({NAME}/). Raw results: [{NAME}.json]({NAME}.json)."
    write_text(out / f"{NAME}.md", "\n\n".join([*text, own]) + "\n")
