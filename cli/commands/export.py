"""`overlapim export`: the mappings of a solution in other forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import OutDirectory, SolutionFile, one_of

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Layer
    from solver.solution import Solution
    from solver.timing.profile import Profile

ExportForm = Annotated[
    str,
    typer.Option(
        "--to",
        parser=one_of("loops", "timeloop"),
        metavar="loops|timeloop",
        help="Loop nests as text, or files for Timeloop.",
    ),
]


def export_command(solution: SolutionFile, to: ExportForm = "loops", out: OutDirectory = None) -> None:
    """Write how each layer of a solution runs: as a loop nest to read, or as files for Timeloop.

    The nests are printed, or written to DIR/loops.txt. Timeloop gets a problem, a mapping and an architecture
    for each layer, and the nest lies beside them. The solution is recomputed first.

    Examples:

      overlapim export results/solution.yaml
      overlapim export results/solution.yaml --to timeloop -o layers
    """
    from cli.output import output_directory
    from cli.show.console import say
    from overlapim_files import InputError, write_text
    from solver.solution import read_verified

    if to == "timeloop" and out is None:
        raise InputError("--to timeloop writes several files for each layer; say where with --out DIR")
    stated, plan = read_verified(solution)
    layers = list(zip(stated.network.layers, plan.profiles, strict=True))
    if out is None:
        print("\n".join(_nests(stated.hardware, layers)), end="")
        return
    with output_directory(out):
        written = 0
        for name, text in _timeloop(stated, layers) if to == "timeloop" else _loops(stated, layers):
            write_text(out / name, text)
            written += 1
    say(f"written: {out / 'loops.txt' if to == 'loops' else f'{written} files in {out}'}")


def _nests(hardware: Hardware, layers: list[tuple[Layer, Profile]]) -> Iterator[str]:
    """Return for each layer its name and its loop nest."""
    from cli.show.console import printable
    from solver.export.nest import loop_nest

    for layer, profile in layers:
        yield f"{printable(layer.name, 200)}\n{loop_nest(profile, hardware)}\n"


def _loops(solution: Solution, layers: list[tuple[Layer, Profile]]) -> Iterator[tuple[str, str]]:
    yield "loops.txt", "\n".join(_nests(solution.hardware, layers))


def _timeloop(solution: Solution, layers: list[tuple[Layer, Profile]]) -> Iterator[tuple[str, str]]:
    """Return the name and the text of each file for Timeloop."""
    from models.timeloop.write import problem_text
    from solver.export.timeloop import architecture_text, mapping_text

    nests = _nests(solution.hardware, layers)
    for i, ((layer, profile), nest) in enumerate(zip(layers, nests, strict=True), 1):
        mapping, bits = profile.mapping, solution.hardware.bits.activation
        start = f"{i:0{len(str(len(layers)))}}-{re.sub(r'[^A-Za-z0-9._-]', '_', layer.name)[:80]}"
        yield f"{start}.problem.yaml", problem_text(layer)
        yield f"{start}.mapping.yaml", mapping_text(layer, mapping)
        yield f"{start}.arch.yaml", architecture_text(mapping, bits)
        yield f"{start}.loops.txt", nest
