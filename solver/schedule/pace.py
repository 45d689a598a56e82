"""Starts that let inferences follow each other soon: layers hold their banks no longer than an interval.

A layer that starts later and waits less holds its banks for less time. Where every layer has banks of its
own, the interval is the longest time for which one is held. For a given interval there is an earliest plan:
each layer starts so late that it ends in time, which moves its end only as far as its producers do.
"""

from __future__ import annotations

from collections.abc import Sequence

from solver.schedule.plan import Plan
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, Orders, Timeline, evaluate, next_layer, together


def longest_held(timeline: Timeline) -> int:
    """Return the cycles for which the layer holds its banks that does so longest."""
    return max(layer.end - layer.start for layer in timeline.layers)


def tightest(profiles: Sequence[Profile]) -> int:
    """Return the least interval that mappings allow on banks of their own."""
    return max(p.lead + p.last_finish for p in profiles)


def paced(problem: Problem, profiles: Sequence[Profile], orders: Orders, longest: int) -> Timeline:
    """Return the earliest times with which each layer, on banks of its own, holds them no longer than so.

    Parameters
    ----------
    longest : cycles; a layer that takes longer even without waiting takes as long as it must.
    """
    done: dict[int, LayerTimes] = {}
    for i in problem.network.topological:
        natural = next_layer(problem, i, profiles[i], problem.earliest[i], done, orders[i])
        release = natural.end - longest
        done[i] = natural.postponed(release) if release > natural.start else natural
    return together(done)


def best_paced(problem: Problem, plan: Plan) -> Plan:
    """Return the plan of least makespan with the mappings and orders of one whose layers share no banks.

    The latency is convex in the interval: it is the largest of sums each of which falls by a whole number of
    cycles for each cycle that layers may hold their banks longer. So a search by thirds finds the best one;
    with more inferences than there are layers that is the tightest. The limit on the interval is kept if the
    mappings allow it.
    """
    objective = problem.objective

    def at(longest: int) -> Timeline:
        return paced(problem, plan.profiles, plan.orders, longest)

    def makespan(longest: int) -> int:
        return objective.makespan(at(longest).latency, longest)

    natural = evaluate(problem, plan.profiles, problem.earliest, plan.orders)
    low, high = tightest(plan.profiles), longest_held(natural)
    if objective.inferences > len(plan.profiles):
        high = min(low, high)
    high = min(high, objective.interval_at_most or high)
    while high - low > 2:
        third = (high - low) // 3
        if makespan(low + third) <= makespan(high - third):
            high -= third
        else:
            low += third
    best = min(range(low, max(low, high) + 1), key=makespan)
    return Plan(at(best), plan.banks)


def apart(plan: Plan) -> bool:
    """Whether no two layers of a plan share a bank."""
    used = sum(len(own) for own in plan.banks)
    return used == len({bank for own in plan.banks for bank in own.tolist()})
