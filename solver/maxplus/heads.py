"""Heads and tails: how early a layer can pass its checkpoints, and how much is left to do after them.

With the lags of all pairs this is a shortest-path computation forwards and one backwards, over the candidates
and over the banks that the layers so far may have together. What cannot be part of a plan that is at least as
good as the incumbent is left out, which raises heads and tails again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from solver.maxplus.checkpoints import END, START, Candidates, checkpoints
from solver.maxplus.lags import edge_lags
from solver.params import LagParams
from solver.stop import Stop, StoppedError
from solver.timing.infinity import INFINITY, MINUS_INFINITY
from solver.timing.problem import Problem
from solver.timing.profile import Cycles


@dataclass(frozen=True, eq=False)
class Link:
    """One operand that reads a layer: `lags` of all pairs, infinity for those that are not worth having."""

    producer: int
    consumer: int
    lags: Cycles

    def between(self, producers: npt.NDArray[np.intp], consumers: npt.NDArray[np.intp]) -> Link:
        """Return the link of some of the candidates."""
        return replace(self, lags=self.lags[np.ix_(producers, consumers)])


@dataclass(frozen=True, eq=False)
class LagGraph:
    """What the candidates of each layer imply for each other.

    Attributes
    ----------
    candidates : for each layer those that are left.
    times : for each layer the ideal time of each checkpoint; shape (candidates, checkpoints).
    links : every operand that reads a layer, producers in topological order.
    """

    problem: Problem
    candidates: Candidates
    times: Sequence[Cycles]
    links: Sequence[Link]

    @property
    def leads(self) -> list[Cycles]:
        """For each layer the cycles of each candidate before its first block; shape (candidates,)."""
        return [np.array([c.profile.lead for c in own], np.int64) for own in self.candidates]

    @property
    def first_blocks(self) -> list[Cycles]:
        """For each layer when each candidate can start its first block at the earliest."""
        return [self.problem.limits.of(i).earliest + leads for i, leads in enumerate(self.leads)]

    def only(self, kept: Sequence[npt.NDArray[np.intp]]) -> LagGraph:
        """Return the network of some of the candidates: `kept[i]` are the places of those of layer `i`."""
        return LagGraph(
            self.problem,
            [[own[i] for i in places.tolist()] for own, places in zip(self.candidates, kept, strict=True)],
            [times[places] for times, places in zip(self.times, kept, strict=True)],
            [link.between(kept[link.producer], kept[link.consumer]) for link in self.links],
        )


def lag_graph(
    problem: Problem, candidates: Candidates, stop: Stop, params: LagParams = LagParams()
) -> LagGraph:
    """Compute the checkpoints and lags of all candidates."""
    times = checkpoints(problem, candidates, stop, params)
    links = []
    for consumer in problem.network.topological:
        for edge in problem.edges[consumer]:
            producer = edge.producer
            lags = edge_lags(
                edge,
                candidates[producer],
                candidates[consumer],
                times[producer],
                times[consumer],
                problem.hardware.cycles.transfer,
                stop,
            )
            links.append(Link(producer, consumer, lags))
    return LagGraph(problem, candidates, times, links)


@dataclass(frozen=True, eq=False)
class Budget:
    """Banks beyond those of the most frugal choice: all layers together may have `total` units of them.

    Banks are counted in whole units, rounded down, so that what fits in banks fits in units.
    """

    units: Sequence[Cycles]
    total: int


def no_budget(graph: LagGraph) -> Budget:
    """Return a budget that allows everything."""
    return Budget([np.zeros(len(own), np.int64) for own in graph.candidates], 0)


def budget(graph: LagGraph, params: LagParams = LagParams()) -> Budget:
    """Return the budget of banks for static weights; anything is allowed if banks are shared over time."""
    hardware = graph.problem.hardware
    if hardware.weights != "static":
        return no_budget(graph)
    unit = -(-hardware.banks // params.budgets)
    units = [np.array([c.profile.banks for c in own], np.int64) // unit for own in graph.candidates]
    least = [int(own.min()) for own in units]
    return Budget([own - x for own, x in zip(units, least, strict=True)], hardware.banks // unit - sum(least))


def _shifted(table: Cycles, units: Cycles) -> Cycles:
    """Move entry `b` of each row to `b + units`; below that nothing is possible."""
    result = np.full_like(table, INFINITY)
    for row, (source, shift) in enumerate(zip(table, units.tolist(), strict=True)):
        result[row, shift:] = source[: max(0, len(source) - shift)]
    return result


def _after_lags(times: Cycles, lags: Cycles, stop: Stop) -> Cycles:
    """Return max over q of times[m, b, q] + lags[m, n, q, r]; shape (m, b, n, r)."""
    result = np.full((*times.shape[:2], lags.shape[1], lags.shape[3]), MINUS_INFINITY, np.int64)
    for q in range(times.shape[2]):
        stop.check()
        np.maximum(result, times[:, :, q, None, None] + lags[:, None, :, q, :], out=result)
    return np.minimum(result, INFINITY)


def heads(graph: LagGraph, budget: Budget, stop: Stop) -> list[Cycles]:
    """Return the least real time of each checkpoint if a layer and all before it have a budget together.

    Returns
    -------
    For each layer (candidates, budgets, checkpoints); infinity if the budget does not suffice.
    """
    result = [
        _shifted(np.repeat((times + first[:, None])[:, None], budget.total + 1, axis=1), units)
        for times, first, units in zip(graph.times, graph.first_blocks, budget.units, strict=True)
    ]
    for link in graph.links:
        earliest = _after_lags(result[link.producer], link.lags, stop).min(axis=0).transpose(1, 0, 2)
        own = _shifted(earliest, budget.units[link.consumer])
        result[link.consumer] = np.maximum(result[link.consumer], own)
    return result


def tails(graph: LagGraph, budget: Budget, stop: Stop) -> list[Cycles]:
    """Return the least time from each checkpoint to the end of everything, as `heads` does.

    The budget is that of the layers that depend on the layer, without itself.
    """
    result = [np.repeat((times[:, END:] - times)[:, None], budget.total + 1, axis=1) for times in graph.times]
    for link in reversed(graph.links):
        later = _shifted(result[link.consumer], budget.units[link.consumer])
        left = _after_lags(later, link.lags.transpose(1, 0, 3, 2), stop).min(axis=0).transpose(1, 0, 2)
        result[link.producer] = np.maximum(result[link.producer], left)
    return result


def _sum(heads: Cycles, tails: Cycles) -> Cycles:
    """Return the least over all ways to split the budget of the largest head plus tail.

    Parameters
    ----------
    heads, tails : (.., budgets, checkpoints).
    """
    return np.asarray((heads + tails[..., ::-1, :]).max(axis=-1).min(axis=-1))


@dataclass(frozen=True, eq=False)
class Bounds:
    """What follows from heads and tails.

    Attributes
    ----------
    heads, tails : for each layer, shape (candidates, checkpoints), all banks being there.
    layers : for each layer a bound on the latency with each candidate; shape (candidates,).
    links : for each link a bound with each pair; shape (producers, consumers).
    """

    heads: Sequence[Cycles]
    tails: Sequence[Cycles]
    layers: Sequence[Cycles]
    links: Sequence[Cycles]

    @property
    def latency(self) -> int:
        """A lower bound on the latency."""
        return max(int(own.min()) for own in self.layers)


def bounds(graph: LagGraph, budget: Budget, stop: Stop) -> Bounds:
    """Compute heads, tails, and what they say of each candidate and each pair."""
    head, tail = heads(graph, budget, stop), tails(graph, budget, stop)
    pairs = []
    for link in graph.links:
        reached = _after_lags(head[link.producer], link.lags, stop)
        later = _shifted(tail[link.consumer], budget.units[link.consumer])
        pairs.append(np.stack([_sum(own.transpose(1, 0, 2), later) for own in reached]))
    layers = [_sum(h, t) for h, t in zip(head, tail, strict=True)]
    return Bounds([h[:, -1] for h in head], [t[:, -1] for t in tail], layers, pairs)


def reduce(
    graph: LagGraph, limit: int, stop: Stop, params: LagParams = LagParams()
) -> tuple[LagGraph, Bounds]:
    """Leave out candidates and bar pairs of which every plan is later than `limit`, again and again.

    First as if every layer could have all banks, which is quickly found. If some layer has no candidate left,
    no plan is as good as the limit, and the bound is above it.
    """
    found = bounds(graph, no_budget(graph), stop)
    for allowed in (no_budget, partial(budget, params=params)):
        while True:
            own = allowed(graph)
            if own.total < 0:
                return graph, replace(found, layers=[np.full(len(x), INFINITY) for x in found.layers])
            try:
                found = bounds(graph, own, stop)
            except StoppedError:
                return graph, found
            if found.latency > limit:
                return graph, found
            left = _left(graph, found, limit)
            if left is None:
                break
            graph = left
    return graph, found


def _left(graph: LagGraph, found: Bounds, limit: int) -> LagGraph | None:
    """Return the network without what is later than the limit; None if that is nothing new."""
    links, barred = [], 0
    for link, own in zip(graph.links, found.links, strict=True):
        late = (own > limit) & (link.lags[:, :, START, END] < INFINITY)
        barred += int(late.sum())
        links.append(replace(link, lags=np.where(late[:, :, None, None], INFINITY, link.lags)))
    kept = [np.flatnonzero(own <= limit) for own in found.layers]
    if not barred and all(len(a) == len(b) for a, b in zip(kept, graph.candidates, strict=True)):
        return None
    return replace(graph, links=links).only(kept)
