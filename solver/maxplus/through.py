"""What another mapping of one layer does to the whole network, exactly, without timing the layers after it.

The latency is the longest of the chains of reads (docs/formulation.md). Those that do not go through a layer
do not change with it; the others are as long as it is delayed, plus what is left to do after that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from solver import core
from solver.maxplus.candidates import Candidate, records
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Cycles, Profile
from solver.timing.timeline import LayerTimes, Timeline, compiled, edge_records, layer_times

NOBODY = np.zeros(0, np.int64)


class Remaining:
    """What is left to do after each moment of each layer of a timeline.

    Attributes
    ----------
    tails : for each layer the ideal times that its readers need, in rising order, shape (needs,), and the
        cycles that are left, at least, after a delay at none, or the first, .. of them, shape (needs + 1,).
    compiled : the same from the compiled core, in place of the tails; None if there is none.
    """

    def __init__(self, problem: Problem, timeline: Timeline, previous: Remaining | None = None) -> None:
        """Look at a timeline: all of it, or what differs from another one and what comes before that."""
        self.problem = problem
        self.timeline = timeline
        self._transfer = problem.hardware.cycles.transfer
        self.compiled = self._by_core(previous)
        if self.compiled is not None:
            return
        self.tails: dict[int, tuple[Cycles, Cycles]] = {}
        if previous is not None and previous.compiled is not None:
            previous = None
        changed: set[int] = set()
        for i in reversed(problem.network.topological):
            same = previous is not None and _same(previous.timeline.layers[i], timeline.layers[i])
            if previous is not None and same and changed.isdisjoint(problem.network.consumers[i]):
                self.tails[i] = previous.tails[i]
            else:
                changed.add(i)
                self._add(i, as_candidate(timeline.layers[i]))

    def _by_core(self, previous: Remaining | None) -> Any:
        """Return the same from the compiled core, None if there is none."""
        if core.native is None or compiled(self.timeline) is None:
            return None
        before = None if previous is None else previous.compiled
        return core.native.Remaining(self.problem.compiled, self.timeline, before)

    def _add(self, layer: int, candidate: Candidate) -> None:
        """Note for each ideal time that readers need how much is left at least after a delay before it."""
        needed, left = self._after(layer, candidate)
        by_need = np.argsort(needed, kind="stable")
        latest_first = np.append(left[by_need], self._own(layer, candidate))[::-1]
        self.tails[layer] = needed[by_need], np.maximum.accumulate(latest_first)[::-1]

    def _own(self, layer: int, candidate: Candidate) -> int:
        """Return how long after a delay of it the network ends at least, if nobody reads the layer."""
        return candidate.end

    def _after(self, layer: int, candidate: Candidate) -> tuple[Cycles, Cycles]:
        """Return what readers need of a layer, ideally, and how long after a delay of that all ends."""
        needed, left = [NOBODY], [NOBODY]
        for reader, edge in self.problem.readers[layer]:
            starts, need, lag = _waits(candidate, as_candidate(self.timeline.layers[reader]), edge)
            needed.append(need)
            left.append(lag + self._transfer + self.left(reader, starts))
        return np.concatenate(needed), np.concatenate(left)

    def left(self, layer: int, steps: Cycles) -> Cycles:
        """Return how long after delays, from these ideal times of a layer on, the network ends at least."""
        needed, left = self.tails[layer]
        return left[needed.searchsorted(steps, side="right")]

    def through(self, layer: int, profile: Profile) -> int:
        """Return how late what depends on a layer ends if it takes another mapping, in the loops' order.

        The latency is then this, or that of the chains that do not go through the layer if it is later; those
        are not later than before.
        """
        if self.compiled is not None and profile.compiled is not None:
            latest: int = self.compiled.through(layer, profile.compiled)
            return latest
        edges = self.problem.edges[layer]
        sources = [self.timeline.layers[edge.producer] for edge in edges]
        release = self.timeline.layers[layer].release
        times = layer_times(profile, release, sources, edges, self._transfer)
        needed, left = self._after(layer, Candidate(profile))
        return max(times.end, int((times.delay_at(needed) + left).max(initial=0)))


def _same(one: LayerTimes, other: LayerTimes) -> bool:
    """Whether a layer runs with the same mapping and order, whenever it does."""
    return one.profile is other.profile and one.order is other.order


def as_candidate(times: LayerTimes) -> Candidate:
    """Return the mapping and the order that a layer runs with."""
    return Candidate(times.profile, None if times.order is None else tuple(times.order.tolist()))


def _waits(producer: Candidate, consumer: Candidate, edge: Edge) -> tuple[Cycles, Cycles, Cycles]:
    """Return (ideal start, ideal finish needed, the latter minus the former) of blocks that can wait."""
    if producer.blocks is None and consumer.blocks is None:
        return edge_records(producer.profile, consumer.profile, edge)
    starts, need = records(producer, consumer, edge)
    return starts, need, need - starts
