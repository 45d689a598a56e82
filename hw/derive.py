"""From technology, bit widths and timing to the costs of a hardware file: one function for each formula.

Every function says where its formula is from. A `Number` is a result together with how it came about, in one
line; these lines make up the `source` of the chip. Times are given in nanoseconds and counted in whole
cycles, rounded up. What each cost means is in docs/hardware.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from pydantic import ValidationError

from hw.hardware import FORMAT, BitsPerCycle, BitWidths, CycleCosts, Hardware, Weights
from overlapim_files import InputError

SYNC_BLOCKS = 4096


@dataclass(frozen=True)
class Number:
    """A cost in cycles or a bandwidth in bits per cycle, and how it came about."""

    value: int
    how: str


@dataclass(frozen=True)
class Costs:
    """What is derived; the names are those of `cycles` and `bits_per_cycle` in a hardware file."""

    multiply: Number
    add: Number
    move: Number
    row_write: Number
    post: Number
    transfer: Number
    load: Number
    drain: Number
    bank: Number
    channel: Number


@dataclass(frozen=True)
class Chip:
    """What is given whatever the technology: how a chip is organised and how wide its numbers are."""

    name: str
    clock_ns: float
    channels: int
    banks_per_channel: int
    columns_per_bank: int
    rows_per_bank: int
    weights: Weights
    bits: BitWidths

    @property
    def factor(self) -> int:
        """Bits of the wider factor of a product."""
        return max(self.bits.activation, self.bits.weight)

    def cycles(self, *nanoseconds: float | Fraction) -> int:
        """Return how many cycles some times take together, rounded up."""
        return math.ceil(sum(map(_exact, nanoseconds)) / _exact(self.clock_ns))

    def bits_per_cycle(self, gigabytes_per_second: float) -> Fraction:
        """Return a bandwidth in bits per cycle; 1 GB/s is 8 bits a nanosecond."""
        return 8 * _exact(gigabytes_per_second) * _exact(self.clock_ns)


def _exact(value: float | Fraction) -> Fraction:
    """Return the number as it was written, not as it is stored."""
    return Fraction(str(value))


def hardware(chip: Chip, technology: str, costs: Costs) -> Hardware:
    """Return the chip with its costs; the source is the technology, then how each number came about.

    Raises
    ------
    InputError
        if a number is not one that a hardware file may have.
    """
    numbers = {field.name: getattr(costs, field.name) for field in fields(Costs)}
    given = {field.name: getattr(chip, field.name) for field in fields(Chip)}
    lines = [technology, *(f"{key}: {number.value}, {number.how}." for key, number in numbers.items())]
    try:
        return Hardware(
            format=FORMAT,
            source="\n".join([*lines, f"sync_blocks: {SYNC_BLOCKS}, assumed."]) + "\n",
            cycles=CycleCosts(**{key: numbers[key].value for key in CycleCosts.model_fields}),
            bits_per_cycle=BitsPerCycle(**{key: numbers[key].value for key in BitsPerCycle.model_fields}),
            sync_blocks=SYNC_BLOCKS,
            **given,
        )
    except ValidationError as error:
        raise _out_of_range(error) from None


def _out_of_range(error: ValidationError) -> InputError:
    """Say which number is too small or too large for a hardware file."""
    first = error.errors()[0]
    key, limits = ".".join(map(str, first["loc"])), first.get("ctx", {})
    limit = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits.get('le')}"
    return InputError(f"{key} comes to {first['input']}, but must be {limit}")


# Bit-serial logic on whole rows of DRAM: every column of a bank is a lane


@dataclass(frozen=True)
class Rows:
    """How rows get about: the time of a copy from bank to bank, and the bandwidth of a channel's bus."""

    copy_ns: float
    channel_gb_per_s: float


@dataclass(frozen=True)
class BitSimdTiming:
    """tRAS and tRP of a row, and a step of the logic at the sense amplifiers (tCCD_S), in nanoseconds."""

    tras_ns: float
    trp_ns: float
    logic_ns: float


def bitsimd(chip: Chip, timing: BitSimdTiming, rows: Rows) -> Hardware:
    """Return a chip with digital logic at the sense amplifiers (BitSIMD-V)."""
    row, logic = chip.cycles(timing.tras_ns, timing.trp_ns), chip.cycles(timing.logic_ns)
    multiply = bitsimd_multiply(chip.factor, row, logic)
    add = bitsimd_add(chip.bits.accumulator, row, logic)
    move = rows_moved(chip.bits.accumulator, 2 * row, "read and written back")
    write = Number(row, f"one row, tRAS + tRP = {timing.tras_ns:g} + {timing.trp_ns:g} ns")
    technology = "BitSIMD-V, digital logic at the sense amplifiers: every column is a lane."
    return hardware(chip, technology, _row_wise(chip, rows, multiply, add, move, write))


