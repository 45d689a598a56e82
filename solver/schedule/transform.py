"""The overlap-driven transformation: layers take their blocks in the order in which these become ready.

docs/transform.md says when that is optimal and why it is a heuristic for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np

from solver import core
from solver.schedule.plan import Plan
from solver.stop import Stop
from solver.timing.infinity import INFINITY
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, Order, next_layer, order_allowed, real_need, together

Choose = Callable[[int, int, Mapping[int, LayerTimes]], Order | None]
"""Chooses the order of a layer, given its release and when its producers run."""


def movable(profile: Profile) -> bool:
    """Whether there is a choice of orders: several blocks, each of which finishes all that it works on."""
    return profile.blocks > 1 and order_allowed(profile)


def ready_order(
    problem: Problem, layer: int, profile: Profile, release: int, done: Mapping[int, LayerTimes]
) -> Order | None:
    """Return the blocks in the order in which all that they read is there, ties as in the loops' own order.

    Parameters
    ----------
    release : what is there before it is as good as there at it.
    done : when the producers of the layer run.

    Returns
    -------
    Shape (blocks,), idle blocks last; None where that is the loops' own order or no other one is allowed.
    """
    if not movable(profile):
        return None
    transfer = problem.hardware.cycles.transfer
    ready = np.full(profile.blocks, release, np.int64)
    for edge in problem.edges[layer]:
        ready = np.maximum(ready, real_need(done[edge.producer], profile, edge) + transfer)
    if (idle := profile.idle_blocks()) is not None:
        ready[idle] = INFINITY  # after all others: the layer ends with the last block that is not idle
    order = np.argsort(ready, kind="stable")
    return None if (order[1:] > order[:-1]).all() else order


def transform(problem: Problem, plan: Plan, layers: Collection[int] | None = None) -> Plan:
    """Let layers take their blocks as they become ready, one layer after the other; see `ready_order`.

    Parameters
    ----------
    layers : those that do, all unless given; the others keep their orders.

    Returns
    -------
    A plan with the same mappings and banks, and the same queue at each bank. Its latency may be higher.
    """

    def choose(layer: int, release: int, done: Mapping[int, LayerTimes]) -> Order | None:
        times = plan.timeline.layers[layer]
        if layers is None or layer in layers:
            return ready_order(problem, layer, times.profile, release, done)
        return times.order

    return _retimed(problem, plan, choose)


def restore(problem: Problem, plan: Plan, layers: Collection[int]) -> Plan:
    """Return the plan with some layers going by their loops, otherwise as `transform`."""
    return _retimed(problem, plan, lambda i, _, __: None if i in layers else plan.timeline.layers[i].order)


def remap(problem: Problem, plan: Plan, profiles: Mapping[int, Profile]) -> Plan:
    """Return the plan with other profiles for some layers, on the banks that they have.

    A layer keeps its order if its blocks stay the same. Times are otherwise as in `transform`. Whether the
    rows still fit is not looked at.
    """

    def choose(layer: int, release: int, done: Mapping[int, LayerTimes]) -> Order | None:
        old = plan.timeline.layers[layer]
        return old.order_under(profiles.get(layer, old.profile))

    return _retimed(problem, plan, choose, profiles)


def advance(problem: Problem, plan: Plan) -> Plan:
    """Return the plan with every layer begun as early as its banks, in their order, and its data allow.

    No layer ends later, so the latency falls if releases alone held it up, and is the same otherwise.
    """
    return remap(problem, plan, {})


def improve(problem: Problem, plan: Plan, stop: Stop) -> Plan:
    """Return the plan with orders that lower its latency, or the plan itself; never later than `transform`.

    From the better of the plan and its transformation on, each layer in turn, alone and with all after it,
    takes its blocks as they become ready if the latency is no higher then. At the end each goes by its loops
    again if the latency is no higher then.

    Parameters
    ----------
    stop : when to be content with the best so far; a step is one evaluation.
    """
    best = min(plan, transform(problem, plan), key=lambda p: p.latency)
    layers = [i for i in problem.network.topological if movable(plan.profiles[i])]
    steps = [(transform, group) for i in layers for group in ({i}, downstream(problem, i))]
    for change, group in [*steps, *((restore, {i}) for i in layers)]:
        if stop.step():
            break
        changed = change(problem, best, group)
        best = changed if changed.latency <= best.latency else best
    return best if best.latency < plan.latency else plan


def downstream(problem: Problem, layer: int) -> set[int]:
    """Return the layer and all that depend on it."""
    found = {layer}
    for i in problem.network.topological:
        if found.intersection(problem.network.producers[i]):
            found.add(i)
    return found


def _retimed(
    problem: Problem, plan: Plan, choose: Choose, profiles: Mapping[int, Profile] | None = None
) -> Plan:
    """Return the plan with other orders, each layer released when those before it leave its banks.

    Parameters
    ----------
    profiles : of the layers that get other ones.

    With the orders that they have, no layer finishes anything later than before. The plan itself is returned
    if the layers cannot be timed one by one: one has its banks before what it depends on.
    """
    layers, producers = plan.timeline.layers, problem.network.producers
    line = sorted(range(len(layers)), key=lambda i: layers[i].start)
    before = _before(problem, plan, line)
    place = {layer: at for at, layer in enumerate(line)}
    if any(place[j] > place[i] for i in line for j in producers[i]):
        graph = {i: {*before[i], *producers[i]} for i in problem.network.topological}
        try:
            line = [*TopologicalSorter(graph).static_order()]
        except CycleError:
            return plan
    done: dict[int, LayerTimes] = {}
    for i in line:
        release = max([problem.earliest[i], *(done[j].end for j in before[i])])
        profile = (profiles or {}).get(i, layers[i].profile)
        done[i] = next_layer(problem, i, profile, release, done, choose(i, release, done), plan.timeline)
    return Plan(together(done), plan.banks)


def _before(problem: Problem, plan: Plan, line: Sequence[int]) -> Sequence[Collection[int]]:
    """Return for each layer those that leave one of its banks to it, if they take them in this order."""
    banks = problem.hardware.banks
    if core.native is not None and isinstance(plan.banks, core.native.LayerBanks):
        known: list[list[int]] = plan.banks.before(line, banks)
        return known
    before: list[Collection[int]] = [()] * len(line)
    last = np.full(banks, -1)
    for i in line:
        before[i] = set(np.unique(last[plan.banks[i]]).tolist()) - {-1}
        last[plan.banks[i]] = i
    return before
