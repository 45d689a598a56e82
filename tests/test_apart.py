"""Banks of their own for layers that may share them: valid plans, and no more time than they are worth."""

from __future__ import annotations

import random

import pytest
from generators import draw_solvable

from hw.hardware import Weights
from hw.library import load_hardware
from models.library import load_network
from solver.mapspace.pools import Pools
from solver.params import ApartParams, Params
from solver.schedule.pace import apart
from solver.schedule.plan import Plan
from solver.search.apart import keep_apart
from solver.search.sequential import sequential
from solver.search.shared import SharedMoves
from solver.solution import from_plan, verify
from solver.stop import Stop
from solver.timing.problem import Problem

SHARE = ApartParams().rounds[0][0]


def searched(problem: Problem, seconds: float) -> tuple[Plan, list[Plan], Stop]:
    pools, stop, found = Pools(problem), Stop.deterministic(seconds), list[Plan]()
    start = sequential(pools, Stop())
    keep_apart(pools, start, stop, 0, found.append, Params())
    return start, found, stop


@pytest.mark.parametrize("weights", ["shared", "reload"])
def test_plans_with_static_weights_are_valid_where_banks_may_be_shared(weights: Weights) -> None:
    known = 0
    for seed in range(25):
        problem = Problem(*draw_solvable(random.Random(seed), 5, weights))
        _, found, _ = searched(problem, 2)
        for plan in found:
            verify(from_plan(problem, plan, "descent", seed))
            assert apart(plan)
        known += len(found)
    assert known > 15


def test_a_small_network_on_a_large_chip_is_faster_on_banks_of_its_own() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    start, found, stop = searched(problem, 10)
    assert min(plan.latency for plan in found) < start.latency
    assert stop.elapsed() > 2 * SHARE * 10, "it goes on, as it is ahead"


def test_little_time_is_lost_where_banks_are_few() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    start, found, stop = searched(problem, 10)
    assert all(plan.latency > start.latency for plan in found)
    assert 0 < stop.elapsed() <= SHARE * 10 + 0.1


@pytest.mark.parametrize("stop", [Stop(iterations=200), Stop()])
def test_it_ends_without_a_limit_on_time(stop: Stop) -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    pools = Pools(problem)
    keep_apart(pools, sequential(pools, Stop()), stop, 0, lambda _: None, Params())
    assert not stop.reached()


def test_a_chip_with_fewer_banks_than_layers_is_left_alone() -> None:
    chip = load_hardware("toy").model_copy(update={"channels": 1, "banks_per_channel": 2})
    assert searched(Problem(load_network("toy"), chip), 2)[1] == []


def test_moves_of_layers_apart_leave_some_apart_and_bring_others_together() -> None:
    problem = Problem(load_network("toy"), load_hardware("hbm2-bitsimd-8stack"))
    _, found, _ = searched(problem, 2)
    moves = SharedMoves(Pools(problem), random.Random(0))
    state = moves.state(found[-1])
    changed = [moves.change(state, float("inf")) for _ in range(60)]
    kinds = {apart(own.plan) for own in changed if own is not None}
    assert kinds == {True, False}
