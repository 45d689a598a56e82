"""`overlapim hw` and `overlapim models`: what comes with the program, and whether a file is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Layer, Network

hardware_app = typer.Typer(help="Chips: list them, show one, check a file.")
networks_app = typer.Typer(help="Networks: list them, show one, check a file.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A built-in name or a file.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="The file to check.")]
AsFile = Annotated[bool, typer.Option("--file", "-f", help="Print it as a file to begin one's own with.")]


@hardware_app.command("list")
def list_hardware() -> None:
    """List the chips that come with the program."""
    from cli.console import console
    from cli.tables import number, table
    from hw.library import load_hardware, preset_names

    rows = table(("name", "channels", "banks", "lanes", "rows", "cycles/MAC", "weights"), ("name", "weights"))
    for name in preset_names():
        chip = load_hardware(name)
        sizes = (chip.channels, chip.banks, chip.lanes, chip.rows_per_bank, chip.mac_cycles)
        rows.add_row(name, *map(number, sizes), chip.weights)
    console().print(rows)


@hardware_app.command("show")
def show_hardware(name: Name, as_file: AsFile = False) -> None:
    """Show a chip and where its numbers come from.

    Example:

      overlapim hw show hbm2-bitsimd --file > chip.yaml
    """
    from cli.console import console
    from hw.library import load_hardware
    from overlapim_files import dump

    chip = load_hardware(name)
    if as_file:
        print(dump(chip), end="")
        return
    costs = [f"{key} {value}" for key, value in chip.cycles.model_dump().items()]
    widths = [f"{key} {value}" for key, value in chip.bits_per_cycle.model_dump().items()]
    extra = [
        ("bits", ", ".join(f"{key} {value}" for key, value in chip.bits.model_dump().items())),
        ("cycles", ", ".join(costs)),
        ("bits/cycle", ", ".join(widths)),
        ("sync blocks", f"{chip.sync_blocks:,}"),
    ]
    _facts([*_chip_facts(chip), *extra])
    console().print(f"\n{chip.source.strip() or 'no source is given'}", soft_wrap=True)


@hardware_app.command("check")
def check_hardware(file: File) -> None:
    """Check a hardware file and print what it adds up to.

    Example:

      overlapim hw check chip.yaml
    """
    from hw.library import load_hardware

    _facts([*_chip_facts(load_hardware(file)), ("valid", "yes")])


def _chip_facts(chip: Hardware) -> list[tuple[str, str]]:
    banks = f"{chip.banks:,} ({chip.channels:,} channels of {chip.banks_per_channel:,})"
    rate = chip.lanes / (chip.mac_cycles * chip.clock_ns * 1e-9)
    return [
        ("name", chip.name),
        ("banks", banks),
        ("lanes", f"{chip.lanes:,} ({chip.columns_per_bank:,} a bank)"),
        ("capacity", f"{chip.lanes * chip.rows_per_bank:,} bits ({chip.rows_per_bank:,} a lane)"),
        ("MAC", f"{chip.mac_cycles:,} cycles of {chip.clock_ns:g} ns"),
        ("peak", f"{rate:.4g} MAC/s"),
        ("weights", chip.weights),
    ]


@networks_app.command("list")
def list_networks() -> None:
    """List the networks that come with the program."""
    from cli.console import console
    from cli.tables import number, table
    from models.library import load_network, network_names

    rows = table(("name", "layers", "MACs", "weights"), ("name",))
    for name in network_names():
        network = load_network(name)
        rows.add_row(name, *map(number, (len(network.layers), network.macs, network.weights)))
    console().print(rows)


@networks_app.command("show")
def show_network(name: Name, as_file: AsFile = False) -> None:
    """Show the layers of a network and what each of them reads.

    Example:

      overlapim models show resnet18 --file > net.yaml
    """
    from cli.console import console, printable
    from cli.tables import number, table
    from models.library import load_network
    from overlapim_files import dump

    network = load_network(name)
    if as_file:
        print(dump(network), end="")
        return
    _facts(_network_facts(network))
    rows = table(
        ("layer", "dims", "output", "MACs", "weights", "reads"), ("layer", "dims", "output", "reads")
    )
    for layer in network.layers:
        shape = " x ".join(map(str, layer.shape))
        reads = ", ".join(dict.fromkeys(printable(operand.producer) for operand in layer.operands))
        counts = (number(layer.macs), number(layer.weights))
        rows.add_row(printable(layer.name), _dims(layer), shape, *counts, reads)
    console().print()
    console().print(rows)


@networks_app.command("check")
def check_network(file: File) -> None:
    """Check a network file and print what it adds up to.

    Example:

      overlapim models check net.yaml
    """
    from models.library import load_network

    _facts([*_network_facts(load_network(file)), ("valid", "yes")])


def _dims(layer: Layer) -> str:
    return " ".join(f"{dim}{bound}" for dim, bound in layer.dims.items() if bound > 1) or "1"


def _network_facts(network: Network) -> list[tuple[str, str]]:
    from cli.console import printable

    shapes = {x.name: x.shape for x in network.inputs}
    outputs = {
        layer.name: layer.shape
        for layer, consumers in zip(network.layers, network.consumers, strict=True)
        if not consumers
    }

    def tensors(shapes: dict[str, tuple[int, int, int, int]]) -> str:
        shown = (f"{printable(name)} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        return ", ".join(shown) or "none"

    return [
        ("name", network.name),
        ("layers", f"{len(network.layers):,}"),
        ("MACs", f"{network.macs:,}"),
        ("weights", f"{network.weights:,}"),
        ("inputs", tensors(shapes)),
        ("outputs", tensors(outputs)),
    ]


def _facts(facts: Sequence[tuple[str, str]]) -> None:
    from cli.console import console, printable

    for name, value in facts:
        console().print(f"{name:<12}{printable(value, 400)}", soft_wrap=True)
