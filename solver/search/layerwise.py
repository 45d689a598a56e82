"""Walk the network and choose for each layer the mapping that ends first, its producers being fixed."""

from __future__ import annotations

from solver.banks import Banks, Ledger
from solver.profile import Profile
from solver.schedule import Plan, assemble, overlap_static, place
from solver.space import Space, shapes, sizes
from solver.stop import Stop
from solver.timeline import LayerTimes, next_layer

SIZES = 2
"""Numbers of banks tried for each layer under static weights, the largest that it may have."""

SHAPES = 4
"""The same when banks are shared; these are further apart."""

OPTIONS = 20
"""Mappings tried on each shape when banks are shared, where trying one is slow."""


def layerwise(space: Space, start: Plan, stop: Stop) -> Plan:
    """Return the plan of one forward walk; when stopped early, the rest of the layers keep their mappings.

    Under static weights each layer keeps within the banks that `start` gives it.
    """
    if space.problem.hardware.weights == "static":
        return _static(space, start, stop)
    return _shared(space, start, stop)


def _static(space: Space, start: Plan, stop: Stop) -> Plan:
    problem = space.problem
    chosen: list[Profile] = list(start.profiles)
    done: dict[int, LayerTimes] = {}
    for i in problem.network.topological:
        within = [s for s in sizes(problem.hardware) if s[0] * s[1] <= chosen[i].banks][-SIZES:]
        own = start.profiles[i].mapping
        options = [
            p
            for shape in within
            for p in space.close(i, shape)
            if _inside(p, own.channels, own.banks_per_channel)
        ]
        tried = {p: next_layer(problem, i, p, 0, done) for p in ([] if stop.reached() else options)}
        tried[chosen[i]] = next_layer(problem, i, chosen[i], 0, done)
        chosen[i] = min(tried, key=lambda p: (tried[p].end, p.total))
        done[i] = tried[chosen[i]]
    return overlap_static(problem, chosen) or start


def _inside(profile: Profile, channels: int, banks: int) -> bool:
    return profile.mapping.channels <= channels and profile.mapping.banks_per_channel <= banks


def _shared(space: Space, start: Plan, stop: Stop) -> Plan:
    problem = space.problem
    chosen: list[Profile] = list(start.profiles)
    done: dict[int, LayerTimes] = {}
    banks: dict[int, Banks] = {}
    ledger = Ledger(problem.hardware)
    for i in problem.network.topological:
        large = [] if stop.reached() else shapes(problem.hardware)[-SHAPES:]
        options = [chosen[i], *(p for shape in large for p in space.pool(i, shape)[:OPTIONS])]
        placed = {p: result for p in options if (result := place(problem, ledger, i, p, done, True))}
        if not placed:
            return start
        chosen[i] = min(placed, key=lambda p: (placed[p][0].end, p.banks * p.total))
        done[i], banks[i] = placed[chosen[i]]
        ledger.hold(chosen[i], done[i].start, done[i].end, banks[i])
    return assemble(done, banks)
