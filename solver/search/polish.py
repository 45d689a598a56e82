"""Faster mappings of single layers, by many small changes: pools do not have all that there is."""

from __future__ import annotations

import random
from contextlib import suppress

from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools, look, shapes
from solver.params import Params, PolishParams
from solver.schedule.plan import Plan
from solver.search.layerwise import overlapped
from solver.search.sequential import on_most_banks, shared_choices
from solver.stop import Stop, StoppedError
from solver.timing.problem import Problem
from solver.timing.profile import Profile

TRIES_PER_STEP = 200
"""Changes of a mapping that take as long as a step of a search."""


def climbed(
    problem: Problem, layer: int, profile: Profile, rng: random.Random, params: PolishParams
) -> list[Profile]:
    """Return the mapping of lowest own latency that is found, and the one that needs no more rows.

    Late acceptance: a change is kept if it is no slower than the mapping, or than what it was some steps ago.
    """
    current = fastest = frugal = profile
    history = [profile.total] * params.length
    for i in range(params.tries):
        mapping = allowed_neighbour(problem, layer, current.mapping, rng)
        if mapping is None:
            continue
        changed = problem.profile(layer, mapping)
        if changed.total <= max(current.total, history[i % params.length]):
            current = changed
        history[i % params.length] = current.total
        if current.total < fastest.total:
            fastest = current
        if current.rows <= profile.rows and current.total < frugal.total:
            frugal = current
    found = [frugal] if frugal.total == fastest.total else [fastest, frugal]
    return [own for own in found if own.total < profile.total]


def _starts(pools: Pools, layer: int, own: Profile, params: Params) -> list[Profile]:
    """Return mappings to go on from: a layer's own, the fastest on all banks, and others on most of them."""
    whole = shapes(pools.problem.hardware)[-1]
    known = on_most_banks(pools, params.sequential.smallest, layer, whole)
    others = sorted(known[1:], key=lambda p: p.total)[: params.descent.polish.starts]
    return list(dict.fromkeys((own, *known[:1], *others)))


def polish(pools: Pools, plan: Plan, stop: Stop, seed: int, params: Params) -> Plan | None:
    """Return a plan whose layers have faster mappings; None if none are found.

    Layers that look the same and have the same mapping are looked at together.
    """
    own = params.descent.polish
    problem, rng = pools.problem, random.Random(seed)
    groups: dict[object, list[int]] = {}
    for i, (layer, profile) in enumerate(zip(problem.layers, plan.profiles, strict=True)):
        groups.setdefault((look(layer), problem.limits.of(i), profile.mapping), []).append(i)
    options = [[profile] for profile in plan.profiles]
    starts: dict[int, list[Profile]] = {}
    with suppress(StoppedError):
        for turn in range(own.rounds):
            for first, *others in groups.values():
                stop.check()
                if not turn:
                    starts[first] = _starts(pools.until(stop), first, plan.profiles[first], params)
                start = starts[first][turn % len(starts[first])]
                for found in climbed(problem, first, start, rng, own):
                    options[first].append(found)
                    for i in others:
                        options[i].append(problem.profile(i, found.mapping))
                for _ in range(own.tries // TRIES_PER_STEP):
                    stop.step()
    if all(len(profiles) == 1 for profiles in options):
        return None
    choices = shared_choices(options, problem.hardware, params.sequential.prices)
    plans = (overlapped(pools, profiles) for profiles in choices)
    return next((found for found in plans if found is not None), None)
