"""Stateful logic in ReRAM: every row of a crossbar is a lane."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from hw.derive.chip import (
    Bandwidths,
    Chip,
    Costs,
    CycleFigures,
    Energies,
    Number,
    as_an_addition,
    bandwidth,
    hardware,
    picojoules,
)
from hw.hardware import Hardware
from overlapim_files import InputError

Variant = Literal["serial", "parallel"]
_WIDTHS = (8, 16, 32, 64)
_CYCLES = {
    ("serial", "add"): (145, 289, 577, 1153),
    ("serial", "multiply"): (1183, 4927, 18123, 61143),
    ("parallel", "add"): (67, 81, 95, 109),
    ("parallel", "multiply"): (327, 629, 1251, 2545),
}
"""Cycles for each width: AritPIM, results/fixed/latency.csv."""
GATE_PJ = 0.0064
"""A gate of one lane; from the operations per second and watt of AritPIM's README over its gates."""


def aritpim(chip: Chip, variant: Variant, between_channels: int) -> Hardware:
    """Return a chip with AritPIM's arithmetic in FloatPIM's organisation: tiles are channels, blocks banks.

    Parameters
    ----------
    between_channels : bits per cycle and bank.

    Raises
    ------
    InputError
        for widths that AritPIM gives no latency for.
    """
    multiply = aritpim_cycles(variant, "multiply", chip.factor)
    add = aritpim_cycles(variant, "add", chip.bits.accumulator)
    side = bandwidth(
        Fraction(chip.columns_per_bank, 2), f"{chip.columns_per_bank} lanes at 2 cycles a bit (FloatPIM)"
    )
    cycles = CycleFigures(
        multiply=multiply,
        add=add,
        move=neighbour_transfer(chip.bits.accumulator, "an accumulator, assumed as to a neighbour"),
        row_write=Number(1, "assumed"),
        post=as_an_addition(add),
        transfer=neighbour_transfer(chip.bits.activation, "an activation to the neighbour block"),
    )
    widths = Bandwidths(load=side, drain=side, bank=side, channel=Number(between_channels, "given"))
    technology = f"AritPIM, bit-{variant} stateful logic in ReRAM: a crossbar row is a lane."
    return hardware(chip, technology, Costs(cycles, widths, energy(variant, multiply, add)))


def energy(variant: Variant, multiply: Number, add: Number) -> Energies:
    """Return the energies that are known: a gate in each cycle if bits follow one another, else none."""
    if variant == "parallel":
        return Energies()
    added = picojoules(add.value * GATE_PJ, f"{add.value} gates of 6.4 fJ (AritPIM)")
    gates = multiply.value + add.value
    mac = picojoules(gates * GATE_PJ, f"{gates} gates of 6.4 fJ (AritPIM)")
    return Energies(mac=mac, add=added, post=added)


def aritpim_cycles(variant: Variant, operation: Literal["add", "multiply"], n: int) -> Number:
    """Return the cost of an operation on n bits (AritPIM, results/fixed/latency.csv).

    Raises
    ------
    InputError
        if n is not among the widths of that table.
    """
    if n not in _WIDTHS:
        raise InputError(f"AritPIM gives latencies for 8, 16, 32 and 64 bits, not for {n} ({operation})")
    value = _CYCLES[variant, operation][_WIDTHS.index(n)]
    return Number(value, f"bit-{variant}, {n} bits (AritPIM)")


def neighbour_transfer(bits: int, what: str) -> Number:
    """Return the cost of a transfer to a neighbouring block, all rows at once (FloatPIM): 2 cycles a bit."""
    return Number(2 * bits, f"2 cycles a bit of {what}, 2 * {bits} (FloatPIM)")
