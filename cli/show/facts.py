"""Facts: lines of a name and what is so, about solutions, chips and networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel

from cli.records.catalogue import NetworkSummary, chip_summary
from cli.show.console import console, printable
from hw.hardware import Hardware

Fact = tuple[str, str]
"""What a line is about, and what is so."""


def fact_lines(facts: Iterable[Fact]) -> str:
    """Return facts as text, a line each."""
    return "\n".join(f"{name:<12}{text}" for name, text in facts)


def show_facts(facts: Iterable[Fact]) -> None:
    """Print facts; what is in them may come from files."""
    console().print(fact_lines((name, printable(text, 400)) for name, text in facts), soft_wrap=True)


def chip_facts(chip: Hardware) -> list[Fact]:
    """Return what a chip adds up to, a line each."""
    banks = f"{chip.banks:,} ({chip.channels:,} channels of {chip.banks_per_channel:,})"
    summary = chip_summary(chip)
    return [
        ("name", chip.name),
        ("banks", banks),
        ("lanes", f"{chip.lanes:,} ({chip.columns_per_bank:,} a bank)"),
        ("capacity", f"{summary.capacity_bits:,} bits ({chip.rows_per_bank:,} a lane)"),
        ("MAC", f"{chip.mac_cycles:,} cycles of {chip.clock_ns:g} ns"),
        ("peak", f"{summary.peak:.4g} MAC/s"),
        ("weights", chip.weights),
    ]


def cost_facts(chip: Hardware) -> list[Fact]:
    """Return the bits, costs and bandwidths of a chip, and what it says beside, a line each."""
    return [
        ("bits", _pairs(chip.bits)),
        ("cycles", _pairs(chip.cycles)),
        ("bits/cycle", _pairs(chip.bits_per_cycle)),
        ("sync blocks", f"{chip.sync_blocks:,}"),
        *_optional_facts(chip),
        ("energy, pJ", "not given" if chip.energy is None else _pairs(chip.energy)),
    ]


def _optional_facts(chip: Hardware) -> Iterator[Fact]:
    """Yield what a chip need not have, a line each."""
    if chip.banks_per_layer is not None:
        yield "layer", f"at most {chip.banks_per_layer:,} banks"
    if chip.steps_per_row is not None:
        yield "row", f"serves {chip.steps_per_row:,} steps"
    spread = chip.spread.model_dump(exclude_none=True)
    if spread:
        yield "spread", ", ".join(f"{level} {' '.join(dims) or 'none'}" for level, dims in spread.items())
    if chip.inputs.buffer_bits is not None:
        yield "buffer", f"{chip.inputs.buffer_bits:,} bits of inputs"
    if chip.reduction == "host":
        yield "reduction", "by the host"
    if chip.refresh is not None:
        yield "refresh", f"{chip.refresh.busy_ns:g} of every {chip.refresh.interval_ns:g} ns"


def _pairs(record: BaseModel) -> str:
    """Return the numbers that a record was given, by their keys."""
    return ", ".join(f"{key} {value}" for key, value in record.model_dump(exclude_unset=True).items())


def network_facts(network: NetworkSummary) -> list[Fact]:
    """Return what a network adds up to, a line each."""

    def tensors(shapes: Mapping[str, tuple[int, ...]]) -> str:
        shown = (f"{printable(name)} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        return ", ".join(shown) or "none"

    return [
        ("name", network.name),
        ("layers", f"{network.layers:,}"),
        ("MACs", f"{network.macs:,}"),
        ("weights", f"{network.weights:,}"),
        *([("cached", f"{network.cached:,} keys and values")] if network.cached else []),
        *([("tokens", f"{network.tokens:,}")] if network.tokens is not None else []),
        ("inputs", tensors(network.inputs)),
        ("outputs", tensors(network.outputs)),
    ]
