"""`overlapim export`: the mappings of a solution in other forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import OutDirectory, SolutionFile, one_of

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Layer
    from solver.schedule.plan import Plan
    from solver.solution import Solution
    from solver.timing.profile import Profile

ExportForm = Annotated[
    str,
    typer.Option(
        "--to",
        parser=one_of("loops", "timeloop", "aim"),
        metavar="loops|timeloop|aim",
        help="Loop nests as text, files for Timeloop, or traces for aim_simulator.",
    ),
]


def export_command(solution: SolutionFile, to: ExportForm = "loops", out: OutDirectory = None) -> None:
    """Write how each layer of a solution runs: as a loop nest to read, or as files for other programs.

    The nests are printed, or written to DIR/loops.txt. Timeloop gets a problem, a mapping and an architecture
    for each layer; the nest lies beside them, and a file of edges, by which the directory is a network
    again. aim_simulator gets a trace of each layer and one of the
    network, of solutions on chips of AiM's kind. The solution is recomputed first.

    Examples:

      overlapim export results/solution.yaml
      overlapim export results/solution.yaml --to timeloop -o layers
      overlapim export results/solution.yaml --to aim -o traces
    """
    from cli.output import output_directory
    from cli.show.console import say
    from overlapim_files import InputError, write_parts
    from solver.solution import read_verified

    if to != "loops" and out is None:
        raise InputError(f"--to {to} writes several files; say where with --out DIR")
    stated, plan = read_verified(solution)
    if out is None:
        print("\n".join(_nests(stated.hardware, _layers(stated, plan))), end="")
        return
    files = {"loops": _loops, "timeloop": _timeloop, "aim": _aim}[to]
    with output_directory(out):
        written = 0
        try:
            for name, parts in files(stated, plan):
                write_parts(out / name, parts)
                written += 1
        except InputError as error:
            raise InputError(f"{solution}: {error}") from None
    say(f"written: {out / 'loops.txt' if to == 'loops' else f'{written} files in {out}'}")


def _layers(solution: Solution, plan: Plan) -> list[tuple[Layer, Profile]]:
    return list(zip(solution.network.layers, plan.profiles, strict=True))


def _nests(hardware: Hardware, layers: list[tuple[Layer, Profile]]) -> Iterator[str]:
    """Return for each layer its name and its loop nest."""
    from cli.show.console import printable
    from solver.export.nest import loop_nest

    for layer, profile in layers:
        yield f"{printable(layer.name, 200)}\n{loop_nest(profile, hardware)}\n"


def _loops(solution: Solution, plan: Plan) -> Iterator[tuple[str, Iterable[str]]]:
    yield "loops.txt", ["\n".join(_nests(solution.hardware, _layers(solution, plan)))]


def _timeloop(solution: Solution, plan: Plan) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the name and the parts of each file for Timeloop."""
    from models.timeloop.load import EDGES
    from models.timeloop.write import edges_text, problem_text
    from solver.export.timeloop import architecture_text, mapping_text
    from solver.timing.own_bits import own_chip

    layers = _layers(solution, plan)
    nests = _nests(solution.hardware, layers)
    starts = dict(zip(solution.network.index, _starts(list(solution.network.index)), strict=True))
    yield EDGES, [edges_text(solution.network, starts)]
    for (layer, profile), nest in zip(layers, nests, strict=True):
        start = starts[layer.name]
        mapping, bits = profile.mapping, own_chip(layer, solution.hardware).bits.activation
        yield f"{start}.problem.yaml", [problem_text(layer)]
        yield f"{start}.mapping.yaml", [mapping_text(layer, mapping)]
        yield f"{start}.arch.yaml", [architecture_text(mapping, bits)]
        yield f"{start}.loops.txt", [nest]


def _aim(solution: Solution, plan: Plan) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the name and the parts of each trace for aim_simulator, that of the network last."""
    from cli.show.console import printable
    from solver.export.aim import aim_layers, aim_trace
    from solver.timing.problem import Problem

    layers = aim_layers(Problem(solution.network, solution.hardware), plan)
    titles = [printable(layer.name, 200) for layer in layers]
    for start, layer, title in zip(_starts([layer.name for layer in layers]), layers, titles, strict=True):
        yield f"{start}.trace", aim_trace([layer], [title])
    yield "network.trace", aim_trace(layers, titles)


def _starts(names: list[str]) -> Iterator[str]:
    """Yield how the names of a layer's files start: with its number, then its own name as far as it can."""
    for i, name in enumerate(names, 1):
        yield f"{i:0{len(str(len(names)))}}-{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:80]}"
