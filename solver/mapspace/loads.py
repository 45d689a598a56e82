"""At which loop a mapping loads its inputs: fewer loads of larger tiles take more rows and wait longer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from hw.hardware import Hardware
from solver import core
from solver.core.compiled import compiled_layer
from solver.timing.mapping import Loop, Mapping
from solver.timing.own_bits import own_chip
from solver.timing.profile import Profile, ceil_div, load_parts
from solver.timing.tiles import tiles
from solver.timing.validity import valid

WORTH = 0.01
"""Share of the own latency that loads have to take for other depths to be looked at."""


class LoadCosts(NamedTuple):
    """What the inputs take if they are loaded at some depth.

    Attributes
    ----------
    rows, buffer_bits : of a lane in all, and of a bank's buffer.
    lane_inputs : elements that a lane reads in a tile.
    cycles : of one load.
    """

    rows: int
    buffer_bits: int
    lane_inputs: int
    cycles: int


def coarser_loads(profile: Profile, hardware: Hardware) -> Iterator[Mapping]:
    """Yield the mapping with the load depth of least own latency, the best one for its blocks, and in turns.

    The blocks, and so what the layer waits for, stay the same as long as the load lies inside them.
    """
    hardware = own_chip(profile.layer, hardware)
    found: list[tuple[int, int]] = []
    costs = _costs(profile, hardware)
    buffer = hardware.inputs.buffer_bits
    for depth, own in enumerate(costs[:-1]):
        if own.rows > hardware.rows_per_bank or (buffer is not None and own.buffer_bits > buffer):
            continue
        found.append((_loads(profile, depth) * own.cycles, depth))
    now = _loads(profile, profile.load_depth) * profile.t_in
    better = [pair for pair in found if pair[0] < now]
    inside = [pair for pair in better if pair[1] >= profile.depth]
    depths = {min(pairs)[1] for pairs in (better, inside) if pairs}
    for depth in sorted(depths):
        yield Mapping(profile.mapping.loops, depth)
    yield from _in_turns(profile, hardware, costs)


def _costs(profile: Profile, hardware: Hardware) -> list[LoadCosts]:
    """Return what the inputs take if they are loaded at each depth down to that of the profile."""
    layer, mapping = profile.layer, profile.mapping
    if core.native is not None:
        compiled = compiled_layer(core.native, layer, hardware)
        known = core.native.loads(compiled, mapping.loops, profile.load_depth)
        if known is not None:
            return [LoadCosts(*own) for own in known]
    sizes = [tiles(layer, mapping, depth) for depth in range(profile.load_depth + 1)]
    return [
        LoadCosts(
            tile.rows(hardware),
            tile.buffer_bits(hardware),
            tile.lane_inputs,
            sum(load_parts(layer, mapping, tile, hardware)),
        )
        for tile in sizes
    ]


def _in_turns(profile: Profile, hardware: Hardware, costs: list[LoadCosts]) -> Iterator[Mapping]:
    """Yield mappings that fill the room for inputs, if it is too small for all of them.

    The loop around the largest tile that fits is cut in two, with the load between the parts. The outer one
    stays in its place, or goes outside all others, so that each tile serves all outputs.
    """
    layer, loops = profile.layer, profile.mapping.loops
    depth, room = next((d, n) for d, own in enumerate(costs) if (n := _times(own, hardware)))
    if depth == 0:
        return
    place = [i for i, loop in enumerate(loops) if loop.kind == "temporal"][depth - 1]
    dim, bound, kind = loops[place]
    outer = Loop(dim, ceil_div(bound, min(room, bound)), kind)
    inner = Loop(dim, ceil_div(bound, outer.bound), kind)
    before, after = loops[:place], (inner, *loops[place + 1 :])
    for mapping in (Mapping((*before, outer, *after), depth), Mapping((outer, *before, *after), 1)):
        if valid(layer, mapping, hardware):
            yield mapping


def _times(own: LoadCosts, hardware: Hardware) -> int:
    """Return how many times the inputs of a tile fit into the rows of a lane, or into a bank's buffer."""
    if hardware.inputs.buffer_bits is not None:
        return hardware.inputs.buffer_bits // max(own.buffer_bits, 1)
    inputs = 2 * hardware.bits.activation * own.lane_inputs
    return (hardware.rows_per_bank - own.rows + inputs) // max(inputs, 1)


def worth_a_look(profile: Profile) -> bool:
    """Whether loads take enough of the own latency for other depths to be looked at."""
    return _loads(profile, profile.load_depth) * profile.t_in > WORTH * profile.total


def _loads(profile: Profile, depth: int) -> int:
    return math.prod(loop.bound for loop in profile.temporal[:depth])
