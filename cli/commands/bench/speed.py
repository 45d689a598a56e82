"""`overlapim bench speed`: how fast the library and whole commands are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import typer

from cli.commands.bench.options import NetworksOption
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import DEFAULT_HARDWARE, HardwareName, OutDirectory, Seed

if TYPE_CHECKING:
    from solver.bench.speed import Speed, SpeedResults

NETWORKS = ["resnet18", "resnet50", "bert-base", "inception-v1"]

_ABOUT = """\
How fast single steps are, and whole commands. What is measured within one process is measured twice in the
same run, by the compiled core and by its twin in Python: evaluating a whole network, with every table at
hand and with none; profiling one mapping; how many new mappings of one layer can be profiled and run among
their neighbours in a second; how many valid ones a second are drawn at random and profiled; and how many
moves a second each search makes in its first seconds, when what it keeps of each layer is still being made.
The other three are taken from outside: `overlapim --help`, the seconds until `overlapim solve` has its
first answer for the network, and the memory that it takes in ten seconds.

They say nothing of how good the answers are. Times vary by a tenth or two from run to run.
"""

_MEANING = {
    "evaluate_ms": "evaluate a network, tables at hand, ms",
    "evaluate_fresh_ms": "evaluate a network, from nothing, ms",
    "profile_us": "profile a mapping, us",
    "candidates_per_s": "new mappings of a layer, per second",
    "edges_per_candidate": "operands looked at for each",
    "drawn_per_s": "valid mappings at random, per second",
    "single_per_s": "random moves, static, per second",
    "exchanges_per_s": "weighed moves, static, per second",
    "shared_per_s": "moves, shared, per second",
    "help_s": "`overlapim --help`, s",
    "first_solution_s": "first answer of `solve`, s",
    "peak_mib": "memory of `solve`, MiB",
}


def _empty() -> SpeedResults:
    from solver.bench.speed import SpeedResults

    return SpeedResults()


def _sheet(results: SpeedResults) -> Sheet:
    """Return a table for each case: what the core takes, what Python takes, and how many times as much."""
    return Sheet(tuple(_table(str(case.what.on), case.result) for case in results.cases))


def _table(title: str, speed: Speed) -> Table:
    own = speed.library.model_dump() | speed.commands.model_dump()
    twin = speed.python.model_dump() if speed.python else {}
    rows = []
    for name, text in _MEANING.items():
        python = times = "-"
        if name in twin and name != "edges_per_candidate":
            slower = twin[name] / own[name]
            python = _figure(twin[name])
            times = f"{1 / slower if name.endswith('_per_s') else slower:.1f}x"
        rows.append((text, _figure(own[name]), python, times))
    return Table(title, ("what", "as it runs", "in Python", "faster"), tuple(rows), names=1)


def _figure(value: float) -> str:
    """Return a figure with three digits or all of its whole ones."""
    return f"{value:,.{max(0, 2 - math.floor(math.log10(value)))}f}" if value else "0"


SPEED = Benchmark("speed", "Speed of single steps and of commands", _empty, _sheet, _ABOUT)


def speed_command(
    context: typer.Context,
    network: NetworksOption = NETWORKS,
    hw: HardwareName = DEFAULT_HARDWARE,
    seed: Seed = 0,
    out: OutDirectory = None,
) -> None:
    """Time profiles, evaluations and searches in this process, and whole commands from outside.

    The commands are `--help` and `solve` up to its first answer. Writes speed.json and speed.md.
    """
    from cli.commands.bench.command_speed import command_speed
    from hw.library import load_hardware
    from models.library import load_network
    from solver import core
    from solver.bench.cases import Case, Subject
    from solver.bench.speed import Speed, SpeedCase, library_speed

    chip = load_hardware(hw)

    def case(name: str) -> Case[SpeedCase, Speed]:
        loaded = load_network(name)

        def measure(interrupt: object) -> Speed:
            own, python = library_speed(loaded, chip, seed), None
            if core.native is not None:
                with core.without():
                    python = library_speed(loaded, chip, seed)
            return Speed(library=own, python=python, commands=command_speed(name, hw))

        return Case(SpeedCase(on=Subject.of(loaded, chip), seed=seed), measure)

    conduct(SPEED, list(map(case, network)), out, context)
