"""What all technologies have in common: numbers that say how they came about, and the file made of them.

A `Number` is a result together with how it came about, in one line; these lines make up the `source` of the
chip. Times are given in nanoseconds and counted in whole cycles, rounded up; bandwidths are exact fractions,
energies have four digits. What each cost means is in docs/hardware.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

from pydantic import ValidationError

from hw.hardware import (
    FORMAT,
    MAX_DENOMINATOR,
    BitsPerCycle,
    BitWidths,
    CycleCosts,
    Energy,
    Hardware,
    InputStore,
    LevelDims,
    Refresh,
    Weights,
    written,
)
from overlapim_files import InputError

SYNC_BLOCKS = 4096
ANYWHERE = LevelDims()
IN_ROWS = InputStore(store="rows")


@dataclass(frozen=True)
class Number:
    """A cost in cycles, a bandwidth in bits per cycle or an energy in pJ, and how it came about."""

    value: int | float | Fraction
    how: str

    def __str__(self) -> str:
        """Return it as it stands in the source of a chip."""
        value = written(self.value) if isinstance(self.value, Fraction) else self.value
        return f"{value}, {self.how}."


@dataclass(frozen=True)
class CycleFigures:
    """Costs in cycles; the names are those of `cycles` in a hardware file."""

    multiply: Number
    add: Number
    move: Number
    row_write: Number
    post: Number
    transfer: Number
    load: Number | None = None
    drain: Number | None = None
    open: Number | None = None


@dataclass(frozen=True)
class Bandwidths:
    """Bits per cycle and bank; the names are those of `bits_per_cycle` in a hardware file."""

    load: Number
    drain: Number
    bank: Number
    channel: Number


@dataclass(frozen=True)
class Energies:
    """Energies in pJ; the names are those of `energy` in a hardware file, None where nothing is known."""

    step: Number | None = None
    mac: Number | None = None
    open: Number | None = None
    row_write: Number | None = None
    load: Number | None = None
    drain: Number | None = None
    bank: Number | None = None
    channel: Number | None = None
    add: Number | None = None
    move: Number | None = None
    post: Number | None = None
    standby_mw: Number | None = None


@dataclass(frozen=True)
class Organisation:
    """What a hardware file may say beside its costs; `how` explains it, a line for each."""

    how: tuple[str, ...] = ()
    steps_per_row: int | None = None
    spread: LevelDims = ANYWHERE
    inputs: InputStore = IN_ROWS
    reduction: Literal["chip", "host"] = "chip"
    refresh: Refresh | None = None


PLAIN = Organisation()


@dataclass(frozen=True)
class Costs:
    """All that is derived."""

    cycles: CycleFigures
    bits_per_cycle: Bandwidths
    energy: Energies
    organisation: Organisation = PLAIN


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
        return math.ceil(sum(map(exact, nanoseconds)) / exact(self.clock_ns))

    def bits_per_cycle(self, gigabytes_per_second: float) -> Fraction:
        """Return a bandwidth in bits per cycle; 1 GB/s is 8 bits a nanosecond."""
        return 8 * exact(gigabytes_per_second) * exact(self.clock_ns)


def exact(value: float | Fraction) -> Fraction:
    """Return the number as it was written, not as it is stored."""
    return value if isinstance(value, Fraction) else Fraction(str(value))


def bandwidth(value: Fraction, how: str) -> Number:
    """Return bits per cycle, as near as a hardware file can state them."""
    return Number(value.limit_denominator(MAX_DENOMINATOR), how)


def picojoules(value: float, how: str) -> Number:
    """Return an energy with four digits."""
    return Number(float(f"{value:.4g}"), how)


def hardware(chip: Chip, technology: str, costs: Costs) -> Hardware:
    """Return the chip with its costs; the source is the technology, then how each number came about.

    Raises
    ------
    InputError
        if a number is not one that a hardware file may have.
    """
    given = {field.name: getattr(chip, field.name) for field in fields(Chip)}
    own, energy = costs.organisation, _values(costs.energy)
    try:
        return Hardware(
            format=FORMAT,
            source="\n".join([technology, *_source(costs), f"sync_blocks: {SYNC_BLOCKS}, assumed."]) + "\n",
            cycles=CycleCosts.model_validate(_values(costs.cycles)),
            bits_per_cycle=BitsPerCycle.model_validate(_values(costs.bits_per_cycle)),
            sync_blocks=SYNC_BLOCKS,
            steps_per_row=own.steps_per_row,
            spread=own.spread,
            inputs=own.inputs,
            reduction=own.reduction,
            refresh=own.refresh,
            energy=Energy.model_validate(energy) if energy else None,
            **given,
        )
    except ValidationError as error:
        raise _out_of_range(error) from None


def _given(numbers: CycleFigures | Bandwidths | Energies) -> Iterator[tuple[str, Number]]:
    """Yield the numbers that there are, by the keys of a hardware file."""
    for field in fields(numbers):
        number = getattr(numbers, field.name)
        if number is not None:
            yield field.name, number


def _values(numbers: CycleFigures | Bandwidths | Energies) -> dict[str, int | float | Fraction]:
    return {key: number.value for key, number in _given(numbers)}


def _source(costs: Costs) -> Iterator[str]:
    """Yield a line for each number."""
    for section, numbers in (
        ("cycles", costs.cycles),
        ("bits_per_cycle", costs.bits_per_cycle),
        ("energy", costs.energy),
    ):
        lines = [f"  {key}: {number}" for key, number in _given(numbers)]
        yield from [f"{section}:", *lines] if lines else []
    yield from costs.organisation.how


def _out_of_range(error: ValidationError) -> InputError:
    """Say which number is too small or too large for a hardware file."""
    first = error.errors()[0]
    key, limits = ".".join(map(str, first["loc"])), first.get("ctx", {})
    limit = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits.get('le')}"
    if "error" in limits:
        return InputError(f"{key} {limits['error']}")
    return InputError(f"{key} comes to {first['input']}, but must be {limit}")


def as_an_addition(add: Number) -> Number:
    """Return the cost of a post-operation; ours."""
    return Number(add.value, "assumed to be one addition")


def bus_share(chip: Chip, gb_per_s: float) -> Number:
    """Return each bank's share of the bus of its channel."""
    bits, banks = chip.bits_per_cycle(gb_per_s), chip.banks_per_channel
    how = f"{gb_per_s:g} GB/s of a channel, {float(bits):g} bits per cycle, shared by {banks} banks"
    return bandwidth(bits / banks, how)
