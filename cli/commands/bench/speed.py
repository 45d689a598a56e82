"""`overlapim bench speed`: how fast the library and whole commands are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.commands.bench.options import NetworkOption
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import DEFAULT_HARDWARE, HardwareName, OutDirectory, Seed

if TYPE_CHECKING:
    from solver.bench.speed import Speed, SpeedResults

SOLVED = "resnet50"

_ABOUT = f"""\
How fast single steps are, and whole commands. The first five figures are medians within one process:
evaluating a whole network, with every table at hand and with none; profiling one mapping; and how many new
mappings of one layer can be profiled and run among their neighbours in a second; by the compiled core, and
by its twin in Python in the same run. The other three are taken
from outside: `overlapim --help`, the seconds until `overlapim solve {SOLVED}` has its first answer, and the
memory that it takes in ten seconds.

They say nothing of how good the answers are. Times vary by a tenth or two from run to run.
"""

_MEANING = {
    "evaluate_ms": "evaluate a network, tables at hand, ms",
    "evaluate_fresh_ms": "evaluate a network, from nothing, ms",
    "profile_us": "profile a mapping, us",
    "candidates_per_s": "new mappings of a layer, per second",
    "edges_per_candidate": "operands looked at for each",
    "help_s": "`overlapim --help`, s",
    "first_solution_s": f"first answer of `solve {SOLVED}`, s",
    "peak_mib": f"memory of `solve {SOLVED}`, MiB",
}


def _empty() -> SpeedResults:
    from solver.bench.speed import SpeedResults

    return SpeedResults()


def _sheet(results: SpeedResults) -> Sheet:
    """Return a table with a column for each case, and one for what Python takes."""
    columns, figures = ["what"], []
    for case in results.cases:
        columns.append(str(case.what.on))
        figures.append(case.result.library.model_dump() | case.result.commands.model_dump())
        if case.result.python is not None:
            columns.append("the same in Python")
            figures.append(case.result.python.model_dump())
    rows = [
        (text, *(f"{own[name]:,.3f}" if name in own else "-" for own in figures))
        for name, text in _MEANING.items()
    ]
    return Sheet((Table("Medians on one machine", tuple(columns), tuple(rows), names=1),))


SPEED = Benchmark("speed", "Speed of single steps and of commands", _empty, _sheet, _ABOUT)


def speed_command(
    context: typer.Context,
    network: NetworkOption = "resnet18",
    hw: HardwareName = DEFAULT_HARDWARE,
    seed: Seed = 0,
    out: OutDirectory = None,
) -> None:
    """Time profiles, evaluations and candidates in this process, and whole commands from outside.

    The commands are `--help` and `solve resnet50` up to its first answer. Writes speed.json and speed.md.
    """
    from cli.commands.bench.command_speed import command_speed
    from hw.library import load_hardware
    from models.library import load_network
    from solver import core
    from solver.bench.cases import Case, Subject
    from solver.bench.speed import Speed, SpeedCase, library_speed

    loaded, chip = load_network(network), load_hardware(hw)

    def measure(interrupt: object) -> Speed:
        own, python = library_speed(loaded, chip, seed), None
        if core.native is not None:
            with core.without():
                python = library_speed(loaded, chip, seed)
        return Speed(library=own, python=python, commands=command_speed(SOLVED, hw))

    what = SpeedCase(on=Subject.of(loaded, chip), seed=seed, solved=SOLVED)
    conduct(SPEED, [Case(what, measure)], out, context)
