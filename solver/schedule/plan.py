"""From mappings to a plan: when each layer is released and which banks it is given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

from hw.hardware import Hardware
from solver import core
from solver.schedule.banks import Banks, Ledger, pack
from solver.schedule.interval import interval
from solver.timing.problem import Problem
from solver.timing.profile import Profile
from solver.timing.timeline import (
    LayerTimes,
    Order,
    Orders,
    Timeline,
    compiled,
    evaluate,
    next_layer,
    together,
    unchanged,
)


@dataclass(frozen=True, eq=False)
class Plan:
    """A valid answer: for each layer its mapping, times, banks, release and order."""

    timeline: Timeline
    banks: Sequence[Banks]

    @cached_property
    def latency(self) -> int:
        """Cycles from time 0 to the end of the last layer."""
        return self.timeline.latency

    @cached_property
    def interval(self) -> int:
        """The least number of cycles by which inferences can follow each other on the same banks."""
        layers = self.timeline.layers
        return interval([x.start for x in layers], [x.end for x in layers], self.banks)

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """The profile of each layer."""
        return tuple(self.timeline.profiles)

    @property
    def releases(self) -> tuple[int, ...]:
        """The release of each layer."""
        return tuple(layer.release for layer in self.timeline.layers)

    @property
    def orders(self) -> Orders:
        """The order of each layer's blocks, None for the loops' own."""
        return tuple(layer.order for layer in self.timeline.layers)


def assemble(done: Mapping[int, LayerTimes], banks: Mapping[int, Banks]) -> Plan:
    """Return the plan of layers that have all been placed."""
    return Plan(together(done), tuple(banks[i] for i in range(len(done))))


def by_start(problem: Problem, plan: Plan) -> tuple[int, ...]:
    """Return the layers by when they start in a plan, each after its producers."""
    return in_order(problem, {i: times.start for i, times in enumerate(plan.timeline.layers)})


def in_order(problem: Problem, starts: Mapping[int, int]) -> tuple[int, ...]:
    """Return the layers by their starts, each after its producers."""
    network = problem.network
    by_start = sorted(network.topological, key=starts.__getitem__)
    place = {layer: at for at, layer in enumerate(by_start)}
    missing = [len(producers) for producers in network.producers]
    ready = [at for at, layer in enumerate(by_start) if not missing[layer]]
    order: list[int] = []
    while ready:
        layer = by_start[heappop(ready)]
        order.append(layer)
        for reader in network.consumers[layer]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(ready, place[reader])
    return tuple(order)


def overlap_static(
    problem: Problem, profiles: Sequence[Profile], previous: Timeline | None = None
) -> Plan | None:
    """Start every layer as its inputs allow, each on banks of its own; None if the banks do not fit."""
    if sum(profile.banks for profile in profiles) > problem.hardware.banks:
        return None
    banks = pack(problem.hardware, profiles, problem.given_banks)
    if banks is None:
        return None
    timeline = evaluate(problem, profiles, problem.earliest, previous=previous)
    return Plan(timeline, banks)


def overlap_shared(
    problem: Problem,
    profiles: Sequence[Profile],
    priority: Sequence[int],
    punctual: Collection[int],
    previous: Plan | None = None,
    kept: int = 0,
) -> Plan | None:
    """Place the layers one after the other, each as early as inputs and banks allow.

    Parameters
    ----------
    priority : a topological order; earlier layers choose their banks first.
    punctual : layers that start as late as they can without ending later, to hold their banks for less time.
    previous : what has not changed since this plan is taken from there.
    kept : so many layers that choose first have the times and banks of that plan.

    Returns
    -------
    None if the rows of the layers do not fit together.
    """
    before = None if previous is None else previous.timeline
    if core.native is not None and problem.free and (before is None or compiled(before)):
        own = [profile.compiled for profile in profiles]
        if None not in own:
            late = [i in punctual for i in range(len(profiles))]
            old_banks = () if previous is None else previous.banks
            found = problem.compiled.overlapped(
                profiles, own, priority, late, before, old_banks, kept, _chip(problem.hardware)
            )
            return None if found is None else Plan(*found)
    ledger = _expecting(problem, profiles)
    done: dict[int, LayerTimes] = {}
    banks: dict[int, Banks] = {}
    for turn, i in enumerate(priority):
        placed: tuple[LayerTimes, Banks] | None
        if previous is not None and turn < kept:
            _roomy(problem, ledger, i, profiles[i])  # what was kept for the layer is about to be taken
            placed = previous.timeline.layers[i], previous.banks[i]
        else:
            placed = place(problem, ledger, i, profiles[i], done, i in punctual, before)
        if placed is None:
            return None
        done[i], banks[i] = placed
        ledger.hold(profiles[i], done[i].start, done[i].end, banks[i])
    return assemble(done, banks)


def _chip(hardware: Hardware) -> tuple[int, int, int, bool]:
    """Return what the compiled core has to know to place layers."""
    keeps = hardware.weights != "reload"
    return hardware.channels, hardware.banks_per_channel, hardware.rows_per_bank, keeps


def place(
    problem: Problem,
    ledger: Ledger,
    layer: int,
    profile: Profile,
    done: dict[int, LayerTimes],
    punctual: bool,
    previous: Timeline | None = None,
    order: Order | None = None,
) -> tuple[LayerTimes, Banks] | None:
    """Find the earliest release at which banks are free for as long as the layer holds them."""
    natural = next_layer(problem, layer, profile, problem.earliest[layer], done, order, previous)
    earliest = natural.last_delay - profile.lead if punctual else natural.release
    old = None if previous is None else previous.layers[layer]
    roomy = _roomy(problem, ledger, layer, profile)
    for release in [earliest, *ledger.releases_after(max(natural.start, earliest))]:
        times = natural.postponed(release)
        banks = ledger.free(profile, times.start, times.end, roomy)
        if banks is not None:
            return times if old is None else unchanged(old, times), banks
    return None


def _expecting(problem: Problem, profiles: Sequence[Profile]) -> Ledger:
    """Return a ledger that keeps the rows of the layers whose banks are given."""
    ledger = Ledger(problem.hardware)
    for layer, banks in problem.given_banks.items():
        ledger.expect(layer, profiles[layer], banks)
    return ledger


def _roomy(problem: Problem, ledger: Ledger, layer: int, profile: Profile) -> int:
    """Return the set of banks that a layer may have and that have the rows for it."""
    given = problem.given_banks.get(layer)
    return ledger.roomy(profile) if given is None else ledger.admit(layer, profile, given)


def one_after_another(problem: Problem, profiles: Sequence[Profile], apart: bool) -> Plan | None:
    """Run the layers without overlap, each when the one before it and all its inputs are done.

    Parameters
    ----------
    apart : every layer has banks of its own.

    Returns
    -------
    None if the banks, or the rows of all layers in them, do not suffice.
    """
    banks = (
        pack(problem.hardware, profiles, problem.given_banks) if apart else _in_turn_banks(problem, profiles)
    )
    return None if banks is None else in_turn(problem, profiles, banks)


def _in_turn_banks(problem: Problem, profiles: Sequence[Profile]) -> list[Banks] | None:
    """Return the first banks with enough rows for each layer, no two of which run at a time."""
    ledger = _expecting(problem, profiles)
    banks: dict[int, Banks] = {}
    for turn, i in enumerate(problem.network.topological):
        given = ledger.free(profiles[i], turn, turn + 1, _roomy(problem, ledger, i, profiles[i]))
        if given is None:
            return None
        ledger.hold(profiles[i], turn, turn + 1, given)
        banks[i] = given
    return [banks[i] for i in range(len(profiles))]


def in_turn(problem: Problem, profiles: Sequence[Profile], banks: Sequence[Banks]) -> Plan:
    """Run the layers without overlap on given banks, each when the one before it and its inputs are done."""
    done: dict[int, LayerTimes] = {}
    release = 0
    for i in problem.network.topological:
        inputs = [done[p].end + problem.hardware.cycles.transfer for p in problem.network.producers[i]]
        release = max([release, problem.earliest[i], *inputs])
        done[i] = next_layer(problem, i, profiles[i], release, done)
        release = done[i].end
    return Plan(together(done), banks)
