"""Waiting over the network: when every block of every layer really starts and finishes.

Within a layer real time is a non-decreasing step function of ideal time, its delay. A block can raise the
delay only if it needs something later than all blocks before it, so the delay is kept as the few steps at
those blocks (docs/model.md, "Waiting").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from overlapim_files import InputError
from solver import core
from solver.timing.cache import cached
from solver.timing.infinity import MINUS_INFINITY
from solver.timing.need import ideal_need, need_records, rising
from solver.timing.ordered import finish_grid, grid_need, last_finish
from solver.timing.problem import Edge, Problem
from solver.timing.profile import OUTPUTS, Cycles, Profile

Order = npt.NDArray[np.int64]
Orders = Sequence[Order | None]
AT_ONCE = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False, slots=True)
class Wait:
    """What one operand of a layer makes it wait for: from the ideal time `steps[i]` on, for `delays[i]`."""

    producer: int
    steps: Cycles
    delays: Cycles


@dataclass(frozen=True, eq=False, slots=True)
class LayerTimes:
    """When one layer runs; the compiled core has times of its own that say the same.

    Attributes
    ----------
    release : the layer takes its banks no earlier.
    steps, delays : real minus ideal time is `delays[i]` from the ideal time `steps[i]` on; `delays` rises.
    waits : what each operand asks for; `delays` is the largest of them and the release so far.
    order : the permutation of the blocks, or None for the loops' own order.
    start, end : the layer holds its banks from the one to the other.
    """

    profile: Profile
    release: int
    steps: Cycles
    delays: Cycles
    waits: tuple[Wait, ...]
    order: Order | None
    start: int
    end: int

    def delay_at(self, ideal: Cycles) -> Cycles:
        """Return real minus ideal time at ideal finish times (> 0)."""
        return self.delays[self.steps.searchsorted(ideal) - 1]

    def block_starts(self) -> Cycles:
        """Return the real start of each block, in the order of execution."""
        starts = self.profile.block_starts
        delays: Cycles = self.delays[np.searchsorted(self.steps, starts, side="right") - 1]
        return starts + delays

    @property
    def earliest(self) -> int:
        """When the first block could start if its data were there."""
        return self.release + self.profile.lead

    @property
    def first_block(self) -> int:
        """When the first block starts."""
        return self.start + self.profile.lead

    def postponed(self, release: int) -> LayerTimes:
        """Return the times with a later release."""
        return _times(self.profile, release, self.waits, self.order)

    def order_under(self, profile: Profile) -> Order | None:
        """Return the order if the layer has the same blocks under another profile, None if it has others."""
        same = profile.temporal == self.profile.temporal and profile.depth == self.profile.depth
        return self.order if same else None

    @property
    def last_delay(self) -> int:
        """Real minus ideal time at the end of the layer."""
        return int(self.delays[-1])

    @property
    def waited(self) -> int:
        """Cycles that the layer waits after its first block has started."""
        return int(self.delays[-1]) - self.first_block

    @property
    def binding_producer(self) -> int | None:
        """The producer that the layer waits for last; None if it never waits beyond its release."""
        decisive = [wait for wait in self.waits if len(wait.delays) and wait.delays.max() == self.delays[-1]]
        return decisive[0].producer if decisive and self.delays[-1] > self.earliest else None


@dataclass(frozen=True, eq=False, slots=True)
class Timeline:
    """When every layer of a network runs; the compiled core has one of its own that says the same."""

    layers: tuple[LayerTimes, ...]

    @property
    def latency(self) -> int:
        """The last end of all layers."""
        return max(self.ends)

    @property
    def ends(self) -> list[int]:
        """The end of each layer."""
        return [layer.end for layer in self.layers]

    @property
    def profiles(self) -> list[Profile]:
        """The profile of each layer."""
        return [layer.profile for layer in self.layers]

    @property
    def critical(self) -> list[int]:
        """The layers that decide the latency, the last one first: each waited last for the next one."""
        path = []
        layer: int | None = self.ends.index(self.latency)
        while layer is not None:
            path.append(layer)
            layer = self.layers[layer].binding_producer
        return path

    @property
    def ordered(self) -> bool:
        """Whether the blocks of a layer have an order of their own."""
        return any(layer.order is not None for layer in self.layers)


def order_allowed(profile: Profile) -> bool:
    """Whether the blocks may be permuted: each finishes all that it works on, and they are all alike."""
    if profile.open_depth is not None and profile.open_depth < profile.depth:
        return False
    return all(loop.dim in OUTPUTS for loop in profile.temporal[: profile.depth])


@cached
def edge_records(producer: Profile, consumer: Profile, edge: Edge) -> tuple[Cycles, Cycles, Cycles]:
    """Return (ideal start, ideal finish needed, the latter minus the former) of blocks that can wait."""
    starts, need = need_records(producer, consumer, edge)
    return starts, need, need - starts


def _wait(source: LayerTimes, consumer: Profile, edge: Edge, order: Order | None, transfer: int) -> Wait:
    """Return what one operand makes a layer wait for, given when its producer runs."""
    if source.order is None and order is None:
        starts, need, lag = edge_records(source.profile, consumer, edge)
        return Wait(edge.producer, starts, lag + source.delay_at(need) + transfer)
    need = real_need(source, consumer, edge)
    starts, need = rising(consumer.block_starts, need if order is None else need[order])
    return Wait(edge.producer, starts, need - starts + transfer)


def real_need(source: LayerTimes, consumer: Profile, edge: Edge) -> Cycles:
    """Return when what each block reads is really finished, given when its producer runs.

    Returns
    -------
    (blocks of the consumer,) in its loops' own order; minus infinity where nothing is read.
    """
    need: Cycles
    if core.native is not None and None not in (_compiled(source), consumer.compiled):
        need = core.native.needs(_compiled(source).own, consumer.compiled, edge.compiled)
    elif source.order is not None:
        grid = finish_grid(source.profile, source.block_starts(), source.order)
        return grid_need(grid, source.profile, consumer, edge)
    else:
        need = ideal_need(source.profile, consumer, edge)
    read = need != MINUS_INFINITY
    need[read] += source.delay_at(need[read])
    return need


def layer_times(
    profile: Profile,
    release: int,
    sources: Sequence[LayerTimes],
    edges: Sequence[Edge],
    transfer: int,
    order: Order | None = None,
    known: Mapping[int, Wait] | None = None,
) -> LayerTimes:
    """Run one layer: `sources[i]` is the producer that `edges[i]` reads; `known[i]` is its wait if known."""
    waits = [
        known[i] if known and i in known else _wait(source, profile, edge, order, transfer)
        for i, (source, edge) in enumerate(zip(sources, edges, strict=True))
    ]
    return _times(profile, release, tuple(waits), order)


def _times(profile: Profile, release: int, waits: tuple[Wait, ...], order: Order | None) -> LayerTimes:
    """Bring what the operands and the release ask for together: the largest so far, step by step."""
    earliest = release + profile.lead
    if len(waits) == 1 and len(waits[0].steps) and waits[0].steps[0] == 0:
        steps, delays = waits[0].steps, np.maximum.accumulate(np.maximum(waits[0].delays, earliest))
        first = int(delays[0])
    else:
        steps = np.concatenate([AT_ONCE, *[wait.steps for wait in waits]])
        delays = np.concatenate([AT_ONCE, *[wait.delays for wait in waits]])
        if len(waits) > 1:
            by_step = np.argsort(steps, kind="stable")
            steps, delays = steps[by_step], delays[by_step]
        delays = np.maximum.accumulate(np.maximum(delays, earliest))
        first = int(delays[np.searchsorted(steps, 0, side="right") - 1])
    # Every step starts a block whose outputs are still to come, so the last delay is that of the end.
    times = LayerTimes(
        profile,
        release,
        steps,
        delays,
        waits,
        order,
        first - profile.lead,
        profile.last_finish + int(delays[-1]),
    )
    if order is None:
        return times
    return replace(times, end=last_finish(finish_grid(profile, times.block_starts(), order), profile))


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
    if orders is not None:
        _check_orders(profiles, orders, previous)
    if core.native is not None:
        own = _all_ordered(profiles, orders, previous)
        if None not in own:
            found: Timeline = problem.compiled.evaluate(profiles, own, releases, compiled(previous))
            return found
    if orders is None:
        orders = [None] * len(profiles)
    done: dict[int, LayerTimes] = {}
    for i in problem.network.topological:
        done[i] = next_layer(problem, i, profiles[i], releases[i], done, orders[i], previous)
    return together(done)


def together(done: Mapping[int, LayerTimes]) -> Timeline:
    """Return the timeline of layers that have all been run, the compiled core's if all their times are."""
    layers = tuple([done[i] for i in range(len(done))])
    if core.native is None or None in [*map(_compiled, layers)]:
        return Timeline(layers)
    made: Timeline = core.native.Timeline(layers)
    return made


