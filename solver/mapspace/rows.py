"""How full the rows of weights are that a mapping opens: units beside a bank stream weights out of them."""

from __future__ import annotations

from dataclasses import replace

from hw.hardware import Hardware
from models.network import Layer
from solver.timing.mapping import WEIGHT_DIMS, Loop, Mapping
from solver.timing.validity import valid


def with_full_rows(layer: Layer, mapping: Mapping, hardware: Hardware) -> Mapping:
    """Return the mapping with the loop that opens rows cut in two, so that each row serves more steps.

    The mapping itself if no rows are opened, or if no cut leaves it valid.
    """
    if hardware.steps_per_row is None or not layer.weights:
        return mapping
    room, places = hardware.steps_per_row, range(len(mapping.loops))
    for place in reversed([i for i in places if _counts(mapping.loops[i])]):
        if (bound := mapping.loops[place].bound) > room:
            return _cut(layer, mapping, hardware, place, room) or mapping
        room //= bound
    return mapping


def _counts(loop: Loop) -> bool:
    return loop.kind == "temporal" and loop.dim in WEIGHT_DIMS


def _cut(layer: Layer, mapping: Mapping, hardware: Hardware, place: int, room: int) -> Mapping | None:
    """Return the mapping with a loop cut, its inner part as long as fits; None if none is valid."""
    dim, bound, kind = mapping.loops[place]
    outside = sum(loop.kind == "temporal" for loop in mapping.loops[:place])
    load = mapping.load if mapping.load is None or mapping.load <= outside else mapping.load + 1
    for inner in range(room, 1, -1):
        parts = (Loop(dim, -(-bound // inner), kind), Loop(dim, inner, kind))
        loops = (*mapping.loops[:place], *parts, *mapping.loops[place + 1 :])
        if valid(layer, cut := replace(mapping, loops=loops, load=load), hardware):
            return cut
    return None
