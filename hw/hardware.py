"""A PIM chip as the solver sees it: banks, lanes, and what each operation costs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from overlapim_files import FileModel

FORMAT: Final = "overlapim/hardware/1"

Weights = Literal["static", "shared"]
Count = Annotated[int, Field(ge=1, le=2**20)]
Cost = Annotated[int, Field(ge=0, le=2**30)]
Width = Annotated[int, Field(ge=1, le=2**10)]
Bandwidth = Annotated[int, Field(ge=1, le=2**40)]


class BitWidths(FileModel):
    """Widths in bits of an activation, a weight and an accumulator."""

    activation: Width
    weight: Width
    accumulator: Width


class CycleCosts(FileModel):
    """Cost in cycles of one operation of all lanes of a bank, and of handing an output over (`transfer`)."""

    multiply: Annotated[int, Field(ge=1, le=2**30)]
    add: Cost
    move: Cost
    row_write: Cost
    post: Cost
    transfer: Cost


class BitsPerCycle(FileModel):
    """Bandwidths in bits per cycle and bank: inputs, outputs, reductions within and between channels."""

    load: Bandwidth
    drain: Bandwidth
    bank: Bandwidth
    channel: Bandwidth


class Hardware(FileModel):
    """A chip: `channels` x `banks_per_channel` banks; `columns_per_bank` lanes of `rows_per_bank` bits."""

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

    def with_weights(self, weights: Weights) -> Hardware:
        """Return the same chip with weights that stay (`static`) or share banks over time (`shared`)."""
        return self.model_copy(update={"weights": weights})
