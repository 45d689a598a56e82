"""Bit-serial logic on whole rows of DRAM: every column of a bank is a lane."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hw.derive import hbm2
from hw.derive.chip import (
    Bandwidths,
    Chip,
    Costs,
    CycleFigures,
    Energies,
    Number,
    as_an_addition,
    bandwidth,
    bus_share,
    hardware,
    picojoules,
)
from hw.hardware import Hardware


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


@dataclass(frozen=True)
class BitSimdOperation:
    """Rows that are read and written, steps of logic, and the formulas of these counts."""

    reads: int
    writes: int
    logic: int
    how: str

    @property
    def rows(self) -> int:
        """Rows that are opened."""
        return self.reads + self.writes

    def cycles(self, row: int, logic: int) -> Number:
        """Return the cost; `row` and `logic` are the cycles of a row and of a step of logic."""
        value = self.rows * row + self.logic * logic
        return Number(value, f"{self.how}: {self.rows} * {row} + {self.logic} * {logic}")

    def energy(self) -> Number:
        """Return the energy of a lane, with its part of the rows."""
        value = self.rows * hbm2.ROW_PJ / hbm2.ROW_BITS + self.logic * hbm2.LOGIC_PJ
        return picojoules(value, f"{self.rows} rows and {self.logic} steps of logic, for a lane (PIMeval)")


def bitsimd_multiply(n: int) -> BitSimdOperation:
    """Return n bits times n bits, all 2n bits kept.

    Counted in a micro-program on PIMeval's bit-serial runner that is right for every pair of factors tried.
    """
    reads, writes, logic = 2 * n * n, n * (n + 1), 4 * n * n
    how = f"R = 2n^2 = {reads}, W = n(n+1) = {writes}, L = 4n^2 = {logic} at n = {n}"
    return BitSimdOperation(reads, writes, logic, how)


def bitsimd_accumulate(n: int, acc: int) -> BitSimdOperation:
    """Return a product of 2n bits added into an accumulator; counted as `bitsimd_multiply`."""
    reads, writes, logic = 2 * n + acc, acc, 3 * acc + 1
    how = f"R = 2n+acc = {reads}, W = acc = {writes}, L = 3acc+1 = {logic} at n = {n}, acc = {acc}"
    return BitSimdOperation(reads, writes, logic, how)


def bitsimd_add(n: int) -> BitSimdOperation:
    """Return n bits plus n bits (PIMeval, pimPerfEnergyTables.cpp)."""
    reads, writes, logic = 2 * n, n, 3 * n + 1
    how = f"R = 2n = {reads}, W = n = {writes}, L = 3n+1 = {logic} at n = {n}"
    return BitSimdOperation(reads, writes, logic, how)


def bitsimd_shift(n: int) -> BitSimdOperation:
    """Return n bits moved by one lane (PIMeval, pimPerfEnergyBitSerial.cpp); farther at that price, ours."""
    how = f"R = W = n = {n}, L = 3n = {3 * n}, a shift by one lane; assumed: by more lanes too"
    return BitSimdOperation(n, n, 3 * n, how)


def bitsimd(chip: Chip, timing: BitSimdTiming, rows: Rows) -> Hardware:
    """Return a chip with digital logic at the sense amplifiers (BitSIMD-V)."""
    n, acc = chip.factor, chip.bits.accumulator
    row, logic = chip.cycles(timing.tras_ns, timing.trp_ns), chip.cycles(timing.logic_ns)
    multiply, accumulate = bitsimd_multiply(n), bitsimd_accumulate(n, acc)
    add, move = bitsimd_add(acc), bitsimd_shift(acc)
    cycles = CycleFigures(
        multiply=multiply.cycles(row, logic),
        add=accumulate.cycles(row, logic),
        move=move.cycles(row, logic),
        row_write=Number(row, f"one row, tRAS + tRP = {timing.tras_ns:g} + {timing.trp_ns:g} ns"),
        post=as_an_addition(add.cycles(row, logic)),
        transfer=rows_copied(chip, rows),
    )
    steps = multiply.logic + accumulate.logic
    energy = Energies(
        step=hbm2.rows_opened(chip, multiply.rows + accumulate.rows),
        mac=picojoules(steps * hbm2.LOGIC_PJ, f"{steps} steps of logic of 0.007 pJ (PIMeval)"),
        row_write=hbm2.rows_opened(chip, 1),
        load=hbm2.WRITTEN,
        drain=hbm2.READ,
        bank=hbm2.from_bank_to_bank(),
        channel=hbm2.over_the_pins_twice(),
        add=add.energy(),
        move=move.energy(),
        post=add.energy(),
        standby_mw=hbm2.standby(chip.banks_per_channel),
    )
    technology = "BitSIMD-V, digital logic at the sense amplifiers: every column is a lane."
    return hardware(chip, technology, Costs(cycles, bandwidths(chip, rows), energy))


COMMAND_PJ = 1700.0
"""A command, which opens two rows of 8,192 bits; ours, as nothing is published."""


def simdram(chip: Chip, command_ns: float, rows: Rows) -> Hardware:
    """Return a chip that computes with majority and NOT on whole rows (SIMDRAM, MIMDRAM)."""
    command, acc = chip.cycles(command_ns), chip.bits.accumulator
    products, additions = simdram_multiply(chip.factor), simdram_add(acc)
    add = Number(additions * command, f"8n+1 = {additions} at n = {acc}: {additions} * {command} (MIMDRAM)")
    cycles = CycleFigures(
        multiply=Number(
            products * command,
            f"11n^2-5n-1 = {products} commands at n = {chip.factor}: {products} * {command} (MIMDRAM)",
        ),
        add=add,
        move=Number(
            acc * command, f"{acc} rows, one command each: {acc} * {command}; assumed: shifting is free"
        ),
        row_write=Number(command, f"one command, {command_ns:g} ns"),
        post=as_an_addition(add),
        transfer=rows_copied(chip, rows),
    )
    bank = COMMAND_PJ * chip.columns_per_bank / hbm2.ROW_BITS
    lane = COMMAND_PJ / hbm2.ROW_BITS
    energy = Energies(
        step=picojoules(
            (products + additions) * bank, f"{products + additions} commands of {bank:g} pJ, assumed"
        ),
        row_write=picojoules(bank, "one command, assumed"),
        load=hbm2.WRITTEN,
        drain=hbm2.READ,
        bank=hbm2.from_bank_to_bank(),
        channel=hbm2.over_the_pins_twice(),
        add=picojoules(additions * lane, f"{additions} commands, for a lane"),
        move=picojoules(acc * lane, f"{acc} commands, for a lane"),
        post=picojoules(additions * lane, f"{additions} commands, for a lane"),
        standby_mw=hbm2.standby(chip.banks_per_channel),
    )
    technology = "SIMDRAM, majority and NOT on whole rows: every column is a lane."
    return hardware(chip, technology, Costs(cycles, bandwidths(chip, rows), energy))


def simdram_multiply(n: int) -> int:
    """Return the commands of n bits times n bits, 2n bits kept (counted in MIMDRAM's microworkloads)."""
    return 11 * n * n - 5 * n - 1


def simdram_add(n: int) -> int:
    """Return the commands of n bits plus n bits (counted in MIMDRAM's microworkloads)."""
    return 8 * n + 1


def bandwidths(chip: Chip, rows: Rows) -> Bandwidths:
    """Return the shares of the bus, and a row in the time of a copy between banks; the latter is ours."""
    bus, copy = bus_share(chip, rows.channel_gb_per_s), chip.cycles(rows.copy_ns)
    bank = bandwidth(
        Fraction(chip.columns_per_bank, copy), f"{chip.columns_per_bank} bits of a row in {copy} cycles"
    )
    return Bandwidths(load=bus, drain=bus, bank=bank, channel=bus)


def rows_copied(chip: Chip, rows: Rows) -> Number:
    """Return the time until an activation is in another bank, a copy of a row for each of its bits; ours."""
    bits, copy = chip.bits.activation, chip.cycles(rows.copy_ns)
    return Number(bits * copy, f"{bits} rows of an activation at {rows.copy_ns:g} ns a copy: {bits} * {copy}")
