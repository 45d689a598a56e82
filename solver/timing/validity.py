"""Which mappings of a layer are valid on a chip (docs/model.md, "Mappings")."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hw.hardware import Hardware, Level
from models.network import DIMS, Dim, Layer
from overlapim_files import InputError
from solver import core
from solver.core.compiled import compiled_layer
from solver.timing.mapping import SPATIAL, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.tiles import innermost_read, load_depth, tiles


def rows_needed(layer: Layer, mapping: Mapping, hardware: Hardware) -> int:
    """Return the bits that one lane stores: weights, two tiles of inputs, residuals and an accumulator."""
    return tiles(layer, mapping, load_depth(layer, mapping)).rows(own_chip(layer, hardware))


def least_rows(layer: Layer, hardware: Hardware) -> int:
    """Return the bits of a lane that are not weights if every tile is one element for each lane."""
    inputs = len(layer.residuals) + (0 if hardware.buffered else 2 * len(layer.loaded))
    bits = own_chip(layer, hardware).bits
    return bits.activation * inputs + bits.accumulator


def units(layer: Layer, hardware: Hardware, level: Level, dims: Sequence[Dim]) -> int:
    """Return over how many channels, banks of each or columns some dims can be spread at most."""
    most = {
        "channel": hardware.channels,
        "bank": hardware.banks_per_channel,
        "column": hardware.columns_per_bank,
    }
    return min(most[level], math.prod(layer.bound(dim) for dim in dims if hardware.may_spread(level, dim)))


def problems(layer: Layer, mapping: Mapping, hardware: Hardware) -> list[str]:
    """Return what makes a mapping invalid, a sentence for each rule that it breaks; empty if it is valid."""
    uncovered = _uncovered(layer, mapping)
    found = list(uncovered)
    limits = (hardware.channels, hardware.banks_per_channel, hardware.columns_per_bank)
    for kind, limit in zip(SPATIAL, limits, strict=True):
        used = mapping.product(kind)
        if used > limit:
            found.append(f"its {kind} loops multiply to {used}, and there are {limit}")
        found += [
            f"a {kind} loop is over {loop.dim}, and on this chip {kind} loops may not be"
            for loop in mapping.loops
            if loop.kind == kind and not hardware.may_spread(kind, loop.dim)
        ]
    if mapping.banks > hardware.most_banks:
        found.append(f"it uses {mapping.banks} banks, and a layer may have {hardware.most_banks}")
    innermost = innermost_read(layer, mapping)
    if mapping.load is not None and not 0 <= mapping.load <= innermost:
        found.append(f"its inputs are loaded at depth {mapping.load}, and the last that reads is {innermost}")
        return found
    if uncovered:
        return found  # what is read is counted by walking over the loops, which may be of any length here
    own, chip = tiles(layer, mapping, load_depth(layer, mapping)), own_chip(layer, hardware)
    rows = own.rows(chip)
    if rows > hardware.rows_per_bank:
        found.append(f"a lane needs {rows} rows, and there are {hardware.rows_per_bank}")
    buffer = hardware.inputs.buffer_bits
    if buffer is not None and own.buffer_bits(chip) > buffer:
        found.append(f"a tile takes {own.buffer_bits(chip)} bits of the buffer of {buffer}")
    return found


def valid(layer: Layer, mapping: Mapping, hardware: Hardware) -> bool:
    """Whether a mapping breaks no rule."""
    if core.native is not None:
        compiled = compiled_layer(core.native, layer, own_chip(layer, hardware))
        found: bool | None = core.native.valid(compiled, mapping.loops, mapping.load)
        if found is not None:
            return found
    return not problems(layer, mapping, hardware)


def _uncovered(layer: Layer, mapping: Mapping) -> list[str]:
    """Return the dims that the loops do not cover, or cover with loops that are larger than they need be."""
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
    return found


def check_mapping(layer: Layer, mapping: Mapping, hardware: Hardware) -> None:
    """Raise `InputError` that names the layer and the first rule that the mapping breaks."""
    found = problems(layer, mapping, hardware)
    if found:
        raise InputError(f"layer '{layer.name}': {found[0]}")
