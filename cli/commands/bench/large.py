"""`overlapim bench large`: what networks of thousands of layers and chips of 100,000 banks take."""

from __future__ import annotations

import json
import os
import subprocess
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.bench.options import WEIGHTS, OnlyWeights, listed
from cli.commands.bench.publish import Benchmark, Sheet, Table, conduct
from cli.options import DEFAULT_HARDWARE, HardwareName, OutDirectory, integer, one_of
from cli.options import seconds as parse_seconds

if TYPE_CHECKING:
    from solver.bench.large import CommandCost, LargeResults, MeasuredLarge

LEAST = 0.1
"""Seconds from which on it is said how they grow."""

_ABOUT = """\
What steps and commands take on networks of thousands of layers, layers of a million by a million, and chips
of very many banks: `chain` has 3 x 3 convolutions of 64 channels one after the other, `residual` adds what a
pair of them reads to what it computes, `wide` multiplies vectors of a million elements by square matrices.
Chips are a preset with more channels, and with 2^20 rows, so that the weights fit.

Seconds are those of all processors, so that they hardly depend on what else the machine does. The exponent
says with which power of the layers they grow from the last size but one to the last; a command has its start
in it. `solve` is limited in seconds on the wall, which says little on a machine that does much else; what it
takes of the processors is start, search, verification and files together.
"""


def _empty() -> LargeResults:
    from solver.bench.large import LargeResults

    return LargeResults()


def _sheet(results: LargeResults) -> Sheet:
    """Return a table of seconds and one of memory and sizes for each family of networks."""
    tables = []
    for (shape, chip), cases in results.by_family().items():
        tables.append(_seconds(f"{shape} on {chip}: seconds of processor time", cases))
        tables.append(_room(f"{shape} on {chip}: memory and files", cases))
    limits = {f"The search has {case.what.seconds:g} s." for case in results.cases}
    return Sheet(tuple(tables), tuple(sorted(limits)))


def _heads(cases: list[MeasuredLarge]) -> tuple[str, ...]:
    return tuple(f"{n:,} layer{'s' * (n > 1)}" for n in (case.what.layers for case in cases))


def _seconds(title: str, cases: list[MeasuredLarge]) -> Table:
    from solver.bench.large import exponent

    rows = []
    steps = [case.result.steps for case in cases]
    costs = [{name: x.cpu_s for name, x in case.result.commands.items() if name != "solve"} for case in cases]
    for label, found in (("{}", steps), ("`{}`", costs)):
        for name in found[0]:
            values = [own[name] for own in found]
            sized = [(case.what.layers, value) for case, value in zip(cases, values, strict=True)]
            told = len(sized) > 1 and min(values[-2:]) >= LEAST
            power = f"{exponent(*sized[-2:]):.2f}" if told else "-"
            rows.append((label.format(name), *(f"{value:,.2f}" for value in values), power))
    return Table(title, ("step or command", *_heads(cases), "exponent"), tuple(rows), names=1)


def _room(title: str, cases: list[MeasuredLarge]) -> Table:
    rows = (
        ("most memory, MiB", *(f"{max(_peaks(case)):,.0f}" for case in cases)),
        *(
            (f"{name}, MB", *(f"{case.result.sizes[name] / 1e6:,.1f}" for case in cases))
            for name in cases[0].result.sizes
        ),
        ("`solve`, s of processor time", *(f"{_search(case).cpu_s:,.1f}" for case in cases)),
        ("its first answer, s on the wall", *(f"{case.result.first_s:,.1f}" for case in cases)),
        ("gap in the end", *(f"{case.result.gap:.1%}" for case in cases)),
    )
    return Table(title, ("what", *_heads(cases)), rows, names=1)


def _search(case: MeasuredLarge) -> CommandCost:
    return case.result.commands["solve"]


def _peaks(case: MeasuredLarge) -> list[float]:
    return [cost.peak_mib for cost in case.result.commands.values()]


LARGE = Benchmark("large", "Large networks and chips", _empty, _sheet, _ABOUT)


def large_command(
    context: typer.Context,
    shapes: Annotated[
        str, typer.Option("--shapes", metavar="SHAPE,..", help="Of chain, residual and wide.")
    ] = "chain,residual",
    layers: Annotated[
        str, typer.Option("--layers", "-l", metavar="N,N,..", help="Sizes of the networks.")
    ] = "300,1000,3000",
    banks: Annotated[str, typer.Option("--banks", metavar="N,N,..", help="Sizes of the chips.")] = "100000",
    hw: HardwareName = DEFAULT_HARDWARE,
    weights: OnlyWeights = None,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", "-t", parser=parse_seconds, metavar="SECONDS", help="Of the search."),
    ] = 10.0,
    out: OutDirectory = None,
) -> None:
    """Time all steps and commands on networks of thousands of layers and chips of very many banks.

    Writes large.json and large.md. With the defaults it takes an hour.

    Example:

      overlapim bench large --shapes residual --layers 300,1000,3000 --weights static
    """
    from hw.hardware import Hardware
    from hw.library import load_hardware
    from models.network import MAX_LAYERS
    from solver.bench.large import SHAPES, large_cases, large_chip

    found: list[Hardware] = []
    for count in listed("--banks", banks, integer(1, 10**6)):
        chip = large_chip(load_hardware(hw), count)
        found += [chip.with_weights(own) for own in WEIGHTS if weights in (None, own)]
    kinds = listed("--shapes", shapes, one_of(*SHAPES))
    sizes = list(product(kinds, listed("--layers", layers, integer(1, MAX_LAYERS))))
    conduct(LARGE, list(large_cases(sizes, found, time_limit, _commands)), out, context)


def _commands(folder: Path, seconds: float) -> tuple[dict[str, CommandCost], float, float]:
    """Run all commands: what each took, when the search had its first answer, and the gap at its end."""
    solution = str(folder / "solution.yaml")
    search = ["solve", str(folder / "network.yaml"), "--hw", str(folder / "chip.yaml"), "-t", f"{seconds:g}"]
    costs = {"solve": _cost([*search, "-j", "1", "-o", str(folder)])}
    for name, *more in (
        ("evaluate", solution),
        ("explain", solution),
        ("report", solution, "-o", str(folder / "report.html")),
        ("trace", solution, "-o", str(folder / "trace.json")),
        ("plot", solution, "-o", str(folder / "plot.pdf")),
    ):
        costs[name] = _cost([name, *more])
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return costs, float(result["trace"][0][0]), float(result["gap"])


def _cost(arguments: list[str]) -> CommandCost:
    from cli.commands.bench.command_speed import PROGRAM
    from overlapim_files import InputError
    from solver.bench.large import CommandCost

    began = time.monotonic()
    with subprocess.Popen(
        [*PROGRAM, *arguments, "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        error = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"overlapim {arguments[0]}: {error.strip()}")
    cpu = usage.ru_utime + usage.ru_stime
    return CommandCost(cpu_s=cpu, wall_s=time.monotonic() - began, peak_mib=usage.ru_maxrss / 1024)