def bitsimd_multiply(n: int, row: int, logic: int) -> Number:
    """Return the cost of n bits times n bits, n bits kept (PIMeval, pimPerfEnergyTables.cpp).

    Parameters
    ----------
    row, logic : cycles of reading or writing a row (R, W) and of a step of logic (L).
    """
    reads, writes, steps = n * (n + 1), n * (n + 1) // 2, 2 * n * n + n
    counts = f"R = n(n+1) = {reads}, W = n(n+1)/2 = {writes}, L = 2n^2+n = {steps} at n = {n}"
    value = (reads + writes) * row + steps * logic
    return Number(value, f"{counts}: {reads + writes} * {row} + {steps} * {logic} (PIMeval)")


def bitsimd_add(n: int, row: int, logic: int) -> Number:
    """Return the cost of n bits plus n bits (PIMeval, pimPerfEnergyTables.cpp); see `bitsimd_multiply`."""
    reads, writes, steps = 2 * n, n, 3 * n + 1
    counts = f"R = 2n = {reads}, W = n = {writes}, L = 3n+1 = {steps} at n = {n}"
    value = (reads + writes) * row + steps * logic
    return Number(value, f"{counts}: {reads + writes} * {row} + {steps} * {logic} (PIMeval)")


def simdram(chip: Chip, command_ns: float, rows: Rows) -> Hardware:
    """Return a chip that computes with majority and NOT on whole rows (SIMDRAM, MIMDRAM)."""
    command = chip.cycles(command_ns)
    multiply = simdram_multiply(chip.factor, command)
    add = simdram_add(chip.bits.accumulator, command)
    move = rows_moved(chip.bits.accumulator, command, "one command")
    write = Number(command, f"one command, {command_ns:g} ns")
    technology = "SIMDRAM, majority and NOT on whole rows: every column is a lane."
    return hardware(chip, technology, _row_wise(chip, rows, multiply, add, move, write))


def simdram_multiply(n: int, command: int) -> Number:
    """Return the cost of n bits times n bits, 2n bits kept (counted in MIMDRAM's microworkloads)."""
    count = 11 * n * n - 5 * n - 1
    return Number(count * command, f"11n^2-5n-1 = {count} commands at n = {n}: {count} * {command} (MIMDRAM)")


def simdram_add(n: int, command: int) -> Number:
    """Return the cost of n bits plus n bits (counted in MIMDRAM's microworkloads)."""
    count = 8 * n + 1
    return Number(count * command, f"8n+1 = {count} commands at n = {n}: {count} * {command} (MIMDRAM)")


def _row_wise(
    chip: Chip, rows: Rows, multiply: Number, add: Number, move: Number, row_write: Number
) -> Costs:
    bus = bus_share(chip, rows.channel_gb_per_s)
    return Costs(
        multiply=multiply,
        add=add,
        move=move,
        row_write=row_write,
        post=as_an_addition(add),
        transfer=rows_copied(chip, rows),
        load=bus,
        drain=bus,
        bank=row_bandwidth(chip, rows),
        channel=bus,
    )


def rows_moved(bits: int, row: int, what: str) -> Number:
    """Return the cost of moving an accumulator in its bank, one row for each bit; ours, shifts being free."""
    return Number(bits * row, f"{bits} rows, each {what}: {bits} * {row}; assumed: shifting is free")


def as_an_addition(add: Number) -> Number:
    """Return the cost of a post-operation; ours."""
    return Number(add.value, "assumed to be one addition")


def rows_copied(chip: Chip, rows: Rows) -> Number:
    """Return the time until an activation is in another bank, a copy of a row for each of its bits; ours."""
    bits, copy = chip.bits.activation, chip.cycles(rows.copy_ns)
    return Number(bits * copy, f"{bits} rows of an activation at {rows.copy_ns:g} ns a copy: {bits} * {copy}")


