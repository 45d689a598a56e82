"""Draw mappings at random and keep each layer's fastest, without overlap: what a general mapper does."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from hw.hardware import Hardware
from models.network import DIMS, Layer
from solver.params import RandomParams
from solver.schedule.plan import Plan, one_after_another
from solver.search.sequential import row_prices
from solver.stop import Stop
from solver.timing.mapping import SPATIAL, Kind, Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.tiles import innermost_read
from solver.timing.validity import valid


def random_mapper(
    problem: Problem, start: Plan, stop: Stop, seed: int, params: RandomParams = RandomParams()
) -> Plan:
    """Return a plan without overlap; `start` if no drawn mappings fit on the chip together.

    The layers take turns, so that a search that is stopped early has drawn as many for each. A layer for
    which no valid mapping was drawn keeps its own of `start`. If no layers share a bank there, as under
    static weights, each keeps to as many channels, and banks in each of them, as it has there.
    """
    apart = len(np.unique(np.concatenate(start.banks))) == sum(map(len, start.banks))
    drawn: list[list[Profile]] = [[] for _ in problem.layers]
    chips = [_part(chip, p) if apart else chip for chip, p in zip(problem.chips, start.profiles, strict=True)]
    rng = random.Random(seed)
    for _ in range(params.mappings):
        if stop.step():
            break
        for i, layer in enumerate(problem.layers):
            mapping = draw_mapping(layer, chips[i], rng, params.tries)
            if mapping is not None and problem.allows(i, mapping):
                drawn[i] = _undominated(drawn[i], problem.profile(i, mapping))
    options = [own or [start.profiles[i]] for i, own in enumerate(drawn)]
    for price in row_prices(params.prices):
        fastest = [min(own, key=lambda p: p.total * (1 + price * p.rows)) for own in options]
        plan = one_after_another(problem, fastest, apart)
        if plan is not None:
            return plan
    return start


def _part(hardware: Hardware, own: Profile) -> Hardware:
    """Return the part of a chip that a mapping uses."""
    changes = {"channels": own.mapping.channels, "banks_per_channel": own.mapping.banks_per_channel}
    return hardware.model_copy(update=changes)


def _undominated(profiles: list[Profile], new: Profile) -> list[Profile]:
    """Return the profiles than which none is faster with no more rows."""
    if any(p.total <= new.total and p.rows <= new.rows for p in profiles):
        return profiles
    return [p for p in profiles if p.total < new.total or p.rows < new.rows] + [new]


COARSER = 0.3
"""Share of the random mappings that load at any loop, instead of the innermost that reads."""


def draw_mapping(layer: Layer, hardware: Hardware, rng: random.Random, tries: int) -> Mapping | None:
    """Return a random valid mapping; None if none was found in so many tries."""
    for _ in range(tries):
        mapping = _any_mapping(layer, hardware, rng)
        if valid(layer, mapping, hardware):
            return mapping
    return None


def _any_mapping(layer: Layer, hardware: Hardware, rng: random.Random) -> Mapping:
    """Return a random mapping that covers all dims, and keeps to the chip's banks and columns."""
    room: dict[Kind, int] = {
        "channel": hardware.channels,
        "bank": hardware.banks_per_channel,
        "column": hardware.columns_per_bank,
    }
    banks = hardware.most_banks
    kinds: tuple[Kind, ...] = (*SPATIAL, "temporal")
    loops = []
    for dim in rng.sample(DIMS, len(DIMS)):
        need = layer.bound(dim)
        for kind in rng.sample(kinds, len(kinds)):
            if kind != "temporal" and not hardware.may_spread(kind, dim):
                continue
            array = kind in ("channel", "bank")
            most = rng.randint(1, min(need, room.get(kind, need), banks if array else need))
            bound = -(-need // -(-need // most))  # as small as the number of steps that it leaves allows
            need = -(-need // bound)
            loops.append(Loop(dim, bound, kind))
            if kind in room:
                room[kind] //= bound
            if array:
                banks //= bound
        loops.append(Loop(dim, need, "temporal"))
    rng.shuffle(loops)
    mapping = Mapping(tuple(loops))
    depth = rng.randint(0, innermost_read(layer, mapping))
    return replace(mapping, load=depth if rng.random() < COARSER else None)
