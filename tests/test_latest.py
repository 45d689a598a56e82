"""The latest starts: against the simulator, which raises one release at a time, and in answers of `solve`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from generators import Instance, check_by_simulation, draw_solvable, instances
from hypothesis import given, settings
from test_trace import planned

from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from solver.account.critical import Computes, Queues, critical_path
from solver.account.plan import account
from solver.maxplus.latest import postpone
from solver.methods import METHODS
from solver.reference import simulate
from solver.schedule.plan import Plan
from solver.schedule.transform import advance
from solver.solution import from_plan, recompute, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.problem import Problem
from solver.timing.timeline import evaluate


def ends(plan: Plan) -> list[int]:
    return [times.end for times in plan.timeline.layers]


def starts(plan: Plan) -> list[int]:
    return [times.start for times in plan.timeline.layers]


def one_later(releases: Sequence[int], layer: int) -> list[int]:
    return [release + (i == layer) for i, release in enumerate(releases)]


@given(instances())
@settings(max_examples=60)
def test_no_layer_ends_later_and_none_could_start_later(instance: Instance) -> None:
    """Ends are maxima of releases plus something, so what cannot be raised by one is the latest there is."""
    told = planned(instance)
    late = postpone(told.problem, told.plan)

    def simulated(releases: Sequence[int]) -> list[int]:
        layers = simulate(instance.network, told.hardware, instance.mappings, releases, instance.orders)
        return [times.end for times in layers]

    assert simulated(late.releases) == ends(late) == ends(told.plan)
    assert tuple(starts(late)) == late.releases
    assert all(after >= before for before, after in zip(starts(told.plan), starts(late), strict=True))
    for i in range(len(late.releases)):
        assert simulated(one_later(late.releases, i)) != ends(late)


@given(instances())
@settings(max_examples=40)
def test_the_path_of_a_plan_is_that_of_its_latest_starts(instance: Instance) -> None:
    """Begun late, layers wait less, but the same things decide the latency."""
    told = planned(replace(instance, releases=(0,) * len(instance.releases)))
    late = account(told.problem, postpone(told.problem, told.plan))
    pairs = list(zip(critical_path(told), critical_path(late), strict=True))
    for early, piece in pairs:
        if isinstance(piece, Computes) and isinstance(early, Computes):
            assert piece == replace(early, waited=piece.waited)
            assert piece.waited <= early.waited
        else:
            assert piece == early
    assert advance(told.problem, late.plan).releases == told.plan.releases


@pytest.mark.parametrize("weights", ["static", "shared", "reload"])
def test_answers_start_as_late_as_they_can(weights: Weights) -> None:
    """With every method; the banks are free for as long as they are held, in their order."""
    for seed in range(10):
        network, chip = draw_solvable(random.Random(seed), 4, weights)
        problem = Problem(network, chip)
        for method in sorted(set(METHODS) - {"exhaustive"}):
            result = solve(network, chip, method=method, stop=Stop.deterministic(0.2))
            check_by_simulation(result)
            plan = recompute(result.solution).plan
            assert plan.releases == result.plan.releases == tuple(starts(plan))
            for i in range(len(plan.releases)):
                releases = one_later(plan.releases, i)
                later = evaluate(problem, plan.profiles, releases, plan.orders)
                assert [times.end for times in later.layers] != ends(plan)
            _check_path(problem, plan)
            early = advance(problem, plan)
            verify(from_plan(problem, early, method, 0))
            assert early.latency <= plan.latency
            again = solve(network, chip, method="sequential", stop=Stop.deterministic(0.1), warm_start=plan)
            assert again.latency <= result.latency


def _check_path(problem: Problem, plan: Plan) -> None:
    """Check that layers run and stand still in a plan as its path says, whatever the path was read from."""
    path = critical_path(account(problem, plan))
    assert sum(piece.end - piece.start for piece in path) == plan.latency
    for piece in path:
        times = plan.timeline.layers[piece.layer]
        if isinstance(piece, Computes):
            begins, ideal = times.block_starts(), times.profile.block_starts
            assert piece.start in (begins[piece.first], times.start) and piece.end <= times.end
            assert begins[piece.last] - begins[piece.first] == ideal[piece.last] - ideal[piece.first]
        elif isinstance(piece, Queues):
            assert piece.end == times.start
            assert piece.after is None or plan.timeline.layers[piece.after].end == piece.start


def test_banks_are_held_no_longer_than_ends_ask_for() -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    problem = Problem(network, chip)
    plan = solve(network, chip, method="layerwise", stop=Stop.deterministic(1)).plan
    early = advance(problem, plan)
    assert ends(early) == ends(plan) and set(early.releases) == {0}
    assert account(problem, plan).bottleneck < account(problem, early).bottleneck
    held = [end - start for start, end in zip(starts(plan), ends(plan), strict=True)]
    assert account(problem, plan).bottleneck == max(held)
