"""Starts with which inferences follow each other soonest, for given mappings on banks of their own.

Computed from how layers answer to releases (`solver.maxplus.response`), element by element. For an interval
each layer is released so late that it ends in time, no later; the makespan is convex in the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solver.maxplus.response import Response
from solver.timing.problem import Problem
from solver.timing.profile import Cycles


@dataclass(frozen=True)
class Releases:
    """When layers are released, when the last one ends, and how long one holds its banks at most."""

    releases: tuple[int, ...]
    latency: int
    held: int


def best_releases(problem: Problem, layers: Sequence[Response]) -> Releases | None:
    """Return the releases of least makespan within the limits on latency and interval; None if none are.

    Energy does not matter to them: it rises with the makespan.
    """
    objective = problem.objective
    tightest = max(int(layer.finish.max()) for layer in layers)
    loosest = released(problem, layers, None)
    low, high = tightest, max(tightest, loosest.latency)
    if objective.interval_at_most is not None:
        high = min(high, objective.interval_at_most)
    if high < low:
        return None

    def makespan(longest: int) -> int:
        return objective.makespan(released(problem, layers, longest).latency, longest)

    while high - low > 2:
        third = (high - low) // 3
        if makespan(low + third) <= makespan(high - third):
            high -= third
        else:
            low += third
    best = released(problem, layers, min(range(low, high + 1), key=makespan))
    late = objective.latency_at_most is not None and best.latency > objective.latency_at_most
    return _loosened(problem, layers, best.held) if late else best


def _loosened(problem: Problem, layers: Sequence[Response], longest: int) -> Releases | None:
    """Return the releases of the least interval that keep to the limit on the latency; None if none do."""
    objective = problem.objective
    most = objective.interval_at_most or released(problem, layers, None).latency
    low, high = longest, max(longest, most)
    while low < high:
        middle = (low + high) // 2
        if released(problem, layers, middle).latency <= (objective.latency_at_most or 0):
            high = middle
        else:
            low = middle + 1
    found = released(problem, layers, low)
    return found if found.latency <= (objective.latency_at_most or 0) else None


def released(problem: Problem, layers: Sequence[Response], longest: int | None) -> Releases:
    """Return the earliest releases with which no layer holds its banks longer than so many cycles."""
    produced: dict[int, Cycles] = {}
    releases: dict[int, int] = {}
    for i in problem.network.topological:
        sources = [produced[edge.producer] for edge in problem.edges[i]]
        first = problem.earliest[i]
        end = int(layers[i].outputs(first, sources).max())
        releases[i] = first if longest is None else max(first, end - longest)
        produced[i] = layers[i].outputs(releases[i], sources)
    ends = {i: int(own.max()) for i, own in produced.items()}
    held = max(ends[i] - releases[i] for i in ends)
    return Releases(tuple(releases[i] for i in range(len(layers))), max(ends.values()), held)
