"""Faster mappings of single layers: valid, and never slower."""

from __future__ import annotations

import random

import pytest
from generators import draw_hardware, draw_mapping, draw_network

from hw.library import load_hardware
from models.library import load_network
from solver.limits import bring_together, limit_option
from solver.mapspace.pools import Pools
from solver.params import Params, PolishParams
from solver.search.polish import climbed, polish
from solver.search.sequential import sequential
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.validity import valid


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_faster_and_valid(seed: int) -> None:
    rng = random.Random(seed)
    network = draw_network(rng, 2)
    problem = Problem(network, draw_hardware(rng, network))
    for i, layer in enumerate(network.layers):
        own = problem.profile(i, draw_mapping(rng, layer, problem.hardware))
        found = climbed(problem, i, own, rng, PolishParams(tries=200, length=rng.choice((1, 5))))
        assert all(valid(layer, p.mapping, problem.hardware) for p in found)
        assert all(p.total < own.total for p in found)
        if len(found) == 2:
            assert found[0].total < found[1].total and found[1].rows <= own.rows < found[0].rows


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_layers_without_overlap_become_faster(weights: str) -> None:
    """On a chip with rows that are opened and a buffer, where good mappings are far from obvious."""
    hardware = load_hardware("gddr6-aim").with_weights(weights)  # type: ignore[arg-type]
    pools = Pools(Problem(load_network("alexnet"), hardware))
    start = sequential(pools, Stop.deterministic(5.0))
    plan = polish(pools, start, Stop.deterministic(5.0), 0, Params())
    assert plan is not None and plan.latency < 0.98 * start.latency
    verify(from_plan(pools.problem, plan, "polish", 0))
    again = polish(pools, start, Stop.deterministic(5.0), 0, Params())
    assert again is not None and [p.mapping for p in again.profiles] == [p.mapping for p in plan.profiles]
    stopped = Stop.deterministic(5.0)
    stopped.interrupt.set()
    assert polish(pools, start, stopped, 0, Params()) is None


def test_limits_are_kept() -> None:
    network, hardware = load_network("toy"), load_hardware("toy").with_weights("shared")
    texts = "stem:exact_banks=2", "left:no_spread={column: [K]}"
    limits = bring_together([limit_option(text) for text in texts], network, hardware)
    problem = Problem(network, hardware, limits=limits)
    start = sequential(Pools(problem), Stop(iterations=100))
    for i in range(2):
        found = climbed(problem, i, start.profiles[i], random.Random(i), PolishParams(tries=500))
        assert all(problem.permits(i, p.mapping) for p in found)
