"""A mapping: how one layer's loops are split over channels, banks, columns and time, and in which order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from hw.hardware import Level
from models.network import DIMS, Dim

Kind = Literal["temporal", "channel", "bank", "column"]
SPATIAL: tuple[Level, ...] = ("channel", "bank", "column")
ALL_DIMS: frozenset[Dim] = frozenset(DIMS)
WEIGHT_DIMS: frozenset[Dim] = frozenset(("G", "K", "C", "R", "S"))


class Loop(NamedTuple):
    """One loop of a mapping."""

    dim: Dim
    bound: int
    kind: Kind


@dataclass(frozen=True)
class Mapping:
    """Loops, outermost first, and how many of the temporal ones stand outside the load of the inputs.

    Loops of bound 1 are dropped when it is made; `load` counts those that are left. None for the innermost
    one that reads an input, the same as giving its depth.
    """

    loops: tuple[Loop, ...]
    load: int | None = None

    def __post_init__(self) -> None:
        if 1 in [bound for _, bound, _ in self.loops]:
            object.__setattr__(self, "loops", tuple(loop for loop in self.loops if loop.bound != 1))

    def product(self, kind: Kind, dims: Collection[Dim] = ALL_DIMS) -> int:
        """Return the product of the bounds of the loops of one kind on the given dims."""
        result = 1
        for dim, bound, loop_kind in self.loops:
            if loop_kind == kind and dim in dims:
                result *= bound
        return result

    @cached_property
    def channels(self) -> int:
        """Channels that the mapping uses."""
        return self.product("channel")

    @cached_property
    def banks_per_channel(self) -> int:
        """Banks that the mapping uses in each of its channels."""
        return self.product("bank")

    @property
    def banks(self) -> int:
        """Banks that the mapping uses, `B`."""
        return self.channels * self.banks_per_channel
