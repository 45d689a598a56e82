"""`overlapim hw`: the chips that come with the program, and whether a hardware file is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from cli.answers import answer, answering
from cli.options import AsFile, CatalogueName, CheckedFile

if TYPE_CHECKING:
    from cli.records.catalogue import ChipSummary
    from hw.hardware import Hardware

app = typer.Typer(help="Chips: list them, show one, check a file, derive one.")


@dataclass(frozen=True)
class ShownChip:
    """A chip: what it adds up to, and its file."""

    summary: ChipSummary
    hardware: Hardware


@app.command("list")
@answering
def list_hardware() -> None:
    """List the chips that come with the program."""
    from cli.records.catalogue import chip_summary
    from hw.library import load_hardware, preset_names

    chips = [chip_summary(load_hardware(name)) for name in preset_names()]
    answer(chips, lambda: _show_chips(chips))


def _show_chips(chips: Sequence[ChipSummary]) -> None:
    from cli.show.console import console
    from cli.show.tables import number, table

    rows = table(("name", "channels", "banks", "lanes", "rows", "cycles/MAC", "weights"), ("name", "weights"))
    for chip in chips:
        sizes = (chip.channels, chip.banks, chip.lanes, chip.rows, chip.mac_cycles)
        rows.add_row(chip.name, *map(number, sizes), chip.weights)
    console().print(rows)


@app.command("show")
@answering
def show_hardware(name: CatalogueName, as_file: AsFile = False) -> None:
    """Show a chip and where its numbers come from.

    Example:

      overlapim hw show hbm2-bitsimd --file > chip.yaml
    """
    from cli.records.catalogue import chip_summary
    from hw.library import load_hardware
    from overlapim_files import dump

    chip = load_hardware(name)
    if as_file:
        answer(chip, lambda: print(dump(chip), end=""))
    else:
        answer(ShownChip(chip_summary(chip), chip), lambda: _show_chip(chip))


def _show_chip(chip: Hardware) -> None:
    from cli.show.console import console, printable_lines
    from cli.show.facts import chip_facts, cost_facts, show_facts

    show_facts([*chip_facts(chip), *cost_facts(chip)])
    console().print(f"\n{printable_lines(chip.source.strip()) or 'no source is given'}", soft_wrap=True)


@app.command("check")
@answering
def check_hardware(file: CheckedFile) -> None:
    """Check a hardware file and print what it adds up to.

    Example:

      overlapim hw check chip.yaml
    """
    from cli.records.catalogue import chip_summary
    from cli.show.facts import chip_facts, show_facts
    from hw.library import load_hardware

    chip = load_hardware(file)
    answer(chip_summary(chip), lambda: show_facts([*chip_facts(chip), ("valid", "yes")]))
