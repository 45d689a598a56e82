"""The walks of `layerwise` and the random mapper: valid, repeatable, never worse than where they begin."""

from __future__ import annotations

import itertools
import random

import pytest
from generators import draw_hardware, draw_network, draw_solvable

from hw.library import load_hardware
from models.library import load_network
from solver.mapspace.pools import Pools
from solver.params import STRATEGIES, WALKS, LayerwiseParams, RandomParams, SequentialParams
from solver.schedule.plan import Plan
from solver.search.layerwise import layerwise, route
from solver.search.random_mapper import draw_mapping, random_mapper
from solver.search.sequential import sequential
from solver.solution import from_plan, verify
from solver.stop import Ending, Stop
from solver.timing.problem import Problem
from solver.timing.validity import problems


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize("seed", range(25))
def test_no_walk_is_worse_than_its_start_and_the_best_is_the_best_of_them(seed: int, weights: str) -> None:
    problem = Problem(*draw_solvable(random.Random(seed), 5, weights))  # type: ignore[arg-type]
    pools = Pools(problem)
    start = sequential(pools, Stop())
    plans = {strategy: layerwise(pools, start, Stop(), LayerwiseParams(strategy)) for strategy in STRATEGIES}
    for plan in plans.values():
        verify(from_plan(problem, plan, "layerwise", 0))
        assert plan.latency <= start.latency
    assert plans["best"].latency == min(plans[walk].latency for walk in WALKS)


def test_a_walk_goes_outwards_from_its_first_layer() -> None:
    network = load_network("resnet18")
    line = network.topological
    assert route(network, "forward") == tuple(line)
    assert route(network, "backward") == tuple(reversed(line))
    middle = route(network, "middle")
    assert middle[0] == line[0], "the stem has the largest output"
    assert sorted(middle) == sorted(line)


def test_walks_differ_and_a_stopped_one_keeps_the_start() -> None:
    pools = Pools(Problem(load_network("vgg16"), load_hardware("hbm2-bitsimd").with_weights("static")))
    start = sequential(pools, Stop(seconds=0))
    assert layerwise(pools, start, Stop(seconds=0), LayerwiseParams("backward")).profiles == start.profiles


class Ticking(Stop):
    """Every look at the clock takes a nominal second."""

    def ending(self) -> Ending | None:
        self.worked(1)
        return super().ending()


@pytest.mark.parametrize("again", [0.2, 0.4])
def test_a_first_plan_leaves_time_for_better_ones(again: float) -> None:
    """Even the coarse one does not get done in the time that there is."""
    problem = Problem(load_network("resnet18"), load_hardware("gddr6-aim").with_weights("static"))
    params, unhurried, done = SequentialParams(again=again), Ticking.deterministic(10**9), list[float]()
    best = sequential(Pools(problem), unhurried, params, lambda _: done.append(unhurried.elapsed()))
    seconds = 0.9 * done[0]
    stop, plans = Ticking.deterministic(seconds), list[Plan]()
    plan = sequential(Pools(problem), stop, params, plans.append)
    assert plans == [plan] and plan.latency > best.latency
    left = (1 - params.thorough) * (1 - again) * seconds
    assert left - 2 <= stop.remaining() <= left


@pytest.mark.parametrize("weights", ["static", "shared"])
def test_the_random_mapper_is_repeatable_and_valid(weights: str) -> None:
    problem = Problem(load_network("toy"), load_hardware("toy").with_weights(weights))  # type: ignore[arg-type]
    start = sequential(Pools(problem), Stop())
    plans = [random_mapper(problem, start, Stop(iterations=200), seed) for seed in (1, 1, 2)]
    for plan in plans:
        verify(from_plan(problem, plan, "random", 1))
        ends = sorted((times.start, times.end) for times in plan.timeline.layers)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ends)), "no overlap"
    assert [p.mapping for p in plans[0].profiles] == [p.mapping for p in plans[1].profiles]
    assert [p.mapping for p in plans[0].profiles] != [p.mapping for p in plans[2].profiles]


@pytest.mark.parametrize("seed", range(40))
def test_drawn_mappings_are_valid_and_reach_all_kinds_of_loops(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, 3)
    chip = draw_hardware(rng, network)
    for layer in network.layers:
        mapping = draw_mapping(layer, chip, rng, RandomParams().tries)
        assert mapping is None or not problems(layer, mapping, chip)
