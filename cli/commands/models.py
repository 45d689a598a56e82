"""`overlapim hw` and `overlapim models`: what comes with the program, and whether a file is right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from cli.answers import answer, answering
from cli.commands.derive import app as derive_app
from cli.networks import Extents, Strict, given_network, network_with_notes, show_notes

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Layer, Network
    from models.onnx.build import Note

hardware_app = typer.Typer(help="Chips: list them, show one, check a file, derive one.")
hardware_app.add_typer(derive_app, name="derive")
networks_app = typer.Typer(help="Networks: list them, show one, check a file.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A built-in name or a file.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="The file to check.")]
AsFile = Annotated[bool, typer.Option("--file", "-f", help="Print it as a file to begin one's own with.")]


@dataclass(frozen=True)
class ChipSummary:
    """What a chip adds up to; `rows` are bits of a lane, `peak` multiply-accumulates per second."""

    name: str
    channels: int
    banks: int
    lanes: int
    rows: int
    mac_cycles: int
    weights: str
    capacity_bits: int
    peak: float


@dataclass(frozen=True)
class ShownChip:
    """A chip: what it adds up to, and its file."""

    summary: ChipSummary
    hardware: Hardware


@dataclass(frozen=True)
class NetworkSummary:
    """What a network adds up to; inputs and outputs with their shapes, and notes on nodes of an ONNX file."""

    name: str
    layers: int
    macs: int
    weights: int
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class LayerSummary:
    """A layer as `models show` lists it; dims of bound 1 are left out."""

    name: str
    dims: dict[str, int]
    output: tuple[int, ...]
    macs: int
    weights: int
    reads: tuple[str, ...]


@dataclass(frozen=True)
class ShownNetwork:
    """A network: what it adds up to, and its layers."""

    summary: NetworkSummary
    layers: tuple[LayerSummary, ...]


@hardware_app.command("list")
@answering
def list_hardware() -> None:
    """List the chips that come with the program."""
    from hw.library import load_hardware, preset_names

    chips = [_chip(load_hardware(name)) for name in preset_names()]
    answer(chips, lambda: _show_chips(chips))


def _show_chips(chips: Sequence[ChipSummary]) -> None:
    from cli.show.console import console
    from cli.show.tables import number, table

    rows = table(("name", "channels", "banks", "lanes", "rows", "cycles/MAC", "weights"), ("name", "weights"))
    for chip in chips:
        sizes = (chip.channels, chip.banks, chip.lanes, chip.rows, chip.mac_cycles)
        rows.add_row(chip.name, *map(number, sizes), chip.weights)
    console().print(rows)


@hardware_app.command("show")
@answering
def show_hardware(name: Name, as_file: AsFile = False) -> None:
    """Show a chip and where its numbers come from.

    Example:

      overlapim hw show hbm2-bitsimd --file > chip.yaml
    """
    from hw.library import load_hardware
    from overlapim_files import dump

    chip = load_hardware(name)
    if as_file:
        answer(chip, lambda: print(dump(chip), end=""))
    else:
        answer(ShownChip(_chip(chip), chip), lambda: _show_chip(chip))


def _show_chip(chip: Hardware) -> None:
    from cli.show.console import console

    _facts([*chip_facts(chip), *cost_facts(chip)])
    console().print(f"\n{chip.source.strip() or 'no source is given'}", soft_wrap=True)


@hardware_app.command("check")
@answering
def check_hardware(file: File) -> None:
    """Check a hardware file and print what it adds up to.

    Example:

      overlapim hw check chip.yaml
    """
    from hw.library import load_hardware

    chip = load_hardware(file)
    answer(_chip(chip), lambda: _facts([*chip_facts(chip), ("valid", "yes")]))


def _chip(chip: Hardware) -> ChipSummary:
    return ChipSummary(
        name=chip.name,
        channels=chip.channels,
        banks=chip.banks,
        lanes=chip.lanes,
        rows=chip.rows_per_bank,
        mac_cycles=chip.mac_cycles,
        weights=chip.weights,
        capacity_bits=chip.lanes * chip.rows_per_bank,
        peak=chip.lanes / (chip.mac_cycles * chip.clock_ns * 1e-9),
    )


def chip_facts(chip: Hardware) -> list[tuple[str, str]]:
    """Return what a chip adds up to, a line each."""
    banks = f"{chip.banks:,} ({chip.channels:,} channels of {chip.banks_per_channel:,})"
    summary = _chip(chip)
    return [
        ("name", chip.name),
        ("banks", banks),
        ("lanes", f"{chip.lanes:,} ({chip.columns_per_bank:,} a bank)"),
        ("capacity", f"{summary.capacity_bits:,} bits ({chip.rows_per_bank:,} a lane)"),
        ("MAC", f"{chip.mac_cycles:,} cycles of {chip.clock_ns:g} ns"),
        ("peak", f"{summary.peak:.4g} MAC/s"),
        ("weights", chip.weights),
    ]


def cost_facts(chip: Hardware) -> list[tuple[str, str]]:
    """Return the bits, costs and bandwidths of a chip, a line each."""
    costs = [f"{key} {value}" for key, value in chip.cycles.model_dump().items()]
    widths = [f"{key} {value}" for key, value in chip.bits_per_cycle.model_dump().items()]
    return [
        ("bits", ", ".join(f"{key} {value}" for key, value in chip.bits.model_dump().items())),
        ("cycles", ", ".join(costs)),
        ("bits/cycle", ", ".join(widths)),
        ("sync blocks", f"{chip.sync_blocks:,}"),
    ]


@networks_app.command("list")
@answering
def list_networks() -> None:
    """List the networks that come with the program.

    BERT and GPT-2 have 128 tokens unless their name says how many, in every command that takes a network.

    Example:

      overlapim models show bert-base:512
    """
    from models.library import load_network, network_names

    networks = [network_summary(load_network(name)) for name in network_names()]
    answer(networks, lambda: _show_networks(networks))


def _show_networks(networks: Sequence[NetworkSummary]) -> None:
    from cli.show.console import console
    from cli.show.tables import number, table

    rows = table(("name", "layers", "MACs", "weights"), ("name",))
    for network in networks:
        rows.add_row(network.name, *map(number, (network.layers, network.macs, network.weights)))
    console().print(rows)


@networks_app.command("show")
@answering
def show_network(name: Name, dim: Extents = None, strict: Strict = False, as_file: AsFile = False) -> None:
    """Show the layers of a network and what each of them reads.

    Example:

      overlapim models show resnet18 --file > net.yaml
    """
    from overlapim_files import dump

    network = given_network(name, dim, strict)
    if as_file:
        answer(network, lambda: print(dump(network), end=""))
    else:
        shown = ShownNetwork(network_summary(network), tuple(map(_layer, network.layers)))
        answer(shown, lambda: _show_network(shown))


def _show_network(network: ShownNetwork) -> None:
    from cli.show.console import console, printable
    from cli.show.tables import number, table

    _facts(network_facts(network.summary))
    rows = table(
        ("layer", "dims", "output", "MACs", "weights", "reads"), ("layer", "dims", "output", "reads")
    )
    for layer in network.layers:
        dims = " ".join(f"{dim}{bound}" for dim, bound in layer.dims.items()) or "1"
        shape = " x ".join(map(str, layer.output))
        counts = (number(layer.macs), number(layer.weights))
        rows.add_row(printable(layer.name), dims, shape, *counts, ", ".join(map(printable, layer.reads)))
    console().print()
    console().print(rows)


@networks_app.command("check")
@answering
def check_network(file: File, dim: Extents = None, strict: Strict = False) -> None:
    """Check a network file and print what it adds up to.

    Of an ONNX file it lists the nodes that could not be taken over as they stand, and what happened to them.

    Examples:

      overlapim models check net.yaml
      overlapim models check net.onnx --dim batch=1
    """
    network, notes = network_with_notes(file, dim, strict)
    summary = replace(network_summary(network), notes=tuple(notes))
    answer(summary, lambda: _show_check(summary))


def _show_check(summary: NetworkSummary) -> None:
    _facts([*network_facts(summary), ("valid", "yes")])
    if summary.notes:
        print()
        show_notes(summary.notes, sys.stdout)


def network_summary(network: Network) -> NetworkSummary:
    """Return what a network adds up to."""
    layers = zip(network.layers, network.consumers, strict=True)
    return NetworkSummary(
        name=network.name,
        layers=len(network.layers),
        macs=network.macs,
        weights=network.weights,
        inputs={x.name: x.shape for x in network.inputs},
        outputs={layer.name: layer.shape for layer, consumers in layers if not consumers},
    )


def _layer(layer: Layer) -> LayerSummary:
    return LayerSummary(
        name=layer.name,
        dims={dim: bound for dim, bound in layer.dims.items() if bound > 1},
        output=layer.shape,
        macs=layer.macs,
        weights=layer.weights,
        reads=tuple(dict.fromkeys(operand.producer for operand in layer.operands)),
    )


def network_facts(network: NetworkSummary) -> list[tuple[str, str]]:
    """Return what a network adds up to, a line each."""
    from cli.show.console import printable

    def tensors(shapes: dict[str, tuple[int, ...]]) -> str:
        shown = (f"{printable(name)} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        return ", ".join(shown) or "none"

    return [
        ("name", network.name),
        ("layers", f"{network.layers:,}"),
        ("MACs", f"{network.macs:,}"),
        ("weights", f"{network.weights:,}"),
        ("inputs", tensors(network.inputs)),
        ("outputs", tensors(network.outputs)),
    ]


def _facts(facts: Sequence[tuple[str, str]]) -> None:
    from cli.show.console import console, printable

    for name, value in facts:
        console().print(f"{name:<12}{printable(value, 400)}", soft_wrap=True)
