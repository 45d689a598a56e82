"""Waiting over the network: when every block of every layer really starts and finishes.

Within a layer real time is a non-decreasing step function of ideal time, its delay. A block can raise the
delay only if it needs something later than all blocks before it, so the delay is kept as the few steps at
those blocks (docs/model.md, "Waiting").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from overlapim_files import InputError
from solver.overlap.closed import ideal_need
from solver.overlap.ordered import finish_grid, grid_need, last_finish
from solver.problem import Edge, Problem
from solver.profile import NOTHING, OUTPUTS, Cycles, Profile

Order = npt.NDArray[np.int64]
Orders = Sequence[Order | None]


@dataclass(frozen=True, eq=False, slots=True)
class LayerTimes:
    """When one layer runs.

    Attributes
    ----------
    steps, delays : real minus ideal time is `delays[i]` from the ideal time `steps[i]` on; `delays` rises.
    sources : for each step the layer that it waits for, -1 for the release.
    order : the permutation of the blocks, or None for the loops' own order.
    """

    profile: Profile
    steps: Cycles
    delays: Cycles
    sources: npt.NDArray[np.int64]
    order: Order | None
    start: int
    end: int

    def real(self, ideal: Cycles) -> Cycles:
        """Return the real time of ideal finish times (> 0)."""
        delays: Cycles = self.delays[np.searchsorted(self.steps, ideal, side="left") - 1]
        return ideal + delays

    def block_starts(self) -> Cycles:
        """Return the real start of each block, in the order of execution."""
        starts = self.profile.block_starts
        delays: Cycles = self.delays[np.searchsorted(self.steps, starts, side="right") - 1]
        return starts + delays

    @property
    def waited(self) -> int:
        """Cycles that the layer waits after its first block has started, until its last output."""
        return self.end - self.start - self.profile.last_finish if self.order is None else self._waited()

    def _waited(self) -> int:
        starts = self.block_starts()
        return int(starts[-1] - starts[0] - self.profile.block_starts[-1])


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """When every layer of a network runs."""

    layers: tuple[LayerTimes, ...]

    @property
    def latency(self) -> int:
        """The last end of all layers."""
        return max(layer.end for layer in self.layers)


def order_allowed(profile: Profile) -> bool:
    """Whether the blocks may be permuted: each must finish all that it works on."""
    return all(loop.dim in OUTPUTS for loop in profile.temporal[: profile.depth])


def _records(starts: Cycles, need: Cycles) -> tuple[Cycles, Cycles]:
    """Keep the blocks that need something later than all blocks before them."""
    highest = np.maximum.accumulate(need)
    chosen = np.flatnonzero(highest[1:] > highest[:-1]) + 1
    if highest[0] != NOTHING:
        chosen = np.concatenate(([0], chosen))
    return starts[chosen], need[chosen]


@lru_cache(maxsize=2**14)
def edge_records(producer: Profile, consumer: Profile, edge: Edge) -> tuple[Cycles, Cycles]:
    """Return (ideal start, ideal finish needed) of the consumer's blocks that can wait for the producer."""
    return _records(consumer.block_starts, ideal_need(producer, consumer, edge))


def _arrivals(
    source: LayerTimes, consumer: Profile, edge: Edge, order: Order | None
) -> tuple[Cycles, Cycles]:
    """Return (ideal start, real finish needed) of the blocks that can wait for one producer."""
    if source.order is None and order is None:
        starts, need = edge_records(source.profile, consumer, edge)
        return starts, source.real(need)
    if source.order is None:
        need = ideal_need(source.profile, consumer, edge)
        read = need != NOTHING
        need[read] = source.real(need[read])
    else:
        grid = finish_grid(source.profile, source.block_starts(), source.order)
        need = grid_need(grid, source.profile, consumer, edge)
    return _records(consumer.block_starts, need if order is None else need[order])


def layer_times(
    profile: Profile,
    release: int,
    sources: Sequence[LayerTimes],
    edges: Sequence[Edge],
    transfer: int,
    order: Order | None = None,
) -> LayerTimes:
    """Run one layer: `sources[i]` is the producer that `edges[i]` reads."""
    zero = np.zeros(1, np.int64)
    steps, waits, names = [zero], [zero + release], [zero - 1]
    for source, edge in zip(sources, edges, strict=True):
        starts, arrivals = _arrivals(source, profile, edge, order)
        steps.append(starts)
        waits.append(arrivals + transfer - starts)
        names.append(np.full(len(starts), edge.producer))
    if len(steps) > 2:
        merged = np.concatenate(steps)
        by_start = np.argsort(merged, kind="stable")
        step, wait, name = merged[by_start], np.concatenate(waits)[by_start], np.concatenate(names)[by_start]
    else:
        step, wait, name = np.concatenate(steps), np.concatenate(waits), np.concatenate(names)
    delays = np.maximum.accumulate(wait)
    first = int(delays[np.searchsorted(step, 0, side="right") - 1])
    if order is None:
        end = profile.last_finish + int(delays[np.searchsorted(step, profile.last_finish, side="left") - 1])
        return LayerTimes(profile, step, delays, name, None, first, end)
    times = LayerTimes(profile, step, delays, name, order, first, 0)
    end = last_finish(finish_grid(profile, times.block_starts(), order), profile)
    return LayerTimes(profile, step, delays, name, order, first, end)


def evaluate(
    problem: Problem, profiles: Sequence[Profile], releases: Sequence[int], orders: Orders | None = None
) -> Timeline:
    """Return when every layer runs; all sequences are in the order of the network's layers.

    Raises
    ------
    InputError
        if an order is not a permutation of the layer's blocks, or is not allowed for its mapping.
    """
    times: list[LayerTimes | None] = [None] * len(profiles)
    transfer = problem.hardware.cycles.transfer
    for i in problem.network.topological:
        order = None if orders is None else orders[i]
        if order is not None:
            _check_order(profiles[i], order)
        sources = [source for edge in problem.edges[i] if (source := times[edge.producer]) is not None]
        times[i] = layer_times(profiles[i], releases[i], sources, problem.edges[i], transfer, order)
    return Timeline(tuple(x for x in times if x is not None))


def _check_order(profile: Profile, order: Order) -> None:
    name = profile.layer.name
    if not np.array_equal(np.sort(order), np.arange(profile.blocks)):
        raise InputError(f"layer '{name}': order is not a permutation of its {profile.blocks} blocks")
    if not order_allowed(profile):
        raise InputError(f"layer '{name}': order needs every reduction loop in time to lie inside the blocks")
