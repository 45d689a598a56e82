"""At which loop a mapping loads its inputs: fewer loads of larger tiles take more rows and wait longer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from hw.hardware import Hardware
from solver.timing.mapping import Mapping
from solver.timing.profile import Profile, load_parts
from solver.timing.tiles import tiles

WORTH = 0.01
"""Share of the own latency that loads have to take for other depths to be looked at."""


def coarser_loads(profile: Profile, hardware: Hardware) -> Iterator[Mapping]:
    """Yield the mapping with the load depth of least own latency, and with the best one for its blocks.

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


def worth_a_look(profile: Profile) -> bool:
    """Whether loads take enough of the own latency for other depths to be looked at."""
    return _loads(profile, profile.load_depth) * profile.t_in > WORTH * profile.total


def _loads(profile: Profile, depth: int) -> int:
    return math.prod(loop.bound for loop in profile.temporal[:depth])
