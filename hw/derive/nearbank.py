"""Multiply-accumulate units beside the banks of DRAM, which stream weights out of rows that they open."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from hw.derive import hbm2
from hw.derive.chip import (
    Bandwidths,
    Chip,
    Costs,
    CycleFigures,
    Energies,
    Number,
    Organisation,
    bandwidth,
    bus_share,
    hardware,
    picojoules,
)
from hw.hardware import Hardware, InputStore, LevelDims, Refresh

FED_ALIKE = LevelDims(bank=("K",), column=("C", "R", "S"))
"""All banks of a channel are given the same inputs, and the lanes of a bank another part of them each."""


@dataclass(frozen=True)
class NearBank:
    """Timing of a DRAM with units beside its banks, in nanoseconds.

    Attributes
    ----------
    tccd_ns : from one multiply-accumulate command to the next.
    open_ns : closing a row and opening the next.
    load_ns, drain_ns : what a load of inputs and a drain of results cost beside the data.
    read_ns, write_ns : from the command until the first burst is through, to and from the host.
    post_ns : of a post-operation.
    channel_gb_per_s : of the bus of a channel.
    row_bits : of a row.
    buffer_bits : of the inputs that all units of a channel hold.
    """

    tccd_ns: float
    open_ns: float
    load_ns: float
    drain_ns: float
    read_ns: float
    write_ns: float
    post_ns: float
    channel_gb_per_s: float
    row_bits: int
    buffer_bits: int


@dataclass(frozen=True)
class HbmPim:
    """What HBM-PIM has beside: accumulators of a unit that take turns, each a bank, and refresh."""

    accumulators: int
    refresh_interval_ns: float
    refresh_busy_ns: float


def hbm_pim(chip: Chip, timing: NearBank, own: HbmPim) -> Hardware:
    """Return a chip whose units have accumulators in each lane that the host adds up (Samsung HBM-PIM).

    An input that a unit takes serves all its accumulators, one command each. So a bank is an accumulator of
    all lanes of a unit, and a step as many commands as there are accumulators.
    """
    bus, turns = bus_share(chip, timing.channel_gb_per_s), own.accumulators
    unused = bandwidth(Fraction(bus.value) / 2, "not used, as the host adds up")
    refresh = Refresh(interval_ns=own.refresh_interval_ns, busy_ns=own.refresh_busy_ns)
    costs = Costs(
        _cycles(chip, timing, turns, Number(0, "not used, as the host adds up")),
        Bandwidths(load=fed(chip, timing), drain=bus, bank=unused, channel=unused),
        hbm_pim_energy(chip, turns),
        _organisation(chip, timing, turns, "host", refresh),
    )
    technology = (
        "Units beside the banks with accumulators in each lane, as in HBM-PIM: a bank is an accumulator."
    )
    return hardware(chip, technology, costs)


def aim(chip: Chip, timing: NearBank, exchange_ns: float) -> Hardware:
    """Return a chip whose units add up the products of all lanes in a tree (SK hynix AiM).

    Parameters
    ----------
    exchange_ns : in which the results of all banks of a channel are read and written to another channel.
    """
    bus = bus_share(chip, timing.channel_gb_per_s)
    bits, cycles = chip.bits.accumulator, chip.cycles(exchange_ns)
    exchange = bandwidth(
        Fraction(bits, cycles), f"a result of {bits} bits, read and written in {cycles} cycles"
    )
    costs = Costs(
        _cycles(chip, timing, 1, Number(0, "the tree is part of a multiply-accumulate command")),
        Bandwidths(load=fed(chip, timing), drain=bus, bank=exchange, channel=exchange),
        aim_energy(chip),
        _organisation(chip, timing, 1, "chip", None),
    )
    technology = "Units beside the banks that add up their lanes in a tree, as in AiM."
    return hardware(chip, technology, costs)


def _cycles(chip: Chip, timing: NearBank, turns: int, move: Number) -> CycleFigures:
    """Return the costs; a step takes a command for each of the accumulators that take turns."""
    command, post = chip.cycles(timing.tccd_ns), chip.cycles(timing.post_ns)
    return CycleFigures(
        multiply=Number(turns * command, f"{turns} x tCCD = {timing.tccd_ns:g} ns"),
        add=Number(0, "in the same command; by itself it would take one"),
        move=move,
        row_write=Number(0, "inputs are held in a buffer"),
        post=Number(turns * post, f"{turns} x {timing.post_ns:g} ns"),
        transfer=host_transfer(chip, timing),
        load=Number(chip.cycles(timing.load_ns), f"{timing.load_ns:g} ns beside the data"),
        drain=Number(chip.cycles(timing.drain_ns), f"{timing.drain_ns:g} ns beside the data"),
        open=Number(chip.cycles(timing.open_ns), f"{timing.open_ns:g} ns"),
    )


def _organisation(
    chip: Chip, timing: NearBank, turns: int, reduction: Literal["chip", "host"], refresh: Refresh | None
) -> Organisation:
    word = chip.columns_per_bank * chip.bits.weight
    steps = max(timing.row_bits // (word * turns), 1)
    how = (
        f"steps_per_row: {steps}, {timing.row_bits} bits in {turns} x {word} bits.",
        "spread: all banks of a channel are given the same inputs, the lanes of a bank different ones.",
        f"inputs: {timing.buffer_bits} bits.",
    )
    return Organisation(
        how=how,
        steps_per_row=steps,
        spread=FED_ALIKE,
        inputs=InputStore(store="buffer", buffer_bits=timing.buffer_bits),
        reduction=reduction,
        refresh=refresh,
    )


def fed(chip: Chip, timing: NearBank) -> Number:
    """Return each bank's share of the rate at which all banks take inputs: a word of all lanes every tCCD."""
    word, command = chip.columns_per_bank * chip.bits.activation, chip.cycles(timing.tccd_ns)
    how = f"{word} bits for all {chip.banks_per_channel} banks every {command} cycles"
    return bandwidth(Fraction(word, command * chip.banks_per_channel), how)


