"""The run time of the whole search with the pairwise analysis in place of the closed form."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Literal

from hw.hardware import Hardware
from models.network import Network
from solver.bench.cases import Case, Measured, Record, Results, Subject
from solver.mapspace.pools import Pools
from solver.memory import clear_caches
from solver.search.sequential import sequential
from solver.stop import Flag, Stop
from solver.timing.need import rising
from solver.timing.pairwise import data_spaces, pairwise_need
from solver.timing.problem import Edge, Problem
from solver.timing.profile import Profile
from solver.timing.timeline import LayerTimes, Wait, layer_times, next_layer

Timed = Mapping[int, LayerTimes]


class RuntimeCase(Record):
    """A forward walk that chooses among some candidates for each layer.

    Attributes
    ----------
    most_pairs : a layer with a candidate that has more pairs of data spaces with its producers is not timed.
    """

    on: Subject
    candidates: int
    most_pairs: int

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.on}, {self.candidates} candidates"


class WalkTimes(Record):
    """One walk, timed both ways.

    Attributes
    ----------
    timed, layers : layers that read others and were timed, and all that do.
    analyses : operands of candidates that were looked at in these.
    mapping_s : making the candidates, the same for both.
    equal : whether both chose the same mappings.
    """

    timed: int
    layers: int
    analyses: int
    mapping_s: float
    closed_s: float
    pairwise_s: float
    equal: bool

    @property
    def analysis_ratio(self) -> float:
        """Time of the pairwise over the closed-form choices."""
        return self.pairwise_s / self.closed_s

    @property
    def ratio(self) -> float:
        """The same with the time for making the candidates on both sides: of the whole search."""
        return (self.mapping_s + self.pairwise_s) / (self.mapping_s + self.closed_s)

    def __str__(self) -> str:
        """Return it as a line of progress names it."""
        return f"{self.ratio:,.1f} x" if self.equal else "NOT EQUAL"


MeasuredWalk = Measured[RuntimeCase, WalkTimes]


class RuntimeResults(Results[RuntimeCase, WalkTimes]):
    """The file `runtime.json`."""

    format: Literal["overlapim/bench-runtime/1"] = "overlapim/bench-runtime/1"


def runtime_cases(
    networks: Iterable[Network], chips: Iterable[Hardware], candidates: int, most_pairs: int
) -> Iterator[Case[RuntimeCase, WalkTimes]]:
    """Yield a walk for each network on each chip, every layer on banks of its own."""
    for network, chip in product(networks, chips):
        static = chip.with_weights("static")
        what = RuntimeCase(on=Subject.of(network, static), candidates=candidates, most_pairs=most_pairs)
        yield _case(Problem(network, static), what)


def _case(problem: Problem, what: RuntimeCase) -> Case[RuntimeCase, WalkTimes]:
    return Case(what, lambda interrupt: measure_walk(problem, what.candidates, what.most_pairs, interrupt))


def measure_walk(problem: Problem, candidates: int, most_pairs: int, interrupt: Flag) -> WalkTimes | None:
    """Walk forward, choosing by when each layer ends, with both analyses; None if interrupted."""
    clear_caches()
    began = time.perf_counter()
    options = _options(problem, candidates)
    mapping_s = time.perf_counter() - began
    clear_caches()
    done: dict[int, LayerTimes] = {}
    timed = analyses = 0
    closed_s = pairwise_s = 0.0
    equal = True
    for i in problem.network.topological:
        own, edges = options[i], problem.edges[i]
        elapsed, choice = _chosen(own, partial(_closed_times, problem, i, done))
        if edges and max(_pairs(p, edges, done) for p in own) <= most_pairs:
            if interrupt.is_set():
                return None
            slow_s, other = _chosen(own, partial(_pairwise_times, problem, i, done))
            timed, analyses = timed + 1, analyses + len(own) * len(edges)
            closed_s, pairwise_s = closed_s + elapsed, pairwise_s + slow_s
            equal = equal and other.profile is choice.profile and other.end == choice.end
        done[i] = choice
    return WalkTimes(
        timed=timed,
        layers=sum(map(bool, problem.edges)),
        analyses=analyses,
        mapping_s=mapping_s,
        closed_s=closed_s,
        pairwise_s=pairwise_s,
        equal=equal,
    )


def _options(problem: Problem, most: int) -> list[tuple[Profile, ...]]:
    """Return the fastest mappings of each layer on the banks that it has in the plan without overlap."""
    pools = Pools(problem)
    shapes = [(p.mapping.channels, p.mapping.banks_per_channel) for p in sequential(pools, Stop()).profiles]
    return [pools.pool(i, shape)[:most] for i, shape in enumerate(shapes)]


def _pairs(profile: Profile, edges: Sequence[Edge], done: Timed) -> int:
    return sum(data_spaces(done[edge.producer].profile) * data_spaces(profile) for edge in edges)


def _chosen(options: Sequence[Profile], run: Callable[[Profile], LayerTimes]) -> tuple[float, LayerTimes]:
    """Return the times of the mapping that ends first, and the seconds that it took to find it."""
    began = time.perf_counter()
    first = min(map(run, options), key=lambda times: times.end)
    return time.perf_counter() - began, first


def _closed_times(problem: Problem, layer: int, done: Timed, profile: Profile) -> LayerTimes:
    return next_layer(problem, layer, profile, 0, done)


def _pairwise_times(problem: Problem, layer: int, done: Timed, profile: Profile) -> LayerTimes:
    """Run a layer after its producers as `next_layer` does, all needs being found pair by pair."""
    edges = problem.edges[layer]
    transfer = problem.hardware.cycles.transfer
    waits = {}
    for k, edge in enumerate(edges):
        source = done[edge.producer]
        needs = pairwise_need(source.profile, profile, edge)
        starts, need = rising(profile.block_starts, needs)
        waits[k] = Wait(edge.producer, starts, need - starts + source.delay_at(need) + transfer)
    return layer_times(profile, 0, [done[edge.producer] for edge in edges], edges, transfer, None, waits)