def next_layer(
    problem: Problem,
    layer: int,
    profile: Profile,
    release: int,
    done: Mapping[int, LayerTimes],
    order: Order | None = None,
    previous: Timeline | None = None,
) -> LayerTimes:
    """Run one layer after its producers, all in `done`; the previous times if nothing changed."""
    edges = problem.edges[layer]
    sources = [done[edge.producer] for edge in edges]
    transfer = problem.hardware.cycles.transfer
    old = None if previous is None else previous.layers[layer]
    if core.native is not None and profile.compiled is not None:
        own = [*map(_compiled, sources)]
        if None not in own:
            before = [previous and _compiled(previous.layers[edge.producer]) for edge in edges]
            compiled = _ordered(profile, order, old)
            found: LayerTimes = problem.compiled.next_layer(
                layer, profile, compiled, release, own, old and _compiled(old), before
            )
            return found
    if old is None or previous is None or old.profile is not profile or old.order is not order:
        return layer_times(profile, release, sources, edges, transfer, order)
    known = {
        i: old.waits[i]
        for i, (source, edge) in enumerate(zip(sources, edges, strict=True))
        if source is previous.layers[edge.producer]
    }
    if len(known) == len(edges) and old.release == release:
        return old
    return unchanged(old, layer_times(profile, release, sources, edges, transfer, order, known))