def row_bandwidth(chip: Chip, rows: Rows) -> Number:
    """Return the bandwidth between banks: a row in the time of a copy, down to a power of two; ours."""
    columns, copy = chip.columns_per_bank, chip.cycles(rows.copy_ns)
    value = 2 ** (max(columns // copy, 1).bit_length() - 1)
    return Number(value, f"{columns} bits of a row in {copy} cycles, rounded down to a power of two")


def bus_share(chip: Chip, gb_per_s: float) -> Number:
    """Return each bank's share of the bus of its channel, at least one bit per cycle."""
    bits, banks = chip.bits_per_cycle(gb_per_s), chip.banks_per_channel
    how = f"{gb_per_s:g} GB/s of a channel, {float(bits):g} bits per cycle, shared by {banks} banks"
    return Number(max(int(bits / banks), 1), how)


# Stateful logic in ReRAM: every row of a crossbar is a lane

Variant = Literal["serial", "parallel"]
_ARITPIM_WIDTHS = (8, 16, 32, 64)
_ARITPIM = {
    ("serial", "add"): (145, 289, 577, 1153),
    ("serial", "multiply"): (1183, 4927, 18123, 61143),
    ("parallel", "add"): (67, 81, 95, 109),
    ("parallel", "multiply"): (327, 629, 1251, 2545),
}
"""Cycles for each width: AritPIM, results/fixed/latency.csv."""


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
    add = aritpim_cycles(variant, "add", chip.bits.accumulator)
    side = Number(
        max(chip.columns_per_bank // 2, 1), f"{chip.columns_per_bank} lanes at 2 cycles a bit (FloatPIM)"
    )
    costs = Costs(
        multiply=aritpim_cycles(variant, "multiply", chip.factor),
        add=add,
        move=neighbour_transfer(chip.bits.accumulator, "an accumulator, assumed as to a neighbour"),
        row_write=Number(1, "assumed"),
        post=as_an_addition(add),
        transfer=neighbour_transfer(chip.bits.activation, "an activation to the neighbour block"),
        load=side,
        drain=side,
        bank=side,
        channel=Number(between_channels, "given"),
    )
    return hardware(chip, f"AritPIM, bit-{variant} stateful logic in ReRAM: a crossbar row is a lane.", costs)


def aritpim_cycles(variant: Variant, operation: Literal["add", "multiply"], n: int) -> Number:
    """Return the cost of an operation on n bits (AritPIM, results/fixed/latency.csv).

    Raises
    ------
    InputError
        if n is not among the widths of that table.
    """
    if n not in _ARITPIM_WIDTHS:
        raise InputError(f"AritPIM gives latencies for 8, 16, 32 and 64 bits, not for {n} ({operation})")
    value = _ARITPIM[variant, operation][_ARITPIM_WIDTHS.index(n)]
    return Number(value, f"bit-{variant}, {n} bits (AritPIM)")


def neighbour_transfer(bits: int, what: str) -> Number:
    """Return the cost of a transfer to a neighbouring block, all rows at once (FloatPIM): 2 cycles a bit."""
    return Number(2 * bits, f"2 cycles a bit of {what}, 2 * {bits} (FloatPIM)")


# Multiply-accumulate units beside the banks of DRAM


@dataclass(frozen=True)
class NearBank:
    """Timing of a DRAM with units beside its banks, in nanoseconds.

    Attributes
    ----------
    tccd_ns : from one multiply-accumulate command to the next.
    read_ns, write_ns : from the command until the first burst is through, to and from the host.
    post_ns : of a post-operation.
    channel_gb_per_s : of the bus of a channel.
    """

    tccd_ns: float
    read_ns: float
    write_ns: float
    post_ns: float
    channel_gb_per_s: float


def hbm_pim(chip: Chip, timing: NearBank) -> Hardware:
    """Return a chip whose units have an accumulator in each lane (Samsung HBM-PIM)."""
    technology = (
        "Units beside the banks with an accumulator in each lane, as in HBM-PIM. Rows are taken to be open,\n"
        "registers to be many enough; refresh and changes of mode cost nothing."
    )
    return hardware(chip, technology, _near_bank(chip, timing, through_the_host(chip, timing)))


def aim(chip: Chip, timing: NearBank) -> Hardware:
    """Return a chip whose units add up the products of all lanes in a tree (SK hynix AiM)."""
    technology = (
        "Units beside the banks that add up their lanes in a tree, as in AiM. Rows are taken to be open;\n"
        "refresh costs nothing. The tree leaves one result for each bank: mappings that give the lanes\n"
        "different outputs are too fast."
    )
    tree = Number(0, "the tree is part of a multiply-accumulate command")
    return hardware(chip, technology, _near_bank(chip, timing, tree))


def _near_bank(chip: Chip, timing: NearBank, move: Number) -> Costs:
    bus = bus_share(chip, timing.channel_gb_per_s)
    exchanged = Number(max(bus.value // 2, 1), "out to the host and in again, half of load")
    return Costs(
        multiply=Number(chip.cycles(timing.tccd_ns), f"a multiply-accumulate, tCCD = {timing.tccd_ns:g} ns"),
        add=Number(0, "in the same command; by itself it would take one"),
        move=move,
        row_write=Number(0, "an activation is written whole, in the time of load"),
        post=Number(chip.cycles(timing.post_ns), f"{timing.post_ns:g} ns"),
        transfer=host_transfer(chip, timing),
        load=bus,
        drain=bus,
        bank=exchanged,
        channel=exchanged,
    )


def host_transfer(chip: Chip, timing: NearBank) -> Number:
    """Return the time until a result is where it is used: the host reads it and writes it; ours."""
    read, write = timing.read_ns, timing.write_ns
    return Number(chip.cycles(read, write), f"read and written by the host, {read:g} + {write:g} ns")


def through_the_host(chip: Chip, timing: NearBank) -> Number:
    """Return the cost of moving accumulators between the lanes of all units of a channel, and adding; ours.

    No path leads from lane to lane, so the host reads one burst from each unit and writes it back shifted.
    """
    width = chip.columns_per_bank * chip.bits.accumulator
    bursts = 2 * (chip.banks_per_channel - 1)
    burst = width / _exact(timing.channel_gb_per_s) / 8
    value = chip.cycles(timing.read_ns, timing.write_ns, bursts * burst, timing.tccd_ns)
    how = f"{timing.read_ns:g} + {timing.write_ns:g} ns, {bursts} more bursts of {float(burst):g} ns"
    return Number(value, f"through the host, {how}, and {timing.tccd_ns:g} ns to add")
