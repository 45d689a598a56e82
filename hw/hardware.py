"""A PIM chip as the solver sees it: banks, lanes, and what each operation costs."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from overlapim_files import FileModel

FORMAT: Final = "overlapim/hardware/1"

Weights = Literal["static", "shared", "reload"]
Level = Literal["channel", "bank", "column"]
LoopDim = Literal["N", "G", "K", "P", "Q", "C", "R", "S"]
Count = Annotated[int, Field(ge=1, le=2**20)]
Cost = Annotated[int, Field(ge=0, le=2**30)]
Width = Annotated[int, Field(ge=1, le=2**10)]

MAX_BANDWIDTH = 2**40
MAX_DENOMINATOR = 2**20
_NUMBER = re.compile(r"-?\d{1,30}/0{0,9}[1-9]\d{0,20}|-?\d{1,30}(\.\d{1,30})?(e[-+]?\d{1,2})?", re.ASCII)
"""Long exponents would make for endless arithmetic."""


def _bandwidth(given: Any) -> Fraction:
    """Read bits per cycle: an integer, a decimal number as it is written, or a quotient such as `1/3`."""
    exact = isinstance(given, int | Fraction) and not isinstance(given, bool)
    if not exact and not (isinstance(given, float | str) and _NUMBER.fullmatch(str(given))):
        raise ValueError("must be a number above 0, or a quotient such as 1/3")
    value = Fraction(given if exact else str(given))
    if not 0 < value <= MAX_BANDWIDTH or value.denominator > MAX_DENOMINATOR:
        raise ValueError(f"must be above 0, at most 2^40, and a fraction of at most 1/2^20, not {given}")
    return value


def written(value: Fraction) -> int | float | str:
    """Return a bandwidth as it stands in a file, so that reading it gives the same number."""
    if value.denominator == 1:
        return value.numerator
    return float(value) if Fraction(str(float(value))) == value else str(value)


Bandwidth = Annotated[Fraction, PlainValidator(_bandwidth), PlainSerializer(written)]
"""Bits per cycle; fractions are exact."""


class BitWidths(FileModel):
    """Widths in bits of an activation, a weight and an accumulator."""

    activation: Width
    weight: Width
    accumulator: Width


class CycleCosts(FileModel):
    """Cost in cycles of one operation of all lanes of a bank, and of handing an output over (`transfer`).

    `load` and `drain` are what every load and every drain costs beside its data, `open` is what it takes to
    close a row of weights and open the next one.
    """

    multiply: Annotated[int, Field(ge=1, le=2**30)]
    add: Cost
    move: Cost
    row_write: Cost
    post: Cost
    transfer: Cost
    load: Cost = 0
    drain: Cost = 0
    open: Cost | None = None


class BitsPerCycle(FileModel):
    """Bandwidths in bits per cycle and bank: inputs, outputs, reductions within and between channels."""

    load: Bandwidth
    drain: Bandwidth
    bank: Bandwidth
    channel: Bandwidth


Dims = Annotated[tuple[LoopDim, ...], Field(strict=False, max_length=8)]


class LevelDims(FileModel):
    """The dims that the loops of each level in space may be over; all of them where none are given."""

    channel: Dims | None = None
    bank: Dims | None = None
    column: Dims | None = None


class InputStore(FileModel):
    """Where a bank holds the inputs of a tile: in rows under each lane, or in a buffer beside the lanes."""

    store: Literal["rows", "buffer"]
    buffer_bits: Annotated[int, Field(ge=1, le=2**40)] | None = None

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if (self.store == "buffer") != (self.buffer_bits is not None):
            raise ValueError("buffer_bits goes with {store: buffer}, and only with it")
        return self


class Refresh(FileModel):
    """Every `interval_ns` the whole chip stands still for `busy_ns`."""

    interval_ns: Annotated[float, Field(gt=0, le=1e12)]
    busy_ns: Annotated[float, Field(gt=0, le=1e12)]

    @model_validator(mode="after")
    def _shorter(self) -> Self:
        if self.busy_ns >= self.interval_ns:
            raise ValueError("busy_ns must be below interval_ns")
        return self


Picojoules = Annotated[float, Field(ge=0, le=1e12)]


class Energy(FileModel):
    """Energies in pJ, 0 unless given, and the standby power of one bank in mW.

    `step` is per bank and step, `mac` per lane and step, `open` and `row_write` per bank and row, `load`,
    `drain`, `bank` and `channel` per bit, `add`, `move` and `post` per lane and operation.
    """

    step: Picojoules = 0.0
    mac: Picojoules = 0.0
    open: Picojoules = 0.0
    row_write: Picojoules = 0.0
    load: Picojoules = 0.0
    drain: Picojoules = 0.0
    bank: Picojoules = 0.0
    channel: Picojoules = 0.0
    add: Picojoules = 0.0
    move: Picojoules = 0.0
    post: Picojoules = 0.0
    standby_mw: Picojoules = 0.0


class Hardware(FileModel):
    """A chip: `channels` x `banks_per_channel` banks; `columns_per_bank` lanes of `rows_per_bank` bits.

    `steps_per_row` are the steps of a bank that one open row of weights serves; without it no rows are opened
    for weights.
    """

    format: Literal["overlapim/hardware/1"]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    source: str = ""
    clock_ns: Annotated[float, Field(gt=0, le=1e9)]
    channels: Count
    banks_per_channel: Count
    columns_per_bank: Count
    rows_per_bank: Annotated[int, Field(ge=1, le=2**40)]
    weights: Weights
    bits: BitWidths
    cycles: CycleCosts
    bits_per_cycle: BitsPerCycle
    sync_blocks: Count
    banks_per_layer: Count | None = None
    steps_per_row: Annotated[int, Field(ge=1, le=2**40)] | None = None
    spread: LevelDims = LevelDims()
    inputs: InputStore = InputStore(store="rows")
    reduction: Literal["chip", "host"] = "chip"
    refresh: Refresh | None = None
    energy: Energy | None = None

    @model_validator(mode="after")
    def _opens_rows(self) -> Self:
        if self.steps_per_row is None and self.cycles.open is not None:
            raise ValueError("cycles.open needs steps_per_row, which is missing")
        if self.steps_per_row is not None and self.cycles.open is None:
            raise ValueError("steps_per_row needs cycles.open, which is missing")
        return self

    def may_spread(self, level: Level, dim: LoopDim) -> bool:
        """Whether loops in space at a level may be over a dim."""
        dims = {"channel": self.spread.channel, "bank": self.spread.bank, "column": self.spread.column}[level]
        return dims is None or dim in dims

    @property
    def banks(self) -> int:
        """Number of banks of the whole chip."""
        return self.channels * self.banks_per_channel

    @property
    def most_banks(self) -> int:
        """The most banks that one layer may have."""
        return min(self.banks, self.banks_per_layer or self.banks)

    @property
    def lanes(self) -> int:
        """Number of lanes of the whole chip."""
        return self.banks * self.columns_per_bank

    @property
    def mac_cycles(self) -> int:
        """Cycles of one multiply-accumulate."""
        return self.cycles.multiply + self.cycles.add

    @property
    def buffered(self) -> bool:
        """Whether inputs are held in a buffer, so that they take no rows and no row writes."""
        return self.inputs.store == "buffer"

    @property
    def input_row_write(self) -> int:
        """Cycles of writing one bit of an input under the lanes that use it."""
        return 0 if self.buffered else self.cycles.row_write

    def nanoseconds(self, cycles: int) -> float:
        """Return how long so many cycles take, with refreshes."""
        refresh = self.refresh
        stretch = 1.0 if refresh is None else refresh.interval_ns / (refresh.interval_ns - refresh.busy_ns)
        return cycles * self.clock_ns * stretch

    def with_weights(self, weights: Weights) -> Hardware:
        """Return the same chip with weights that stay, share banks over time, or are loaded anew."""
        return self.model_copy(update={"weights": weights})
