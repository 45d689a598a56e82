"""A mapping: how one layer's loops are split over channels, banks, columns and time, and in which order."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from hw.hardware import Hardware
from models.network import DIMS, Dim, Layer
from overlapim_files import InputError

Kind = Literal["temporal", "channel", "bank", "column"]
SPATIAL: tuple[Kind, ...] = ("channel", "bank", "column")
ALL_DIMS: frozenset[Dim] = frozenset(DIMS)
WEIGHT_DIMS: frozenset[Dim] = frozenset(("G", "K", "C", "R", "S"))


class Loop(NamedTuple):
    """One loop of a mapping."""

    dim: Dim
    bound: int
    kind: Kind


@dataclass(frozen=True)
class Mapping:
    """Loops, outermost first; loops of bound 1 are dropped when it is made."""

    loops: tuple[Loop, ...]

    def __post_init__(self) -> None:
        if any(loop.bound == 1 for loop in self.loops):
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


def rows_needed(layer: Layer, mapping: Mapping, hardware: Hardware) -> int:
    """Return the bits that one lane stores: its weights, two tiles of each operand and an accumulator."""
    bits = hardware.bits
    weights = mapping.product("temporal", WEIGHT_DIMS)
    return bits.weight * weights + 2 * bits.activation * layer.operand_count + bits.accumulator


def problems(layer: Layer, mapping: Mapping, hardware: Hardware) -> list[str]:
    """Return what makes a mapping invalid, a sentence for each rule that it breaks; empty if it is valid."""
    found = []
    for dim in DIMS:
        bound = layer.bound(dim)
        bounds = [loop.bound for loop in mapping.loops if loop.dim == dim]
        covered = math.prod(bounds)
        if covered < bound:
            found.append(f"the loops of {dim} cover {covered} of {bound}")
        found += [
            f"a loop of {dim} with bound {b} could be smaller: {covered // b * (b - 1)} still covers {bound}"
            for b in bounds
            if covered // b * (b - 1) >= bound
        ]
    limits = (hardware.channels, hardware.banks_per_channel, hardware.columns_per_bank)
    for kind, limit in zip(SPATIAL, limits, strict=True):
        used = mapping.product(kind)
        if used > limit:
            found.append(f"its {kind} loops multiply to {used}, and there are {limit}")
    if mapping.banks > hardware.most_banks:
        found.append(f"it uses {mapping.banks} banks, and a layer may have {hardware.most_banks}")
    rows = rows_needed(layer, mapping, hardware)
    if rows > hardware.rows_per_bank:
        found.append(f"a lane needs {rows} rows, and there are {hardware.rows_per_bank}")
    return found


def check_mapping(layer: Layer, mapping: Mapping, hardware: Hardware) -> None:
    """Raise `InputError` that names the layer and the first rule that the mapping breaks."""
    found = problems(layer, mapping, hardware)
    if found:
        raise InputError(f"layer '{layer.name}': {found[0]}")
