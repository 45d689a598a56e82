"""Walk the network and choose each layer's mapping by when it and the neighbours chosen before it end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self

from models.network import Network
from solver.mapspace.pools import Pools, shapes, sizes
from solver.params import WALKS, LayerwiseParams, Walk
from solver.schedule.banks import Banks, Ledger, pack
from solver.schedule.plan import Plan, assemble, place
from solver.stop import Stop, StoppedError
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, Order, next_layer, together

Ordering = Callable[[int, Profile, Mapping[int, LayerTimes]], Order | None]
"""In which order a layer takes its blocks with a mapping, given when its producers run."""


def loop_order(layer: int, profile: Profile, done: Mapping[int, LayerTimes]) -> Order | None:
    """Return None: every layer takes its blocks in the order of its loops."""
    return None


def layerwise(
    pools: Pools,
    start: Plan,
    stop: Stop,
    params: LayerwiseParams = LayerwiseParams(),
    ordering: Ordering = loop_order,
) -> Plan:
    """Return the plan of a walk, or the best plan of all walks; `start` if that is better.

    Layers that a walk has not come to, and all that are left when it is stopped, keep their mappings of
    `start`. Under static weights each layer keeps within the banks that `start` gives it.
    """
    walks = WALKS if params.strategy == "best" else (params.strategy,)
    plans = [start]
    for layers in dict.fromkeys(route(pools.problem.network, walk) for walk in walks):
        plan = overlapped(pools, _walk(pools, start, stop, layers, params, ordering), ordering)
        plans += [] if plan is None else [plan]
    return min(plans, key=lambda plan: plan.latency)


def route(network: Network, walk: Walk) -> tuple[int, ...]:
    """Return the layers as a walk visits them: outwards from its first one, along a topological order."""
    line = network.topological
    outputs = [math.prod(network.layers[i].shape) for i in line]
    first = {"forward": 0, "backward": len(line) - 1, "middle": outputs.index(max(outputs))}[walk]
    return tuple(line[k] for k in sorted(range(len(line)), key=lambda k: (abs(k - first), k < first)))


def overlapped(pools: Pools, profiles: Sequence[Profile], ordering: Ordering = loop_order) -> Plan | None:
    """Let layers overlap, each as early as its inputs and banks allow; None if the banks do not suffice."""
    chip = _chip(pools, ordering)
    ran = all(chip.run(i, profiles[i]) for i in pools.problem.network.topological)
    return chip.plan() if ran else None


class _Chip(Protocol):
    """The layers that run so far; `done` says when."""

    done: dict[int, LayerTimes]

    def copy(self) -> Self:
        """Return another chip on which the same layers run."""

    def options(self, layer: int, own: Profile, params: LayerwiseParams) -> Sequence[Profile]:
        """Return the mappings that a layer may have instead of its own."""

    def run(self, layer: int, profile: Profile) -> bool:
        """Run a layer after its producers; False if there are no banks for it."""

    def plan(self) -> Plan | None:
        """Return the plan of all layers; None if they do not find banks."""


class _StaticChip:
    """Layers have banks of their own: only its inputs decide when one runs."""

    def __init__(self, pools: Pools, ordering: Ordering) -> None:
        self.pools, self.ordering = pools, ordering
        self.done: dict[int, LayerTimes] = {}

    def copy(self) -> _StaticChip:
        other = _StaticChip(self.pools, self.ordering)
        other.done.update(self.done)
        return other

    def options(self, layer: int, own: Profile, params: LayerwiseParams) -> list[Profile]:
        within = [s for s in sizes(self.pools.problem.hardware) if s[0] * s[1] <= own.banks][-params.sizes :]
        return [p for shape in within for p in self.pools.close(layer, shape) if _inside(p, own)]

    def run(self, layer: int, profile: Profile) -> bool:
        problem, order = self.pools.problem, self.ordering(layer, profile, self.done)
        self.done[layer] = next_layer(problem, layer, profile, problem.earliest[layer], self.done, order)
        return True

    def plan(self) -> Plan | None:
        profiles = [self.done[i].profile for i in range(len(self.done))]
        banks = pack(self.pools.problem.hardware, profiles, self.pools.problem.given_banks)
        return None if banks is None else Plan(together(self.done), banks)


class _SharedChip:
    """Layers share banks: each runs as early as it finds some, and holds them no longer than it must."""

    def __init__(self, pools: Pools, ordering: Ordering) -> None:
        self.pools, self.ordering = pools, ordering
        self.done: dict[int, LayerTimes] = {}
        self._banks: dict[int, Banks] = {}
        self._ledger = Ledger(pools.problem.hardware)

    def copy(self) -> _SharedChip:
        other = _SharedChip(self.pools, self.ordering)
        other.done.update(self.done)
        other._banks.update(self._banks)
        other._ledger = self._ledger.copy()
        return other

    def options(self, layer: int, own: Profile, params: LayerwiseParams) -> list[Profile]:
        large = shapes(self.pools.problem.hardware)[-params.shapes :]
        return [p for shape in large for p in self.pools.pool(layer, shape)[: params.options]]

    def run(self, layer: int, profile: Profile) -> bool:
        order = self.ordering(layer, profile, self.done)
        placed = place(self.pools.problem, self._ledger, layer, profile, self.done, True, order=order)
        if placed is None:
            return False
        times, banks = self.done[layer], self._banks[layer] = placed
        self._ledger.hold(profile, times.start, times.end, banks)
        return True

    def plan(self) -> Plan | None:
        return assemble(self.done, self._banks)


def _chip(pools: Pools, ordering: Ordering) -> _Chip:
    static = pools.problem.hardware.weights == "static"
    return _StaticChip(pools, ordering) if static else _SharedChip(pools, ordering)


def _inside(profile: Profile, own: Profile) -> bool:
    mapping, limit = profile.mapping, own.mapping
    return mapping.channels <= limit.channels and mapping.banks_per_channel <= limit.banks_per_channel


def _walk(
    pools: Pools,
    start: Plan,
    stop: Stop,
    layers: Sequence[int],
    params: LayerwiseParams,
    ordering: Ordering,
) -> list[Profile]:
    """Return the mappings that a walk over the layers chooses."""
    network = pools.problem.network
    line, chosen, visited = network.topological, list(start.profiles), set[int]()
    chip, reached = _chip(pools, ordering), 0
    for i in layers:
        at = line.index(i)
        if at < reached:
            chip, reached = _chip(pools, ordering), 0
        if stop.reached() or not all(chip.run(j, chosen[j]) for j in line[reached:at]):
            break
        reached = at
        readers = [c for c in network.consumers[i] if c in visited]
        until = line[at + 1 : max(map(line.index, readers), default=at) + 1]
        try:
            options = chip.options(i, start.profiles[i], params)
        except StoppedError:
            break
        ranks: dict[Profile, tuple[int, int, int]] = {}
        for p in (chosen[i], *options):
            if ranks and stop.reached():
                break
            rank = _rank(chip.copy(), i, p, [(j, chosen[j]) for j in until], readers)
            if rank is not None:
                ranks[p] = rank
        chosen[i] = min(ranks, key=ranks.__getitem__, default=chosen[i])
        visited.add(i)
    return chosen


def _rank(
    chip: _Chip, layer: int, profile: Profile, after: Sequence[tuple[int, Profile]], readers: Sequence[int]
) -> tuple[int, int, int] | None:
    """Return how good a mapping is, the best having the least; None if it leads to a lack of banks.

    Parameters
    ----------
    chip : on which the layers before it run.
    after : the layers from there to the last of the readers.
    readers : the layers whose end counts; if there is none, its own.
    """
    if not chip.run(layer, profile) or not all(chip.run(j, p) for j, p in after):
        return None
    end = chip.done[layer].end
    return max((chip.done[c].end for c in readers), default=end), end, profile.banks * profile.total