def _compiled(times: LayerTimes) -> Any:
    """Return the times if they are the compiled core's, None for those of Python."""
    return times if core.native is not None and type(times) is core.native.Times else None


def compiled(timeline: Timeline | None) -> Any:
    """Return the timeline if it is the compiled core's, None for one of Python."""
    return timeline if core.native is not None and type(timeline) is core.native.Timeline else None


def _known(profiles: Sequence[Profile], previous: Timeline | None) -> Sequence[LayerTimes | None]:
    """Return the times of each layer before, None where there are none."""
    return [None] * len(profiles) if previous is None else previous.layers


def _check_orders(profiles: Sequence[Profile], orders: Orders, previous: Timeline | None) -> None:
    """Raise `InputError` if a layer cannot take its blocks in its order; what was run before is known to."""
    for profile, order, old in zip(profiles, orders, _known(profiles, previous), strict=True):
        if order is not None and (old is None or old.order is not order or old.profile is not profile):
            check_order(profile, order)


def _all_ordered(profiles: Sequence[Profile], orders: Orders | None, previous: Timeline | None) -> list[Any]:
    """Return the compiled profile of each layer with its order, None where Python has to compute."""
    if orders is None:
        return [profile.compiled for profile in profiles]
    return [*map(_ordered, profiles, orders, _known(profiles, previous))]


def _ordered(profile: Profile, order: Order | None, old: LayerTimes | None) -> Any:
    """Return the compiled profile of a layer with an order of its blocks, that of `old` if it is the same."""
    if order is None or profile.compiled is None:
        return profile.compiled
    if old is not None and _compiled(old) is not None and old.profile is profile and old.order is order:
        return _compiled(old).own
    assert core.native is not None
    return core.native.ordered(profile.compiled, order)


def unchanged(old: LayerTimes, new: LayerTimes) -> LayerTimes:
    """Return `old` if it says the same as `new`, so that those who read it see that nothing changed.

    It has to say the same of every wait: one that another one hides now may count later.
    """
    if _compiled(old) is not None and _compiled(new) is not None:
        return old if core.native is not None and core.native.same(old, new) else new
    same = old.profile is new.profile and old.order is new.order and old.release == new.release
    same = same and np.array_equal(old.delays, new.delays) and np.array_equal(old.steps, new.steps)
    return old if same and all(map(_same_wait, old.waits, new.waits)) else new


def _same_wait(old: Wait, new: Wait) -> bool:
    if old is new:
        return True
    return np.array_equal(old.delays, new.delays) and np.array_equal(old.steps, new.steps)


def check_order(profile: Profile, order: Order) -> None:
    """Raise `InputError` that names the layer if a layer cannot take its blocks in this order."""
    name = profile.layer.name
    if not np.array_equal(np.sort(order), np.arange(profile.blocks)):
        raise InputError(f"layer '{name}': order is not a permutation of its {profile.blocks} blocks")
    if not order_allowed(profile):
        raise InputError(f"layer '{name}': order needs every reduction loop in time to lie inside the blocks")
