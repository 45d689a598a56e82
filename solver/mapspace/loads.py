"""At which loop a mapping loads its inputs: fewer loads of larger tiles take more rows and wait longer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from hw.hardware import Hardware
from solver.timing.mapping import Loop, Mapping
from solver.timing.profile import Profile, ceil_div, load_parts
from solver.timing.tiles import Tiles, tiles
from solver.timing.validity import problems

WORTH = 0.01
"""Share of the own latency that loads have to take for other depths to be looked at."""


def coarser_loads(profile: Profile, hardware: Hardware) -> Iterator[Mapping]:
    """Yield the mapping with the load depth of least own latency, the best one for its blocks, and in turns.

    The blocks, and so what the layer waits for, stay the same as long as the load lies inside them.
    """
    found: list[tuple[int, int]] = []
    for depth in range(profile.load_depth):
        tile = tiles(profile.layer, profile.mapping, depth)
        buffer = hardware.inputs.buffer_bits
        if tile.rows(hardware) > hardware.rows_per_bank:
            continue
        if buffer is not None and tile.buffer_bits(hardware) > buffer:
            continue
        each = sum(load_parts(profile.layer, profile.mapping, tile, hardware))
        found.append((_loads(profile, depth) * each, depth))
    now = _loads(profile, profile.load_depth) * profile.t_in
    better = [pair for pair in found if pair[0] < now]
    inside = [pair for pair in better if pair[1] >= profile.depth]
    depths = {min(pairs)[1] for pairs in (better, inside) if pairs}
    for depth in sorted(depths):
        yield replace(profile.mapping, load=depth)
    yield from _in_turns(profile, hardware)


def _in_turns(profile: Profile, hardware: Hardware) -> Iterator[Mapping]:
    """Yield mappings that fill the room for inputs, if it is too small for all of them.

    The loop around the largest tile that fits is cut in two, with the load between the parts. The outer one
    stays in its place, or goes outside all others, so that each tile serves all outputs.
    """
    layer, loops = profile.layer, profile.mapping.loops
    sizes = [tiles(layer, profile.mapping, depth) for depth in range(profile.load_depth + 1)]
    depth, room = next((d, n) for d, tile in enumerate(sizes) if (n := _times(tile, hardware)))
    if depth == 0:
        return
    place = [i for i, loop in enumerate(loops) if loop.kind == "temporal"][depth - 1]
    dim, bound, kind = loops[place]
    outer = Loop(dim, ceil_div(bound, min(room, bound)), kind)
    inner = Loop(dim, ceil_div(bound, outer.bound), kind)
    before, after = loops[:place], (inner, *loops[place + 1 :])
    for mapping in (Mapping((*before, outer, *after), depth), Mapping((outer, *before, *after), 1)):
        if not problems(layer, mapping, hardware):
            yield mapping


def _times(tile: Tiles, hardware: Hardware) -> int:
    """Return how many times the inputs of a tile fit into the rows of a lane, or into a bank's buffer."""
    if hardware.inputs.buffer_bits is not None:
        return hardware.inputs.buffer_bits // max(tile.buffer_bits(hardware), 1)
    inputs = 2 * hardware.bits.activation * tile.lane_inputs
    return (hardware.rows_per_bank - tile.rows(hardware) + inputs) // max(inputs, 1)


def worth_a_look(profile: Profile) -> bool:
    """Whether loads take enough of the own latency for other depths to be looked at."""
    return _loads(profile, profile.load_depth) * profile.t_in > WORTH * profile.total


def _loads(profile: Profile, depth: int) -> int:
    return math.prod(loop.bound for loop in profile.temporal[:depth])
