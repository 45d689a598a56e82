"""What would lower the latency of a plan: single changes, each of them evaluated as a whole plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from overlapim_files import InputError
from solver.mapspace.neighbours import allowed_neighbour
from solver.mapspace.pools import Pools
from solver.params import PlacementParams, RemedyParams
from solver.schedule.plan import Plan, overlap_shared
from solver.schedule.transform import advance, downstream, movable, remap, restore, transform
from solver.search.impact import impact
from solver.search.placement import Placement
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.mapping import Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import evaluate

RemedyKind = Literal["loops", "banks", "mapping", "order"]


@dataclass(frozen=True, eq=False)
class Remedy:
    """A change that lowers the latency, and the valid plan that it leads to.

    Attributes
    ----------
    layer : that is changed.
    donor : the layer that gives up banks for it.
    """

    kind: RemedyKind
    layer: int
    donor: int | None
    plan: Plan


@dataclass
class Remedies:
    """What has been tried and what helps.

    Attributes
    ----------
    base : the plan with every layer begun as early as its banks and its data allow: what changes start from.
    tried : plans evaluated, for each kind and layer.
    """

    problem: Problem
    base: Plan
    tried: dict[tuple[RemedyKind, int], int] = field(default_factory=dict)
    _best: dict[tuple[RemedyKind, int], Remedy] = field(default_factory=dict)

    @property
    def best(self) -> list[Remedy]:
        """The best change of each kind and layer, the one of lowest latency first."""
        return sorted(self._best.values(), key=lambda remedy: remedy.plan.latency)

    def consider(self, remedy: Remedy) -> None:
        """Count a change, and keep it if it helps more than others of its kind and is valid."""
        key = remedy.kind, remedy.layer
        self.tried[key] = self.tried.get(key, 0) + 1
        best = self._best.get(key)
        if remedy.plan.latency < (self.base if best is None else best.plan).latency and _valid(
            self.problem, remedy.plan
        ):
            self._best[key] = remedy


def _valid(problem: Problem, plan: Plan) -> bool:
    try:
        verify(from_plan(problem, plan, "explain", 0))
    except InputError:
        return False
    return True


def remedies(
    problem: Problem, plan: Plan, path: Sequence[int], stop: Stop, params: RemedyParams = RemedyParams()
) -> Remedies:
    """Try single changes of the layers on a critical path, the first ones first; never returns a worse plan.

    Parameters
    ----------
    path : layers, those with the largest shares of the path first.
    stop : when to be content with what has been tried; a step is one plan.
    """
    found = Remedies(problem, advance(problem, plan))
    for remedy in _changes(problem, found.base, path[: params.layers], stop, params):
        found.consider(remedy)
        if stop.step():
            break
    return found


def _changes(
    problem: Problem, base: Plan, path: Sequence[int], stop: Stop, params: RemedyParams
) -> Iterator[Remedy]:
    """Yield plans with one change, those first that cost little to find."""
    for layer in path:
        loops = _other_loops(problem, layer, base.profiles[layer].mapping)
        yield from _replanned(problem, base, layer, "loops", loops)
    pools = Pools(problem, params.pools)
    for layer in path:
        if not stop.reached():
            yield from _more_banks(pools, base, layer, path, params)
        if not stop.reached():
            others = _other_mappings(pools, base, layer, params)
            yield from _replanned(problem, base, layer, "mapping", others)
        if movable(base.profiles[layer]):
            yield from _reordered(problem, base, layer)


def _reordered(problem: Problem, base: Plan, layer: int) -> Iterator[Remedy]:
    """Let a layer, or it and all that depend on it, take its blocks as they become ready, or by its loops."""
    for layers in ({layer}, downstream(problem, layer)):
        yield Remedy("order", layer, None, transform(problem, base, layers))
    if base.orders[layer] is not None:
        yield Remedy("order", layer, None, restore(problem, base, {layer}))


def _replanned(
    problem: Problem, base: Plan, layer: int, kind: RemedyKind, mappings: Iterator[Mapping]
) -> Iterator[Remedy]:
    """Give a layer other mappings on the banks that it has."""
    for mapping in mappings:
        yield Remedy(kind, layer, None, remap(problem, base, {layer: problem.profile(layer, mapping)}))


def _other_loops(problem: Problem, layer: int, mapping: Mapping) -> Iterator[Mapping]:
    """Yield the mapping with two neighbouring loops in time exchanged, or one moved to the outside."""
    temporal = [i for i, loop in enumerate(mapping.loops) if loop.kind == "temporal"]
    for place in range(1, len(temporal)):
        for first in dict.fromkeys((place - 1, 0)):
            order = list(temporal)
            order.insert(first, order.pop(place))
            loops = list(mapping.loops)
            for i, old in zip(temporal, order, strict=True):
                loops[i] = mapping.loops[old]
            changed = replace(mapping, loops=tuple(loops))
            if problem.permits(layer, changed):
                yield changed


def _other_mappings(pools: Pools, base: Plan, layer: int, params: RemedyParams) -> Iterator[Mapping]:
    """Yield good mappings for the shape of banks that a layer has, and some close to its own."""
    own = base.profiles[layer].mapping
    shape = own.channels, own.banks_per_channel
    pool = [
        p for p in pools.close(layer, shape) if (p.mapping.channels, p.mapping.banks_per_channel) == shape
    ]
    for profile in _ranked(pools.problem, base, layer, pool)[: params.ranked]:
        if profile.mapping != own:
            yield profile.mapping
    rng = random.Random(layer)
    for _ in range(params.neighbours):
        close = allowed_neighbour(pools.problem, layer, own, rng)
        if close is not None and (close.channels, close.banks_per_channel) == shape:
            yield close


def _ranked(problem: Problem, base: Plan, layer: int, pool: Sequence[Profile]) -> list[Profile]:
    """Return the profiles of a pool, those of least impact on the layers around first."""
    return sorted(pool, key=lambda p: impact(problem, layer, p, base.timeline))


def _more_banks(
    pools: Pools, base: Plan, layer: int, path: Sequence[int], params: RemedyParams
) -> Iterator[Remedy]:
    """Give a layer more banks: free ones, or those of another layer if all have a layer of their own."""
    own = base.profiles[layer].banks
    larger = [shape for shape in pools.sizes if shape[0] * shape[1] > own][: params.growth]
    for shape in larger:
        pool = [p for p in pools.close(layer, shape) if p.banks > own]
        for profile in _ranked(pools.problem, base, layer, pool)[: params.ranked]:
            for donor, profiles in _paid(pools, base, layer, profile, path, params.donors):
                plan = _placed(pools.problem, base, profiles, params.placement)
                if plan is not None:
                    yield Remedy("banks", layer, donor, plan)


def _paid(
    pools: Pools, base: Plan, layer: int, profile: Profile, path: Sequence[int], donors: int
) -> Iterator[tuple[int | None, list[Profile]]]:
    """Yield all profiles with a larger one for a layer, and the layer that has fewer banks for it, if any."""
    profiles = [*base.profiles[:layer], profile, *base.profiles[layer + 1 :]]
    hardware = pools.problem.hardware
    excess = sum(p.banks for p in profiles) - hardware.banks
    if hardware.weights != "static" or excess <= 0:
        yield None, profiles
        return
    able = [i for i, p in enumerate(profiles) if i != layer and p.banks > excess]
    for donor in sorted(able, key=lambda i: (i in path, -profiles[i].banks))[:donors]:
        less = pools.close(donor, pools.sizes[pools.size(profiles[donor].banks - excess)])
        for smaller in _ranked(pools.problem, base, donor, less)[:1]:
            yield donor, [*profiles[:donor], smaller, *profiles[donor + 1 :]]


def _placed(
    problem: Problem, base: Plan, profiles: Sequence[Profile], params: PlacementParams
) -> Plan | None:
    """Return a plan with other numbers of banks; None if they do not fit."""
    if problem.hardware.weights == "static":
        placed = Placement(problem, random.Random(0), params).place(profiles)
        if placed is None:
            return None
        chosen, banks = placed
        orders = [
            times.order_under(profile) for profile, times in zip(chosen, base.timeline.layers, strict=True)
        ]
        return Plan(evaluate(problem, chosen, problem.earliest, orders), banks)
    priority = problem.network.topological
    plan = overlap_shared(problem, profiles, priority, frozenset(priority))
    eager = [i for i, order in enumerate(base.orders) if order is not None]
    return transform(problem, plan, eager) if plan is not None and eager else plan