def host_transfer(chip: Chip, timing: NearBank) -> Number:
    """Return the time until a result is where it is used: the host reads it and writes it; ours."""
    read, write = timing.read_ns, timing.write_ns
    return Number(chip.cycles(read, write), f"read and written by the host, {read:g} + {write:g} ns")


MULTIPLY_PJ, ADD_PJ = 0.499, 0.147
"""Of an arithmetic unit beside a bank (PIMeval, headers of Fulcrum)."""


def hbm_pim_energy(chip: Chip, turns: int) -> Energies:
    """Return the energies of HBM-PIM; `turns` banks share the rows of a unit."""
    bits = chip.bits.weight
    arithmetic = MULTIPLY_PJ + ADD_PJ
    how = f"{arithmetic:g} pJ (PIMeval) and {bits} bits of weight at {hbm2.BANK_GROUP_PJ} pJ (AttAcc)"
    return Energies(
        mac=picojoules(arithmetic + bits * hbm2.BANK_GROUP_PJ, how),
        open=picojoules(hbm2.ROW_PJ / turns, f"828 pJ for {turns} banks that share a row (PIMeval)"),
        load=hbm2.WRITTEN,
        drain=hbm2.READ,
        add=Number(ADD_PJ, "an addition (PIMeval)"),
        post=Number(ADD_PJ, "as an addition"),
        standby_mw=hbm2.standby(2 * chip.banks_per_channel),
    )


AIM_LANES = 16
AIM_STEP_PJ, AIM_OPEN_PJ = 1310 / 16, 2950.0
"""A step of one of 16 banks, of 16 lanes, and a row of a bank (CENT, cent_power_calculator.py)."""
AIM_READ_PJ, AIM_WRITE_PJ, AIM_PIN_PJ = 548 / 256, 691 / 256, 5.5
"""Of a bit (the same)."""
AIM_STANDBY_MW = 264.0
"""Of a channel with open rows (the same)."""


def aim_energy(chip: Chip) -> Energies:
    """Return the energies of AiM, all from CENT's cent_power_calculator.py."""
    load, drain = AIM_WRITE_PJ + AIM_PIN_PJ, AIM_READ_PJ + AIM_PIN_PJ
    return Energies(
        step=picojoules(
            AIM_STEP_PJ * chip.columns_per_bank / AIM_LANES, "1310 pJ for 16 banks of 16 lanes (CENT)"
        ),
        open=Number(AIM_OPEN_PJ, "66.3 mW for 44.5 ns (CENT)"),
        load=picojoules(load, "a bit written, 691 / 256 pJ, and over the pins, 5.5 pJ (CENT)"),
        drain=picojoules(drain, "a bit read, 548 / 256 pJ, and over the pins, 5.5 pJ (CENT)"),
        bank=picojoules(load + drain, "drained and loaded"),
        channel=picojoules(load + drain, "drained and loaded"),
        standby_mw=picojoules(
            AIM_STANDBY_MW / chip.banks_per_channel,
            f"264 mW of a channel (CENT) over {chip.banks_per_channel}",
        ),
    )
