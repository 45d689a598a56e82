"""Waiting over the network: when every block of every layer really starts and finishes.

Within a layer real time is a non-decreasing step function of ideal time, its delay. A block can raise the
delay only if it needs something later than all blocks before it, so the delay is kept as the few steps at
those blocks (docs/model.md, "Waiting").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from overlapim_files import InputError
from solver.overlap.closed import ideal_need, need_records, rising
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
    release: int
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

    def postponed(self, release: int) -> LayerTimes:
        """Return the times with a later release."""
        delays = np.maximum(self.delays, release)
        sources = np.where(self.delays < release, -1, self.sources)
        start, end = max(self.start, release), max(self.end, self.profile.last_finish + release)
        times = replace(self, release=release, delays=delays, sources=sources, start=start, end=end)
        if self.order is None:
            return times
        grid = finish_grid(self.profile, times.block_starts(), self.order)
        return replace(times, end=last_finish(grid, self.profile))

    @property
    def waited(self) -> int:
        """Cycles that the layer waits after its first block has started."""
        return int(self.delays[-1]) - self.start


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


@lru_cache(maxsize=2**12)
def edge_records(producer: Profile, consumer: Profile, edge: Edge) -> tuple[Cycles, Cycles]:
    """Return (ideal start, ideal finish needed) of the consumer's blocks that can wait for the producer."""
    return need_records(producer, consumer, edge)


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
    return rising(consumer.block_starts, need if order is None else need[order])


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
    step, wait, name = np.concatenate(steps), np.concatenate(waits), np.concatenate(names)
    if len(steps) > 2:
        by_start = np.argsort(step, kind="stable")
        step, wait, name = step[by_start], wait[by_start], name[by_start]
    delays = np.maximum.accumulate(wait)
    first = int(delays[np.searchsorted(step, 0, side="right") - 1])
    if order is None:
        end = profile.last_finish + int(delays[np.searchsorted(step, profile.last_finish, side="left") - 1])
        return LayerTimes(profile, release, step, delays, name, None, first, end)
    times = LayerTimes(profile, release, step, delays, name, order, first, 0)
    return times.postponed(release)


def evaluate(
    problem: Problem,
    profiles: Sequence[Profile],
    releases: Sequence[int],
    orders: Orders | None = None,
    previous: Timeline | None = None,
) -> Timeline:
    """Return when every layer runs; all sequences are in the order of the network's layers.

    What has not changed since `previous` is taken from there.

    Raises
    ------
    InputError
        if an order is not a permutation of the layer's blocks, or is not allowed for its mapping.
    """
    done: dict[int, LayerTimes] = {}
    for i in problem.network.topological:
        order = None if orders is None else orders[i]
        if order is not None:
            _check_order(profiles[i], order)
        done[i] = next_layer(problem, i, profiles[i], releases[i], done, order, previous)
    return Timeline(tuple(done[i] for i in range(len(profiles))))


def next_layer(
    problem: Problem,
    layer: int,
    profile: Profile,
    release: int,
    done: Mapping[int, LayerTimes],
    order: Order | None = None,
    previous: Timeline | None = None,
) -> LayerTimes:
    """Run one layer after its producers, which are in `done`; the previous times if nothing changed."""
    edges = problem.edges[layer]
    old = None if previous is None else previous.layers[layer]
    if old is not None and previous is not None and old.profile is profile and old.order is order:
        same = all(done[edge.producer] is previous.layers[edge.producer] for edge in edges)
        if same and old.release == release:
            return old
    sources = [done[edge.producer] for edge in edges]
    new = layer_times(profile, release, sources, edges, problem.hardware.cycles.transfer, order)
    return new if old is None else unchanged(old, new)


def unchanged(old: LayerTimes, new: LayerTimes) -> LayerTimes:
    """Return `old` if it says the same as `new`, so that those who read it see that nothing changed."""
    same = old.profile is new.profile and old.order is new.order and old.release == new.release
    same = same and np.array_equal(old.delays, new.delays) and np.array_equal(old.steps, new.steps)
    return old if same else new


def _check_order(profile: Profile, order: Order) -> None:
    name = profile.layer.name
    if not np.array_equal(np.sort(order), np.arange(profile.blocks)):
        raise InputError(f"layer '{name}': order is not a permutation of its {profile.blocks} blocks")
    if not order_allowed(profile):
        raise InputError(f"layer '{name}': order needs every reduction loop in time to lie inside the blocks")
