"""Critical paths: the chain of reads that makes a plan as late as it is, as a constraint on all candidates.

Along a chain, what a block reads is a region of its producer's output. Whatever candidate a layer takes, it
has read the region only when it has read its last element; what it finishes later comes later by its `lag`.
So the lags of the chosen candidates add up, exactly so for the plan that the chain is taken from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from solver.maxplus.candidates import (
    Candidate,
    Region,
    block_region,
    finish_table,
    first_table,
    record_blocks,
    records,
)
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Cycles, Profile
from solver.timing.timeline import LayerTimes, Timeline


@dataclass(frozen=True, eq=False)
class Read:
    """A region of a producer's output that an operand reads."""

    edge: Edge
    region: Region
    producer: Profile


@dataclass(frozen=True, eq=False)
class ChainStep:
    """One layer of a chain: after it has read `read` it finishes `written`, or all of its output."""

    layer: int
    read: Read | None
    written: Read | None

    def lag(self, candidate: Candidate, transfer: int) -> int:
        """Return the least time from the read, or from the layer's start, to what is written."""
        finish = candidate.end
        if self.written is not None:
            finish = finish_table(candidate, self.written.edge).largest(self.written.region)
        if self.read is None:
            return finish
        first = first_table(candidate, self.read.edge, self.read.producer).largest(self.read.region)
        return finish - first + transfer if first < finish else MINUS_INFINITY


Chain = tuple[ChainStep, ...]
"""The first step begins with the start of its layer, the last one ends with all outputs of its layer."""


def decisive_chain(problem: Problem, chosen: Sequence[Candidate], timeline: Timeline, last: int) -> Chain:
    """Return the chain that decides when layer `last` ends, back to a layer that starts on its release."""
    steps: list[ChainStep] = []
    layer, written, ideal = last, None, chosen[last].end
    while True:
        times = timeline.layers[layer]
        at = _decisive(times, ideal)
        if at is None:
            return (ChainStep(layer, None, written), *reversed(steps))
        operand, start = at
        edge = problem.edges[layer][operand]
        producer = timeline.layers[edge.producer].profile
        starts, need = records(chosen[edge.producer], chosen[layer], edge)
        record = int(np.searchsorted(starts, start))
        block = record_blocks(chosen[edge.producer], chosen[layer], edge)[record]
        read = Read(edge, block_region(chosen[layer].profile, edge, producer, block), producer)
        steps.append(ChainStep(layer, read, written))
        layer, written, ideal = edge.producer, read, int(need[record])


def _decisive(times: LayerTimes, ideal: int) -> tuple[int, int] | None:
    """Return (operand, ideal start of the block) that the layer last waited for before `ideal`, if any."""
    delay = int(times.delay_at(np.array([ideal]))[0])
    if delay <= times.earliest:
        return None
    for operand, wait in enumerate(times.waits):
        here = np.flatnonzero((wait.delays == delay) & (wait.steps < ideal))
        if len(here):
            return operand, int(wait.steps[here[0]])
    raise AssertionError("a delay without a cause")


def chain_lags(path: Chain, candidates: Sequence[Sequence[Candidate]], transfer: int) -> list[Cycles]:
    """Return for each step the lag of each candidate of its layer, minus infinity where it breaks
    the chain."""
    return [np.array([step.lag(c, transfer) for c in candidates[step.layer]], np.int64) for step in path]
